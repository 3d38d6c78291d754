"""A random model whose answers differ in length and depend on the protein, and questions of awkward sizes for it."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from protein2text.models.model_config import BridgeConfig, DecoderConfig, EncoderConfig, LoraConfig, ModelConfig
from protein2text.models.protein_to_text import ProteinToText
from tests.serve.conftest import make_bases

BridgeKind = Literal["resampler", "projector", "gated_cross_attention"]
NUM_LATENTS = 4
LENGTHS = (1, 2, 17, 63, 64, 65, 200, 299)
WORDS = ("What", "does it bind", "Where", "zinc", "naïve", "ATP?", "and", "helix", "x")


def save_model(folder: Path, seed: int, kind: BridgeKind = "resampler") -> Path:
    torch.manual_seed(seed)
    encoder, decoder = make_bases(folder)
    config = ModelConfig(
        encoder=EncoderConfig(source=str(encoder)),
        bridge=BridgeConfig(kind=kind, num_latents=NUM_LATENTS, depth=1, num_heads=2, head_dim=8),
        decoder=DecoderConfig(source=str(decoder), lora=LoraConfig(rank=2, alpha=4)),
        long_proteins="refuse",
    )
    torch.manual_seed(seed)
    model = ProteinToText(config)
    model.set_stage("instruction")
    with torch.no_grad():
        for name, parameter in model.trainable().items():
            parameter.normal_(0, 0.3 if "lora_" in name else 1.0)
    model.save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("predict-model"), seed=1)


@pytest.fixture(scope="session")
def model(model_folder: Path) -> ProteinToText:
    return ProteinToText.from_pretrained(model_folder)


def sequence(number: int) -> str:
    rng = random.Random(number)
    return "".join(rng.choices("ACDEFGHIKLMNPQRSTVWYX", k=LENGTHS[number % len(LENGTHS)] + number // len(LENGTHS)))


def record(number: int, proteins: Sequence[int]) -> dict[str, Any]:
    """One record in the published layout."""
    rng = random.Random(f"record {number}")
    question = " ".join(rng.choices(WORDS, k=1 + number % 13))
    sequences, accessions = [sequence(protein) for protein in proteins], [f"P{protein:05}" for protein in proteins]
    return {
        "long_format_id": f"{accessions[0]}_{number}",
        "id": accessions if len(proteins) > 1 else accessions[0],
        "protein": "test",
        "pmc_id": ["PMC1"],
        "amino_seq": sequences if len(proteins) > 1 else sequences[0],
        "conversations": [
            {"from": "human", "value": "<protein_sequence>\n" * len(proteins) + question},
            {"from": "gpt", "value": f"Truth {number}."},
        ],
    }


def records(count: int) -> list[dict[str, Any]]:
    """Questions about few proteins, in no order; every seventh about two of them."""
    return [record(n, [n * 5 % 11, n * 3 % 11 + 11] if n % 7 == 3 else [n * 5 % 11]) for n in range(count)]


def write(path: Path, rows: Any) -> Path:
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
