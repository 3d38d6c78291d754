"""Kept residue states against the encoder itself, each protein alone; shards against damage, rivals and the bound."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from protein2text.errors import MissingFile
from protein2text.models import feature_cache, feature_store
from protein2text.models.batches import pack_proteins
from protein2text.models.encoder_weights import load_encoder
from protein2text.models.feature_cache import FeatureCache, encoding_of, open_cache
from protein2text.models.feature_store import SUFFIX, FeatureStore, checksum_of
from protein2text.models.long_proteins import EXACT, Reading
from protein2text.models.model_config import EncoderConfig
from tests.models.conftest import random_sequence

SEQUENCES = [random_sequence(length, seed) for seed, length in enumerate((61, 40, 17, 2, 1))]
PLENTY = 1 << 30

MakeCache = Callable[..., FeatureCache]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """New states become a shard with each batch, and others' are looked for at each miss."""
    monkeypatch.setattr(feature_cache, "WRITTEN_AFTER_S", 0.0)
    monkeypatch.setattr(feature_store, "LOOKED_EVERY_S", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "features"


@pytest.fixture
def cache_of(random_esm: Path, folder: Path) -> MakeCache:
    def make(max_bytes: int = PLENTY, reading: Reading = EXACT) -> FeatureCache:
        encoder = load_encoder(EncoderConfig(source=str(random_esm)))
        store = FeatureStore(folder, encoding_of(encoder, reading, "fp32"), max_bytes)
        return FeatureCache(encoder, reading, store)

    return make


def alone(cache: FeatureCache, numbers: list[int], reading: Reading = EXACT) -> Tensor:
    """The encoder's states of each protein in a batch of its own."""
    return torch.cat([cache.encoder(pack_proteins([SEQUENCES[number]], reading)) for number in numbers])


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/*{SUFFIX}"))


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


def test_what_waits_for_a_shard_is_remembered_and_not_lost(
    cache_of: MakeCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "WRITTEN_AFTER_S", 3600.0)
    cache, batch = cache_of(), pack_proteins(SEQUENCES)
    for _ in range(2):
        assert torch.equal(cache(batch), alone(cache, [0, 1, 2, 3, 4]))
    assert (cache.num_encoded, cache.num_remembered, shards(folder)) == (5, 5, [])
    cache.flush()
    assert len(shards(folder)) == 1
    assert cache_of()(batch).equal(cache(batch))


def test_a_protein_in_windows_is_kept_whole(cache_of: MakeCache) -> None:
    reading = Reading(training_residues=20, long_proteins="window")
    cache = cache_of(reading=reading)
    batch = pack_proteins(SEQUENCES, reading)
    assert len(batch.window_lengths) > len(SEQUENCES)
    expected = alone(cache, [0, 1, 2, 3, 4], reading)
    assert torch.equal(cache(batch), expected)
    assert torch.equal(cache(batch), expected)
    assert (cache.num_encoded, cache.num_remembered) == (5, 5)


def test_another_reading_layer_precision_or_weight_is_another_encoding(random_esm: Path) -> None:
    encoder, other = (load_encoder(EncoderConfig(source=str(random_esm), layer=layer)) for layer in (-2, -1))
    changed = load_encoder(EncoderConfig(source=str(random_esm)))
    with torch.no_grad():
        changed.layers[0].qkv.weight[0, 0] += 1e-6
    reading = Reading(long_proteins="window")
    keys = [encoding_of(*what) for what in ((encoder, EXACT, "fp32"), (other, EXACT, "fp32"), (changed, EXACT, "fp32"),
                                            (encoder, reading, "fp32"), (encoder, EXACT, "bf16"))]  # fmt: skip
    assert len({str(key) for key in keys}) == 5
    assert encoding_of(load_encoder(EncoderConfig(source=str(random_esm))), EXACT, "fp32") == keys[0]


@pytest.mark.parametrize("change", [{"num_attention_heads": 4}, {"token_dropout": False}, {"layer_norm_eps": 1e-3}])
def test_a_switch_of_the_encoder_is_another_encoding(
    change: dict[str, Any], random_esm: Path, tmp_path: Path, folder: Path
) -> None:
    """Settings that leave no trace in the weights, but change states."""
    other = shutil.copytree(random_esm, tmp_path / "esm2")
    settings = json.loads((other / "config.json").read_text())
    assert {key: settings[key] for key in change} != change
    (other / "config.json").write_text(json.dumps({**settings, **change}))
    batch = pack_proteins(SEQUENCES[:1])
    for source in (random_esm, other):
        encoder = load_encoder(EncoderConfig(source=str(source)))
        cache = open_cache(encoder, EXACT, "fp32", folder, PLENTY)
        assert torch.equal(cache(batch), encoder(batch))
        assert cache.num_encoded == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.ESTALE])
def test_a_shard_that_cannot_be_read_now_stays(
    number: int, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer = FeatureStore(folder, {"encoder": "a"}, PLENTY)
    assert all(writer.add(states(protein)) for protein in range(3))
    before, opened = shards(folder), Path.open

    def refuse(path: Path, *arguments: Any) -> Any:
        if path.suffix == SUFFIX:
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        for store in (writer, FeatureStore(folder, {"encoder": "a"}, 0)):
            assert [store.read(checksum_of(str(protein))) for protein in range(3)] == [None] * 3
    assert shards(folder) == before
    assert caplog.text.count(os.strerror(number)) == 2, "once per store"
    later = FeatureStore(folder, {"encoder": "a"}, 0)
    assert all(later.read(checksum_of(str(protein))) is not None for protein in range(3))


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_damage_anywhere_is_found_said_and_made_good(
    cache_of: MakeCache, folder: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty times at a random place: never a wrong state, and the folder is whole again after a batch or two."""
    dice, batch = random.Random(damage), pack_proteins(SEQUENCES)
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        expected = cache_of()(batch)
        (path,) = shards(folder)
        content = bytearray(path.read_bytes())
        place = dice.randrange(len(content))
        if damage == "flip":
            content[place] ^= 1 << dice.randrange(8)
        path.write_bytes({"flip": content, "truncate": content[:place], "empty": b""}[damage])
        caplog.clear()
        encoded = []
        for _ in range(3):
            cache = cache_of()
            assert torch.equal(cache(batch), expected)
            encoded.append(cache.num_encoded)
        assert encoded[0] > 0
        assert encoded[2] == 0
        assert "the shard is removed, and its proteins are encoded again" in caplog.text


def states(number: int, num_rows: int = 100) -> dict[str, Tensor]:
    return {checksum_of(str(number)): torch.full((num_rows, 8), float(number))}


def test_the_longest_unused_go_when_room_is_needed(folder: Path) -> None:
    store = FeatureStore(folder, {"encoder": "a"}, 4 * 3_600)
    assert all(store.add(states(number)) for number in range(3))
    assert FeatureStore(folder, {"encoder": "b"}, 5 * 3_600).add(states(3)), "another encoding shares the folder"
    long_ago = time.time() - 2 * feature_store.IN_USE_S
    for age, path in enumerate(shards(folder)):
        os.utime(path, (long_ago, long_ago - age))
    reader = FeatureStore(folder, {"encoder": "a"}, 0)
    assert reader.read(checksum_of("1")) is not None  # which is now in use
    assert store.add(states(4) | states(5))
    assert [reader.read(checksum_of(str(number))) is not None for number in (1, 4, 5)] == [True] * 3
    assert sum(path.stat().st_size for path in shards(folder)) <= 4 * 3_600
    assert not store.add(states(6, num_rows=250)), "all else is in use"
    assert store.read(checksum_of("6")) is None
    assert store.read(checksum_of("1")) is not None


def test_a_full_folder_keeps_what_is_in_use(cache_of: MakeCache, caplog: pytest.LogCaptureFixture) -> None:
    row = alone(cache_of(), [4])[0].nbytes
    cache = cache_of(62 * row + 900)  # room for the first protein and a header
    for sequence in (SEQUENCES[0], SEQUENCES[1], SEQUENCES[0], SEQUENCES[1]):
        cache(pack_proteins([sequence]))
    assert (cache.num_encoded, cache.num_remembered, cache.num_not_kept) == (3, 1, 2)
    assert caplog.text.count("is full") == 1


WRITER = """
import sys, torch
from pathlib import Path
from protein2text.models.feature_store import FeatureStore, checksum_of
store = FeatureStore(Path(sys.argv[1]), {"encoder": "a"}, 300_000)
for number in range(int(sys.argv[2]), 10_000):
    store.add({checksum_of(str(number)): torch.full((100, 8), float(number))})
    print(number, flush=True)
"""


def test_writers_killed_at_any_moment_leave_no_wrong_state(folder: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(begin)], stdout=subprocess.PIPE)
        for begin in (0, 20)
    ]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    time.sleep(random.uniform(0.0, 0.1))
    for writer in writers:
        writer.kill()
        writer.communicate()
    store = FeatureStore(folder, {"encoder": "a"}, 300_000)
    found = [(number, store.read(checksum_of(str(number)))) for number in range(200)]
    kept = [(number, states_RE) for number, states_RE in found if states_RE is not None]
    assert len(kept) >= 2
    assert all(torch.equal(states_RE, torch.full((100, 8), float(number))) for number, states_RE in kept)
    assert sum(path.stat().st_size for path in shards(folder)) <= 300_000


def test_a_folder_that_cannot_be_written_is_read(cache_of: MakeCache, folder: Path) -> None:
    writer = cache_of()
    expected = writer(pack_proteins(SEQUENCES))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    reader = cache_of(max_bytes=0)
    assert torch.equal(reader(pack_proteins(SEQUENCES)), expected)
    assert (reader.num_encoded, reader.num_remembered) == (0, 5)
    assert before.keys() == set(folder.rglob("*"))


def test_a_folder_that_is_not_there_is_named_if_nothing_may_fill_it(random_esm: Path, folder: Path) -> None:
    encoder = load_encoder(EncoderConfig(source=str(random_esm)))
    with pytest.raises(MissingFile, match=r"data\.features"):
        open_cache(encoder, EXACT, "fp32", folder, 0)
    assert not open_cache(encoder, EXACT, "fp32", folder, PLENTY).num_encoded


def test_titin_has_a_shard_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "SHARD_BYTES", 1000)
    store = FeatureStore(folder, {"encoder": "a"}, PLENTY)
    titin = {checksum_of("titin"): torch.randn(35_000, 16).bfloat16()}
    assert store.add(titin)
    read = FeatureStore(folder, {"encoder": "a"}, 0).read(checksum_of("titin"))
    assert read is not None
    assert torch.equal(read, titin[checksum_of("titin")])
