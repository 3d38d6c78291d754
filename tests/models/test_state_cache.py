"""Kept residue states against the encoder itself, one protein at a time."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from protein2text.models.batches import pack_proteins
from protein2text.models.encoder_weights import load_encoder
from protein2text.models.long_proteins import EXACT, Reading
from protein2text.models.model_config import EncoderConfig
from protein2text.models.state_cache import StateCache
from tests.models.conftest import random_sequence

SEQUENCES = [random_sequence(length, seed) for seed, length in enumerate((61, 40, 17, 2, 1))]
PLENTY = 1 << 30

MakeCache = Callable[..., StateCache]


@pytest.fixture
def cache_of(random_esm: Path, tmp_path: Path) -> MakeCache:
    def make(max_bytes: int = PLENTY, reading: Reading = EXACT) -> StateCache:
        encoder = load_encoder(EncoderConfig(source=str(random_esm)))
        return StateCache(encoder, reading, tmp_path / "states", max_bytes)

    return make


def alone(cache: StateCache, numbers: list[int], reading: Reading = EXACT) -> Tensor:
    """The encoder's states of each protein in a batch of its own."""
    return torch.cat([cache.encoder(pack_proteins([SEQUENCES[number]], reading)) for number in numbers])


def row_bytes(cache: StateCache) -> int:
    return alone(cache, [4])[0].nbytes


@pytest.mark.parametrize("max_bytes", [0, 4_000, PLENTY])
def test_states_are_those_of_each_protein_alone_whatever_is_kept(cache_of: MakeCache, max_bytes: int) -> None:
    for cache in (cache_of(max_bytes), cache_of(max_bytes)):
        for numbers in ([0, 1, 2, 3, 4], [4, 2, 2, 0], [3], [1, 0, 3]):
            batch = pack_proteins([SEQUENCES[number] for number in numbers])
            assert torch.equal(cache(batch), alone(cache, numbers))


def test_a_second_process_finds_what_the_first_one_kept(cache_of: MakeCache) -> None:
    first, second = cache_of(), cache_of()
    first(pack_proteins(SEQUENCES[:3]))
    second(pack_proteins(SEQUENCES))
    assert (first.num_encoded, first.num_remembered) == (3, 0)
    assert (second.num_encoded, second.num_remembered) == (2, 3)


def test_a_protein_in_windows_is_kept_whole(cache_of: MakeCache) -> None:
    reading = Reading(training_residues=20, long_proteins="window")
    cache = cache_of(reading=reading)
    batch = pack_proteins(SEQUENCES, reading)
    assert len(batch.window_lengths) > len(SEQUENCES)
    expected = alone(cache, [0, 1, 2, 3, 4], reading)
    assert torch.equal(cache(batch), expected)
    assert torch.equal(cache(batch), expected)
    assert (cache.num_encoded, cache.num_remembered) == (5, 5)


def test_what_does_not_fit_is_encoded_each_time(cache_of: MakeCache, tmp_path: Path) -> None:
    row = row_bytes(cache_of())
    cache = cache_of((62 + 18) * row)  # of the proteins of 61, 40 and 17 residues, room for the first and the last
    for _ in range(2):
        cache(pack_proteins(SEQUENCES[:3]))
    assert (cache.num_encoded, cache.num_remembered) == (4, 2)
    assert len(list((tmp_path / "states").iterdir())) == 2


@pytest.mark.parametrize("length", [0, 7, 400])
def test_a_file_cut_short_is_made_again(cache_of: MakeCache, tmp_path: Path, length: int) -> None:
    cache = cache_of()
    batch = pack_proteins(SEQUENCES[:1])
    cache(batch)
    (path,) = (tmp_path / "states").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    assert torch.equal(cache(batch), alone(cache, [0]))
    assert path.read_bytes() == whole
