"""Long proteins: which windows are read, which states are kept, and that windows change nothing below their length."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import EsmModel, EsmTokenizer

from protein2text.errors import BeyondTraining, SequenceTooLong
from protein2text.models.batches import pack, pack_proteins
from protein2text.models.chat import encode_example, question_messages
from protein2text.models.encoder_weights import load_encoder
from protein2text.models.long_proteins import OVERLAP, LongProteins, Reading
from protein2text.models.model_config import EncoderConfig
from protein2text.models.protein_to_text import ProteinToText
from tests.models.conftest import random_sequence, relative_error, tiny_config

LENGTHS = [1, 2, 1021, 1022, 1023, 1024, 1278, 1789, 1790, 1791, 2046, 3000, 4095, 35_213]


def reading(mode: LongProteins, training_residues: int = 1022) -> Reading:
    return Reading(training_residues=training_residues, long_proteins=mode)


def nearest_cut(token: int, begin: int, end: int, num_tokens: int) -> float:
    """How far a token of a window is from where the protein was cut; its real ends are no cuts."""
    left = float("inf") if begin == 0 else token - begin
    right = float("inf") if end == num_tokens else end - 1 - token
    return min(left, right)


@pytest.mark.parametrize("num_residues", LENGTHS)
@pytest.mark.parametrize("training_residues", [5, 17, 1022])
def test_each_state_comes_from_the_window_in_which_it_is_farthest_from_a_cut(
    num_residues: int, training_residues: int
) -> None:
    windows = reading("window", training_residues).windows(num_residues)
    num_tokens, size = num_residues + 2, training_residues + 2
    kept = [token for window in windows for token in range(window.first, window.last)]
    assert kept == list(range(1, num_tokens)), "one state per residue and one for the end, in order"
    if len(windows) > 1:
        assert {window.end - window.begin for window in windows} == {size}
        overlaps = [left.end - right.begin for left, right in pairwise(windows)]
        assert min(overlaps) >= min(OVERLAP, size // 2)
    if num_tokens * len(windows) > 1_000_000:
        return
    for window in windows:
        for token in range(window.first, window.last):
            assert window.begin <= token < window.end
            distances = [
                nearest_cut(token, other.begin, other.end, num_tokens)
                for other in windows
                if other.begin <= token < other.end
            ]
            assert nearest_cut(token, window.begin, window.end, num_tokens) == max(distances)


@pytest.mark.parametrize("num_residues", [1, 40, 1022])
def test_up_to_the_training_length_all_modes_read_the_same(random_esm: Path, num_residues: int) -> None:
    encoder = load_encoder(EncoderConfig(source=str(random_esm)))
    sequences = [random_sequence(num_residues, 3)]
    states = [encoder(pack_proteins(sequences, reading(mode))) for mode in ("auto", "exact", "window", "refuse")]
    assert all(torch.equal(states[0], other) for other in states)


def crops_of_transformers(folder: Path, sequence: str, windows: list[tuple[int, int, int, int]]) -> Tensor:
    """Each window through the library's own model, with the end tokens only where the protein really ends."""
    model = EsmModel.from_pretrained(folder, add_pooling_layer=False).eval()
    ids = EsmTokenizer.from_pretrained(folder)(sequence, return_tensors="pt").input_ids
    kept = []
    for begin, end, first, last in windows:
        with torch.no_grad():
            states = model(ids[:, begin:end], output_hidden_states=True).hidden_states[-2][0]
        kept.append(states[first - begin : last - begin])
    return torch.cat(kept)


@pytest.mark.parametrize("mode", ["auto", "window", "exact"])
def test_states_of_long_proteins_equal_transformers_on_each_window(random_esm: Path, mode: LongProteins) -> None:
    encoder = load_encoder(EncoderConfig(source=str(random_esm)))
    how = reading(mode)
    sequences = [random_sequence(length, length) for length in (2400, 1023, 700, 1)]
    proteins = pack_proteins(sequences, how)
    assert len(proteins.window_lengths) == (4 if mode == "exact" else 3 + 2 + 1 + 1)
    for sequence, ours in zip(sequences, encoder(proteins).split(list(proteins.state_lengths)), strict=True):
        theirs = crops_of_transformers(random_esm, sequence, how.windows(len(sequence)))
        assert len(ours) == len(sequence) + 1
        assert relative_error(ours, theirs) < 2e-6
        assert relative_error(ours, encoder(pack_proteins([sequence], how))) < 2e-6


