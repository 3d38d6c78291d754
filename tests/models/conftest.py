"""Fixtures of the model tests: the tiny preset's bases, and bases of other shapes with random weights."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import EsmForMaskedLM

from protein2text.models.model_config import BridgeConfig, DecoderConfig, EncoderConfig, LoraConfig, ModelConfig
from protein2text.models.protein_to_text import ProteinToText
from protein2text.train.base_encoder import encoder_config, write_encoder

RESIDUES = "ACDEFGHIKLMNPQRSTVWYXBZUO"


def random_sequence(num_residues: int, seed: int) -> str:
    generator = torch.Generator().manual_seed(seed)
    return "".join(
        RESIDUES[number] for number in torch.randint(len(RESIDUES), (num_residues,), generator=generator).tolist()
    )


def relative_error(actual: Tensor, reference: Tensor) -> float:
    assert actual.shape == reference.shape, f"{tuple(actual.shape)} is not {tuple(reference.shape)}"
    actual, reference = actual.detach().double(), reference.detach().double()
    return float((actual - reference).norm() / reference.norm())


@pytest.fixture(scope="session")
def random_esm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ESM-2 of three layers with random weights, biases and norms included, in the Hugging Face layout."""
    folder = tmp_path_factory.mktemp("esm2")
    torch.manual_seed(5)
    model = EsmForMaskedLM(encoder_config(hidden_size=40, num_layers=3, num_heads=5))
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    write_encoder(model, folder)
    return folder


def tiny_config(**bridge: int | str) -> ModelConfig:
    sizes: dict[str, int | str] = {"num_latents": 5, "depth": 2, "num_heads": 3, "head_dim": 8, **bridge}
    return ModelConfig(
        encoder=EncoderConfig(source="preset:tiny/esm2"),
        bridge=BridgeConfig.parse(sizes),
        decoder=DecoderConfig(source="preset:tiny/llama", lora=LoraConfig(rank=4, alpha=8, dropout=0.0)),
    )


@pytest.fixture
def model() -> ProteinToText:
    torch.manual_seed(1)
    return ProteinToText(tiny_config())
