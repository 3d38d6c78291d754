"""The registry of encoders: what is known of ESM-2, and that another architecture can be added from outside."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from protein2text.errors import ConfigError, InvalidResidue
from protein2text.models.alphabet import Alphabet
from protein2text.models.batches import ProteinBatch
from protein2text.models.encoders import (
    EncoderFamily,
    build_encoder,
    families,
    family_of,
    licence_of,
    register,
    size_of,
)
from protein2text.models.generation import Decoding
from protein2text.models.model_config import EncoderConfig
from protein2text.models.protein_to_text import ProteinToText
from protein2text.proteins import ALPHABET
from tests.models.conftest import tiny_config


def test_published_sizes_are_those_of_their_names() -> None:
    sizes = family_of(EncoderConfig(source="x")).sizes
    for name, size in sizes.items():
        if name.startswith("esm2_t"):
            layers, millions = name.removeprefix("esm2_t").split("_")[:2]
            assert size.num_layers == int(layers)
            assert size.width % size.num_heads == 0
            scale = {"M": 1e6, "B": 1e9}[millions[-1]]
            counted = size.num_layers * 12 * size.width**2
            assert 0.9 < counted / (float(millions[:-1]) * scale) < 1.02, name


def test_the_preset_is_what_the_registry_says() -> None:
    config = EncoderConfig(source="preset:tiny/esm2")
    shape, size = build_encoder(config).shape, size_of(config)
    assert (shape.num_layers, shape.width, shape.num_heads) == (size.num_layers, size.width, size.num_heads)
    assert set(family_of(config).alphabet.letters) == set(ALPHABET)


@pytest.mark.parametrize(
    ("source", "licence"),
    [
        ("facebook/esm2_t33_650M_UR50D", "mit"),
        ("/models/esm2_t6_8M_UR50D.pt", "mit"),
        ("/cache/models--facebook--esm2_t36_3B_UR50D/snapshots/abc", "mit"),
        ("preset:tiny/esm2", "apache-2.0"),
        ("/models/my-esm2_t6_8M_UR50D-tuned", "unknown"),
        ("owner/other", "unknown"),
    ],
)
def test_licences_are_known_by_name_and_never_guessed(source: str, licence: str) -> None:
    assert licence_of(EncoderConfig(source=source)) == licence


def test_the_layer_is_the_familys_unless_the_configuration_says(random_esm: Path) -> None:
    assert len(build_encoder(EncoderConfig(source=str(random_esm))).layers) == 2, "-2 of three layers"
    assert len(build_encoder(EncoderConfig(source=str(random_esm), layer=-1)).layers) == 3
    register(replace(family_of(EncoderConfig(source="x")), name="esm2-first-layer", layer=1))
    assert len(build_encoder(EncoderConfig(source=str(random_esm), family="esm2-first-layer")).layers) == 1


def test_an_unknown_or_doubly_used_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="'esm3' is not registered; known are esm2"):
        build_encoder(EncoderConfig(source="x", family="esm3"))
    with pytest.raises(ValueError, match="registered already"):
        register(replace(families()[0], training_residues=5))
    register(families()[0])


class LetterEncoder(nn.Module):
    """The smallest encoder there is: one vector per letter, and how far along the window it stands."""

    width, row_bytes = 6, 24

    def __init__(self) -> None:
        super().__init__()
        self.vectors = nn.Embedding(6, 6, _weight=torch.arange(36.0).reshape(6, 6).sin())

    def forward(self, proteins: ProteinBatch) -> Tensor:
        states: Tensor = self.vectors(proteins.ids_S) + proteins.positions_S[:, None].to(torch.float32)
        return states[proteins.state_rows]


def load_letters(config: EncoderConfig) -> Any:
    assert config.layer == 1, "the family's rule has been applied"
    return LetterEncoder().requires_grad_(False).eval()


def test_another_architecture_is_added_from_outside() -> None:
    """Its own letters, width, layer and training length reach the packed forward, the windows and the answer."""
    alphabet = Alphabet({"A": 2, "C": 3, "D": 4}, begin_id=0, end_id=5)
    register(EncoderFamily("letters", alphabet, training_residues=8, layer=1, load=load_letters, sizes={}))
    config = tiny_config().model_copy(update={"encoder": EncoderConfig(source="anything", family="letters")})
    torch.manual_seed(0)
    model = ProteinToText(config)
    assert model.reading.used(8) == "exact"
    assert model.reading.used(9) == "window"
    bank = model.latent_bank({"ACD", "ACDACDACDACD"})
    assert {len(rows) for rows in bank.values()} == {config.bridge.num_latents}
    assert model.ask("A" * 12, "What is it?", Decoding(max_new_tokens=2)).proteins[0].read_as == "window"
    with pytest.raises(InvalidResidue, match="allowed are ACD"):
        model.ask("MAC", "What is it?")
    with pytest.raises(ValueError, match="'M'"):
        model.latent_bank({"MAC"})