def test_windows_and_one_pass_differ_where_they_should(random_esm: Path) -> None:
    """Were they equal, the tests above would compare one thing with itself."""
    encoder = load_encoder(EncoderConfig(source=str(random_esm)))
    sequences = [random_sequence(1500, 1)]
    exact, window = (encoder(pack_proteins(sequences, reading(mode))) for mode in ("exact", "window"))
    assert relative_error(window, exact) > 1e-3


def test_refusal_names_length_limit_memory_and_remedy(model: ProteinToText) -> None:
    refusing = ProteinToText(tiny_config().model_copy(update={"long_proteins": "refuse"}))
    refusing.latent_bank({random_sequence(1022, 0)})
    with pytest.raises(BeyondTraining) as caught:
        refusing.latent_bank({"M" * 35_213})
    text = str(caught.value)
    assert isinstance(caught.value, SequenceTooLong)
    for part in ("35213 residues", "up to 1022", "long_proteins=refuse", "GiB in one pass", "GiB in windows", "domain"):
        assert part in text
    assert caught.value.exact_bytes == refusing.encoder.row_bytes * 35_215
    assert caught.value.exact_bytes < caught.value.window_bytes < 1.4 * caught.value.exact_bytes


def test_training_and_asking_read_long_proteins_alike(model: ProteinToText) -> None:
    """The loss of a packed batch is that of the same windows asked for one by one."""
    sequences = [random_sequence(1300, 5), random_sequence(30, 6)]
    messages = [*question_messages("What does it bind?", 1), {"role": "assistant", "content": "It binds ATP."}]
    examples = [encode_example(model.tokenizer, messages)] * 2
    groups = [[sequence] for sequence in sequences]
    together = model(pack(examples, groups, model.config.bridge, model.reading))
    alone = sum(
        model(pack([example], [group], model.config.bridge, model.reading))
        for example, group in zip(examples, groups, strict=True)
    )
    assert abs(together.item() - alone.item()) < 2e-6 * together.item()
    exact = model(pack(examples, groups, model.config.bridge))
    assert abs(together.item() - exact.item()) > 1e-5 * together.item(), "the long protein was read in windows"


MEASURE = """
import json, random, re, sys
from pathlib import Path
import torch
from protein2text.models.batches import pack_proteins
from protein2text.models.encoders import build_encoder
from protein2text.models.long_proteins import Reading
from protein2text.models.model_config import EncoderConfig

def memory(key):
    return int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

torch.set_num_threads(1)
num_residues = int(sys.argv[1])
sequence = "".join(random.Random(0).choices("ACDEFGHIKLMNPQRSTVWY", k=num_residues))
encoder = build_encoder(EncoderConfig(source="preset:tiny/esm2"))
encoder(pack_proteins(["MKV" * 20]))
for mode in ("exact", "window"):
    reading = Reading(long_proteins=mode, row_bytes=encoder.row_bytes)
    proteins = pack_proteins([sequence], reading)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    states = encoder(proteins)
    peak = memory("VmHWM") - before
    assert states.isfinite().all()
    print(json.dumps([len(states), len(proteins.window_lengths), peak, reading.estimated_bytes(num_residues)]))
    del states, proteins
"""

TITIN = 35_213
FIRST_USE_BYTES = 4 << 20


@pytest.mark.parametrize("num_residues", [3000, pytest.param(TITIN, marks=pytest.mark.slow)])
def test_a_protein_of_titins_length_fits_in_the_estimated_memory_both_ways(num_residues: int) -> None:
    """Peak resident memory of a process that gives back what it frees; one head's scores of titin would be 5 GB."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    command = [sys.executable, "-c", MEASURE, str(num_residues)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    exact, window = (json.loads(line) for line in done.stdout.splitlines())
    assert exact[0] == window[0] == num_residues + 1
    assert exact[1] == 1 < window[1]
    for _, _, peak, estimate in (exact, window):
        assert 0.9 * estimate < peak < 1.05 * estimate + FIRST_USE_BYTES
