"""Attribution against finite differences in float64, and the resampler's attention against loops over its formula."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from protein2text.errors import RecordError
from protein2text.models.attribution import attribute, resampler_attention
from protein2text.models.batches import pack_proteins
from protein2text.models.chat import encode_text
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText
from tests.models.conftest import random_sequence, relative_error, tiny_config

QUESTION, ANSWER = "What does it bind?", "It binds ATP."
KINDS = ("resampler", "projector", "gated_cross_attention")


def build(kind: str = "resampler") -> ProteinToText:
    """Float64 throughout; gates open, so that the question takes part.

    The library's own norm computes in float32 whatever it is given, and its rounding would drown small differences.
    """
    config = tiny_config()
    bridge = config.bridge.model_copy(update={"kind": kind})
    torch.manual_seed(1)
    model = ProteinToText(config.model_copy(update={"bridge": bridge})).double()
    decoder = model.decoder.language_model
    for name, module in list(decoder.named_modules()):
        if isinstance(module, LlamaRMSNorm):
            norm = torch.nn.RMSNorm(len(module.weight), eps=module.variance_epsilon, dtype=torch.float64)
            norm.weight.data.copy_(module.weight)
            decoder.set_submodule(name, norm)
    for name, parameter in model.bridge.named_parameters():
        if name.endswith("gate"):
            torch.nn.init.constant_(parameter, 0.7)
    return model.requires_grad_(False).eval()


def log_probability(model: ProteinToText, states: Tensor, sequence: str, answer: str = ANSWER) -> float:
    """The plain way: the library's own causal forward over the exchange, one token after another."""
    proteins = pack_proteins([sequence], model.reading)
    with torch.no_grad():
        rows = model.bridge(states, proteins)
        prompt = model.embed_prompt(model.encode_question(QUESTION, 1), [rows])
        ids = encode_text(model.tokenizer, answer)
        inputs = torch.cat([prompt, model.decoder.embed(torch.tensor(ids))])
        logits = model.decoder.language_model(inputs_embeds=inputs[None]).logits[0]
    following = logits[len(prompt) - 1 : -1]
    return sum(F.log_softmax(row, -1)[token].item() for row, token in zip(following, ids, strict=True))


