"""A stand-in for a clone of the reference: its modules, names and calls, over the plain oracle's arithmetic.

What the product's recorder touches is there as the public repository has it: ``predict_data`` loops over a file,
``load_pretrained_model`` takes a folder by its name and an encoder by a path from the working directory, the encoder
gives a list, the resampler a batch of batches, and ``generate`` new ids only.
"""

import inspect
from pathlib import Path

from tests.models import plain_reference

BUILDER = """
import json
from pathlib import Path

import torch
from torch import nn

from evaluation.model.plain_reference import PlainReference


class Encoder(nn.Module):
    def __init__(self, plain):
        super().__init__()
        self.plain = plain

    def forward(self, sequences):
        return [self.plain.residue_states(sequences)]


class Resampler(nn.Module):
    def __init__(self, plain):
        super().__init__()
        self.plain = plain

    def forward(self, x):
        assert x.ndim == 3
        return torch.stack([self.plain.latents(states) for states in x])[:, None]


class Projector(nn.Module):
    def __init__(self, plain):
        super().__init__()
        self.plain = plain

    def forward(self, x):
        return torch.stack([self.plain.projected(latents) for latents in x])


class Inner(nn.Module):
    def __init__(self, plain):
        super().__init__()
        self.protein_encoder, self.mm_resampler, self.mm_projector = Encoder(plain), Resampler(plain), Projector(plain)


class Model(nn.Module):
    def __init__(self, plain):
        super().__init__()
        head = plain.decoder["lm_head.weight"]
        self.model = Inner(plain)
        self.lm_head = nn.Linear(head.shape[1], head.shape[0], bias=False, dtype=head.dtype)
        self.lm_head.weight.data.copy_(head)
        plain.decoder["lm_head.weight"] = torch.eye(head.shape[1], dtype=head.dtype)  # its logits are hidden rows now
        self.plain = plain

    def get_model(self):
        return self.model

    def get_protein_encoder(self):
        return self.model.protein_encoder

    def next_id(self, rows, cache, begin):
        hidden = self.plain.logits(rows, cache, begin).to(rows.dtype)
        filler = torch.full_like(rows[:-1], 9.0)  # a prompt's other rows have logits too
        return int(self.lm_head(torch.cat((filler, hidden[None]))[None])[0, -1].argmax())

    @torch.no_grad()
    def generate(self, inputs, amino_seq, do_sample, max_new_tokens, **others):
        assert not do_sample
        states = self.get_protein_encoder()(amino_seq)
        latents = torch.cat([self.model.mm_resampler(rows[None])[0] for rows in states])
        projected, ids = self.model.mm_projector(latents)[0], inputs[0].tolist()
        embed, at = self.plain.decoder["model.embed_tokens.weight"], ids.index(-200)
        rows, cache = torch.cat((embed[ids[:at]], projected, embed[ids[at + 1 :]])), []
        new, position = [self.next_id(rows, cache, 0)], len(rows)
        while len(new) < max_new_tokens and new[-1] not in self.plain.stops:
            new.append(self.next_id(embed[new[-1:]], cache, position))
            position += 1
        return torch.tensor([new])


def load_pretrained_model(model_path, model_base, model_name, device="cuda"):
    if "protein2text" not in model_name.lower():
        raise ValueError(f"unknown kind of model {model_name}")
    encoder = json.loads((Path(model_path) / "config.json").read_text())["mm_protein_encoder"]
    assert encoder.startswith("facebook/esm2") and device == "cpu"
    plain = PlainReference(Path(model_path), Path(model_base), Path(encoder))
    return plain, Model(plain), 2048
"""

INFERENCE = """
import json
import os
import signal
from pathlib import Path

import torch

from evaluation.model.builder import load_pretrained_model

HERE = Path(__file__).parent


def protein_sequence_tokenizer(prompt, tokenizer, protein_sequence_token_index=-200, return_tensors=None):
    assert return_tensors == "pt"
    return torch.tensor(tokenizer.input_ids(prompt))


def eval_model(args, model, tokenizer):
    with (HERE / "asked.txt").open("a") as file:
        file.write(args.amino_seq + "\\n")
    prompt = "<protein_sequence>\\n" + args.query
    ids = protein_sequence_tokenizer(prompt, tokenizer, return_tensors="pt").unsqueeze(0).to(args.device)
    with torch.inference_mode():
        new = model.bfloat16().generate(
            ids, args.amino_seq, do_sample=args.temperature > 0, max_new_tokens=args.max_new_tokens, use_cache=True
        )
    if (HERE / "kill").is_file() and (HERE / "kill").read_text() == args.amino_seq:
        os.kill(os.getpid(), signal.SIGKILL)
    return tokenizer.tokenizer.decode(new[0].tolist(), skip_special_tokens=True).strip()


class Arguments:
    def __init__(self, **values):
        self.__dict__.update(values)


def predict_data(
    input_file, output_file, model_path, model_base, device, temperature, top_p, num_beams, max_new_tokens
):
    print("a library that prints")
    (HERE / "environment.json").write_text(json.dumps(dict(os.environ)))
    tokenizer, model, _ = load_pretrained_model(model_path, model_base, Path(model_path).name, device=device)
    with open(output_file, "w") as output:
        for sample in json.loads(Path(input_file).read_text()):
            question = sample["conversations"][0]["value"].replace("<protein_sequence>\\n", "")
            query = tokenizer.prompt(question).removeprefix("<protein_sequence>\\n")
            args = Arguments(
                query=query, amino_seq=sample["amino_seq"], temperature=temperature, device=device,
                max_new_tokens=max_new_tokens,
            )
            truth, predicted = sample["conversations"][1]["value"], eval_model(args, model, tokenizer)
            output.write(json.dumps({"Ground Truth": truth, "Predicted": predicted}) + "\\n")
"""


def write_clone(folder: Path) -> Path:
    """Write the stand-in."""
    (folder / "evaluation" / "model").mkdir(parents=True)
    (folder / "evaluation" / "inference_model.py").write_text(INFERENCE)
    (folder / "evaluation" / "model" / "__init__.py").touch()
    (folder / "evaluation" / "model" / "builder.py").write_text(BUILDER)
    (folder / "evaluation" / "model" / "plain_reference.py").write_text(inspect.getsource(plain_reference))
    return folder
