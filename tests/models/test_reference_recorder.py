"""What the recorder sees of a decoder of transformers itself, which the stand-in is not; and what it needs to run."""

import ast
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from protein2text.models.recording import SCRIPT
from protein2text.models.reference_recorder import Recorder, ids_of, part_of, rows_of

WIDTH, ENCODER_WIDTH, PLACE = 24, 10, 3


class Encoder(nn.Module):
    """One row per residue and one for the end, as a list of one protein."""

    def forward(self, sequence: str) -> list[Tensor]:
        generator = torch.Generator().manual_seed(len(sequence))
        return [torch.randn(len(sequence) + 1, ENCODER_WIDTH, generator=generator).bfloat16()]


class Resampler(nn.Module):
    """The first two rows, in a batch of batches."""

    def forward(self, states: Tensor) -> Tensor:
        return states[:, None, :2]


class Multimodal(LlamaForCausalLM):
    """LLaMA with the parts and methods of the published model."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.model.encoder = Encoder()
        self.model.mm_resampler = Resampler()
        self.model.mm_projector = nn.Sequential(nn.Linear(ENCODER_WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))

    def get_model(self) -> nn.Module:
        return self.model

    def get_protein_encoder(self) -> nn.Module:
        return self.model.encoder

    def rows(self, ids: list[int], sequence: str) -> Tensor:
        states = self.get_protein_encoder()(sequence)[0]
        projected = self.model.mm_projector(self.model.mm_resampler(states[None])[0])[0]
        text = self.model.embed_tokens(torch.tensor([*ids[:PLACE], *ids[PLACE + 1 :]]))
        return torch.cat((text[:PLACE], projected, text[PLACE:]))[None]

    @torch.no_grad()
    def generate(self, inputs: Tensor, amino_seq: str, **options: Any) -> Any:
        rows = self.rows(inputs[0].tolist(), amino_seq)
        mask = torch.ones(rows.shape[:2], dtype=torch.long)
        return super().generate(inputs_embeds=rows, attention_mask=mask, **options)


def test_it_sees_the_first_forward_of_a_transformers_decoder(tmp_path: Path) -> None:
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=90, hidden_size=WIDTH, intermediate_size=30, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.3, bos_token_id=1, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model = Multimodal(config).eval().bfloat16()
    ids = [1, 5, 6, -200, 7, 8, 9]
    module = SimpleNamespace(
        __file__="program", predict_data=lambda: None, load_pretrained_model=lambda: (None, model, 2048),
        protein_sequence_tokenizer=lambda prompt: torch.tensor([ids]),
    )  # fmt: skip

    def eval_model(sequence: str) -> str:
        given = module.protein_sequence_tokenizer("the prompt")
        with torch.inference_mode():
            new = loaded.bfloat16().generate(given, sequence, do_sample=False, max_new_tokens=5)
        return " ".join(map(str, new[0].tolist()))

    module.eval_model = eval_model
    records = [{"long_format_id": name, "amino_seq": "M" * length} for name, length in (("A", 4), ("B", 9))]
    Recorder(module, list(enumerate(records)), tmp_path)
    loaded = module.load_pretrained_model()[1]
    texts = [module.eval_model(record["amino_seq"]) for record in records]
    for number, record in enumerate(records):
        recorded = load_file(part_of(tmp_path, number))
        with safe_open(part_of(tmp_path, number), "pt") as file:
            assert file.metadata() == {
                "long_format_id": record["long_format_id"],
                "prompt": "the prompt",
                "text": texts[number],
            }
        fresh = Multimodal(config).eval().bfloat16()
        fresh.load_state_dict(model.state_dict())
        states = Encoder()(record["amino_seq"])[0]
        with torch.no_grad():
            logits = fresh(inputs_embeds=fresh.rows(ids, record["amino_seq"])).logits[0, -1].float()
            projected = fresh.model.mm_projector(states[:2])
        assert torch.equal(recorded["residue_states"], states)
        assert torch.equal(recorded["latents"], states[:2])
        torch.testing.assert_close(recorded["projected"], projected)
        torch.testing.assert_close(recorded["last_logits"], logits, rtol=2e-2, atol=2e-2)
        assert recorded["last_logits"].dtype == torch.float32
        assert recorded["input_ids"].tolist() == ids
        assert recorded["generated_ids"].tolist() == [int(word) for word in texts[number].split()]
        assert len(recorded["generated_ids"]) == 5
        assert int(recorded["generated_ids"][0]) == int(recorded["last_logits"].argmax())


def test_more_than_one_protein_is_not_recorded_as_one() -> None:
    with pytest.raises(SystemExit, match="latents has the shape"):
        rows_of(torch.zeros(2, 1, 4, 3), "latents")
    with pytest.raises(SystemExit, match="2 proteins"):
        rows_of([torch.zeros(4, 3), torch.zeros(2, 3)], "residue_states")
    with pytest.raises(SystemExit, match="batch of one"):
        ids_of(torch.zeros(2, 4))


def test_the_script_stands_alone() -> None:
    """It runs under another Python than ours, which has none of our modules."""
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 9))
    nodes = list(ast.walk(tree))
    imported = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module).split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert imported - {"safetensors"} <= sys.stdlib_module_names
    assert "torch.load" not in SCRIPT.read_text()