def differences(model: ProteinToText, states: Tensor, directions: Tensor, sequence: str, step: float = 1e-5) -> Tensor:
    """Central difference of the plain way, one state moved at a time along its row of ``directions``."""
    slopes = []
    for row in range(len(states)):
        move = torch.zeros_like(states)
        move[row] = step * directions[row]
        up, down = (log_probability(model, states + sign * move, sequence) for sign in (1, -1))
        slopes.append((up - down) / (2 * step))
    return torch.tensor(slopes, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_derivatives_along_each_residues_state(kind: str) -> None:
    model, sequence = build(kind), random_sequence(11, 4)
    found = attribute(model, sequence, QUESTION, ANSWER)
    states = model.encoder(pack_proteins([sequence]))
    assert abs(found.log_probability - log_probability(model, states, sequence)) < 1e-9 * abs(found.log_probability)
    along_state = differences(model, states, states, sequence)
    scores = torch.cat([found.scores_R, torch.tensor([found.end_score], dtype=torch.float64)])
    assert relative_error(scores, along_state) < 1e-6
    along_difference = differences(model, states, states - states.mean(0), sequence)
    assert relative_error(found.centred_scores_R, along_difference[:-1]) < 1e-6
    assert found.scores_R.shape == (11,)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_add_up_to_the_derivative_along_all_states(kind: str) -> None:
    model, sequence = build(kind), random_sequence(70, 5)
    found = attribute(model, sequence, QUESTION, ANSWER)
    states, step = model.encoder(pack_proteins([sequence])), 1e-6
    up, down = (log_probability(model, states * factor, sequence) for factor in (1 + step, 1 - step))
    total = found.scores_R.sum().item() + found.end_score
    assert math.isclose(total, (up - down) / (2 * step), rel_tol=1e-5, abs_tol=1e-7)
    assert (found.attention_LHKN is None) == (kind == "projector") == (found.residue_attention() is None)


def loops(model: ProteinToText, states: Tensor) -> Tensor:
    """Softmax weights of every layer, head and latent, one query at a time, from the parameters' names."""
    parameters = dict(model.bridge.mm_resampler.named_parameters())
    width, config = model.encoder.width, model.config.bridge
    norm = lambda rows, name: F.layer_norm(  # noqa: E731
        rows, (width,), parameters[f"{name}.weight"], parameters[f"{name}.bias"]
    )
    media, latents, layers = states + parameters["media_pos_emb"][0, 0], parameters["latents"], []
    for layer in range(config.depth):
        at, ff = f"layers.{layer}.0", f"layers.{layer}.1"
        normed = norm(latents, f"{at}.norm_latents")
        both = torch.cat([norm(media, f"{at}.norm_media"), normed])
        inner = config.num_heads * config.head_dim
        queries = normed @ parameters[f"{at}.to_q.weight"].T
        keys = both @ parameters[f"{at}.to_kv.weight"][:inner].T
        values = both @ parameters[f"{at}.to_kv.weight"][inner:].T
        heads, gathered = [], []
        for head in range(config.num_heads):
            part = slice(head * config.head_dim, (head + 1) * config.head_dim)
            rows = [
                torch.softmax(torch.stack([query @ key for key in keys[:, part]]) / config.head_dim**0.5, dim=0)
                for query in queries[:, part]
            ]
            heads.append(torch.stack(rows))
            gathered.append(heads[-1] @ values[:, part])
        layers.append(torch.stack(heads))
        latents = latents + torch.cat(gathered, -1) @ parameters[f"{at}.to_out.weight"].T
        hidden = F.gelu(norm(latents, f"{ff}.0") @ parameters[f"{ff}.1.weight"].T)
        latents = latents + hidden @ parameters[f"{ff}.3.weight"].T
    return torch.stack(layers)


@pytest.mark.parametrize("num_residues", [1, 37])
def test_attention_weights_equal_loops_and_add_up_to_one(num_residues: int) -> None:
    model = build()
    proteins = pack_proteins([random_sequence(num_residues, 6)])
    states = model.encoder(proteins)
    weights = resampler_attention(model.bridge.mm_resampler, states, proteins)
    assert weights.shape == (2, 3, 5, num_residues + 1 + 5)
    assert relative_error(weights, loops(model, states)) < 1e-12
    assert (weights.sum(-1) - 1).abs().max() < 1e-12
    found = attribute(model, random_sequence(num_residues, 6), QUESTION, ANSWER)
    assert relative_error(found.residue_attention(), weights.mean(dim=(0, 1, 2))[:num_residues]) < 1e-12


def test_without_an_answer_the_models_own_is_attributed(model: ProteinToText) -> None:
    model.eval()
    sequence = random_sequence(30, 8)
    own = model.attribution(sequence.lower() + "*", QUESTION)
    greedy = model.ask(sequence, QUESTION, Decoding(max_new_tokens=64))
    assert (own.answer, own.sequence) == (greedy.text, sequence)
    other = model.attribution(sequence, QUESTION, "No.")
    assert not torch.equal(own.scores_R, other.scores_R)
    with pytest.raises(RecordError, match="0 tokens; an answer has at least 1"):
        model.attribution(sequence, QUESTION, "")


def test_attribution_leaves_the_model_as_it_was(model: ProteinToText) -> None:
    """In training, dropout is off for the time being, and no gradient is left behind."""
    model.set_stage("instruction")
    model.train()
    first, second = (model.attribution("MKVLA", QUESTION, ANSWER) for _ in range(2))
    assert torch.equal(first.scores_R, second.scores_R)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_long_protein_read_in_windows_has_one_score_per_residue(model: ProteinToText) -> None:
    found = model.attribution(random_sequence(1100, 9), QUESTION, ANSWER)
    assert found.protein.read_as == "window"
    assert found.scores_R.shape == (1100,)
    assert found.attention_LHKN.shape[-1] == 1101 + 5
    assert found.scores_R.isfinite().all()
