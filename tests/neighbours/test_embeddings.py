"""Embeddings of an index: what is stored, what lies near, and that it is shown beside a refusal and changes nothing."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from protein2text.answerers import Query, open_answerer
from protein2text.cli import app
from protein2text.errors import ConfigError, CorruptCheckpoint, MissingWeights
from protein2text.generate.latent_store import encoder_batches
from protein2text.generate.model_answerer import CPU_RESIDUES
from protein2text.models.batches import pack_proteins
from protein2text.models.encoders import build_encoder
from protein2text.models.long_proteins import Reading
from protein2text.models.model_config import EncoderConfig
from protein2text.models.sources import PRESETS
from protein2text.neighbours import embed as embedding
from protein2text.neighbours import remote_agreement, vectors
from protein2text.neighbours.embed import embed
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.homologues import find_homologues
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text.neighbours.remote import AGREEMENT, VECTORS
from protein2text.neighbours.remote_agreement import RemoteAgreement
from protein2text.proteins import Protein
from tests.neighbours.made_index import entry, make_index, relative, residues

TINY = EncoderConfig(source="preset:tiny/esm2")
LENGTHS = (1, 2, 63, 64, 65, 1021, 1022, 1023, 1300, 2100)
EXPERIMENT = ("ECO:0000269",)
QUESTION = "What is its EC number?"


def make_entries(seed: int) -> list:
    """Proteins of awkward lengths, families of relatives, and two names of one sequence."""
    rng = random.Random(seed)
    sequences = [residues(rng, length) for length in LENGTHS]
    for _ in range(12):
        parent = residues(rng, rng.randint(60, 140))
        sequences += [parent, relative(rng, parent, 0.8), relative(rng, parent, 0.7)]
    sequences.append(sequences[20])
    numbers = ("1.1.1.1", "1.1.1.2", "1.2.-.-", "3.4.21.4")
    return [
        entry(
            f"P{number:05}",
            sequence,
            Fact("ec", rng.choice(numbers), eco=EXPERIMENT),
            Fact("location", rng.choice(("Nucleus", "nucleus ", "Secreted"))),
        )
        for number, sequence in enumerate(sequences)
    ]


ENTRIES = make_entries(3)


def embedded(folder: Path) -> Path:
    make_index(folder, ENTRIES, calibration_entries=100)
    embed(str(folder), TINY)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return embedded(tmp_path_factory.mktemp("embedded"))


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "copied")
    return tmp_path / "copied"


def files_of(index: NeighbourIndex) -> Path:
    assert index.embeddings is not None
    return index.folder / index.embeddings["folder"]


def stored(folder: Path) -> np.ndarray:
    made = vectors.load(files_of(NeighbourIndex.open(folder)) / VECTORS)
    return made.reconstruct_n(0, made.ntotal)


def answered(folder: Path, *sequences: str, without: frozenset[str] = frozenset()) -> list[tuple[str, dict]]:
    answerer = open_answerer(f"neighbours:{folder}")
    queries = [
        Query(str(n), "", QUESTION, (Protein(f"Q{n}", each),), without=without) for n, each in enumerate(sequences)
    ]
    replies = {reply.id: reply for batch in answerer.answer(queries) for reply in batch}
    return [(replies[query.id].text, replies[query.id].details["neighbours"]) for query in queries]


def test_vectors_are_mean_residue_states_of_each_distinct_sequence_to_the_last_bit(folder: Path) -> None:
    distinct = list(dict.fromkeys(each.sequence for each in ENTRIES))
    encoder, reading, expected = build_encoder(TINY), Reading(long_proteins="window"), []
    for batch in encoder_batches(distinct, CPU_RESIDUES):
        proteins = pack_proteins(batch, reading)
        states = encoder(proteins).double().numpy()
        ends = np.cumsum([len(sequence) + 1 for sequence in batch])
        for sequence, end in zip(batch, ends, strict=True):
            mean = states[end - 1 - len(sequence) : end - 1].sum(axis=0) / len(sequence)
            expected.append((mean / np.sqrt((mean**2).sum())).astype(np.float32))
    found = stored(folder)
    assert found.shape == (len(ENTRIES) - 1, encoder.width)
    assert np.array_equal(found, np.stack(expected))
    alone = encoder(pack_proteins([distinct[8]], Reading(long_proteins="exact")))[:-1].double().mean(dim=0)
    assert np.abs(found[8] - (alone / alone.norm()).numpy()).max() > 1e-4  # not read whole: 1,300 residues


def test_search_is_brute_force_and_the_graph_recalls_it() -> None:
    drawn = np.random.default_rng(0)
    centres = drawn.standard_normal((60, 48))
    points = (centres[drawn.integers(60, size=3001)] + 0.5 * drawn.standard_normal((3001, 48))).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    queries = points[::41] + 0.05 * drawn.standard_normal((74, 48)).astype(np.float32)
    cosines = queries.astype(np.float64) @ points.T.astype(np.float64)
    expected = np.argsort(-cosines, axis=1)[:, :13]
    exact = vectors.make([points[:7], points[7:]], 48, 3001, 3001)
    for found, rows, row_cosines in zip(vectors.search(exact, queries, 13), expected, cosines, strict=True):
        assert [row for _, row in found] == rows.tolist()
        assert [cosine for cosine, _ in found] == pytest.approx(row_cosines[rows], abs=1e-5)
    graph = vectors.make([points[:7], points[7:]], 48, 3001, 3000)
    pairs = zip(vectors.search(graph, queries, 13), expected, strict=True)
    recall = np.mean([len({row for _, row in found} & set(rows.tolist())) / 13 for found, rows in pairs])
    assert recall >= 0.99
    assert vectors.recall(graph, 0) >= 0.99
    assert vectors.recall(exact, 0) == 1
    assert [len(found) for found in vectors.search(exact, queries[:2], 9999)] == [3001, 3001]


def test_a_graph_is_stored_and_found_again(copied: Path, folder: Path) -> None:
    index = NeighbourIndex.open(copied)
    del index.manifest["embeddings"]
    embedding.write_manifest(index)
    made = embed(str(copied), TINY, exact_up_to=10)
    assert (made.search, made.recall) == ("HNSW", 1)
    assert np.array_equal(stored(copied), stored(folder))
    sequence = residues(random.Random(8), 90)
    ((_, told),), ((_, expected),) = answered(copied, sequence), answered(folder, sequence)
    assert [near["accession"] for near in told["remote"]] == [near["accession"] for near in expected["remote"]]


def test_a_refusal_stays_what_it_was_and_shows_what_lies_near(folder: Path, tmp_path: Path) -> None:
    rng = random.Random(9)
    plain = tmp_path / "plain"
    make_index(plain, ENTRIES, calibration_entries=100)
    whole, part = ENTRIES[12].sequence, residues(rng, 300) + ENTRIES[12].sequence[:70]
    sequences = [residues(rng, 80), relative(rng, whole, 0.9), part, residues(rng, 80), residues(rng, 5)]
    before, after = answered(plain, *sequences), answered(folder, *sequences)
    for (text, told), (new_text, new) in zip(before, after, strict=True):
        assert "remote" not in told
        assert (new_text, {key: value for key, value in new.items() if key != "remote"}) == (text, told)
    assert [told["status"] for _, told in after] == ["no_homologue", "answered", *["no_homologue"] * 3]
    assert after[0][0] == "no characterised homologue in 2026_01"
    assert "remote" not in after[1][1]
    aligned = {hit["accession"] for hit in after[2][1]["domain_hits"]}
    assert "P00012" in aligned
    encoder = build_encoder(TINY)
    names = {each.sequence: each.accession for each in reversed(ENTRIES)}
    rows = list(dict.fromkeys(each.sequence for each in ENTRIES))
    for sequence, (_, told) in zip(sequences, after, strict=True):
        if told["status"] != "no_homologue":
            continue
        mean = encoder(pack_proteins([sequence]))[:-1].mean(dim=0)
        cosines = stored(folder) @ (mean / mean.norm()).numpy()
        near = [(names[rows[row]], cosines[row]) for row in np.argsort(-cosines)]
        without = {hit["accession"] for hit in told["domain_hits"]}
        expected = [pair for pair in near if pair[0] not in without][:3]
        assert [shown["accession"] for shown in told["remote"]] == [name for name, _ in expected]
        assert [shown["cosine"] for shown in told["remote"]] == pytest.approx(
            [cosine for _, cosine in expected], abs=1e-5
        )
        for shown in told["remote"]:
            assert "no alignment supports it, and no fact is taken from it" in shown["text"]
            assert f"cosine {shown['cosine']:.4f}" in shown["text"]
    left_out = after[0][1]["remote"][0]["accession"]
    ((_, told),) = answered(folder, sequences[0], without=frozenset({left_out}))
    assert [near["accession"] for near in told["remote"]][:2] == [
        near["accession"] for near in after[0][1]["remote"][1:]
    ]


def test_ask_lists_them_below_the_refusal(folder: Path) -> None:
    sequence = residues(random.Random(9), 80)
    shown = CliRunner().invoke(app, ["ask", sequence, "--model", f"neighbours:{folder}"])
    assert shown.exit_code == 0, shown.output
    refusal, *near = shown.stdout.splitlines()
    assert refusal == "no characterised homologue in 2026_01"
    ((_, told),) = answered(folder, sequence)
    assert near == [each["text"] for each in told["remote"]]
    assert len(near) == 3
    first = told["remote"][0]["frequencies"][0]
    assert (first["kind"], first["level"], first["coverage_bin"]) == ("ec", 1, "no alignment")
    assert f"{first['num_agreeing']} of {first['n']} EC numbers at 1 digit (" in near[0]


@pytest.mark.parametrize("most_homologues", [300, 3])
def test_agreement_is_that_of_pairs_which_do_not_align(
    folder: Path, most_homologues: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_agreement, "MAX_HOMOLOGUES", most_homologues)
    index = NeighbourIndex.open(folder)
    made, cosines = vectors.load(files_of(index) / VECTORS), stored(folder) @ stored(folder).T
    measured = remote_agreement.measure(index, made, max_entries=100, seed=0)
    if most_homologues == 300:
        saved = RemoteAgreement.load(files_of(index) / AGREEMENT)
        assert (saved.edges, saved.counts) == (measured.edges, measured.counts)
    rows = {sequence: row for row, sequence in enumerate(dict.fromkeys(each.sequence for each in ENTRIES))}
    first = {each.sequence: each for each in reversed(ENTRIES)}
    found = find_homologues(index, [each.sequence for each in ENTRIES])
    names = {each.accession: each for each in ENTRIES}
    pairs = []
    for one, homologues in zip(ENTRIES, found, strict=True):
        if len(homologues) < most_homologues:
            aligned = {names[homologue.accession].sequence for homologue in homologues} | {one.sequence}
            others = [sequence for sequence in rows if sequence not in aligned]
            near = sorted(others, key=lambda other: -cosines[rows[one.sequence], rows[other]])[:3]
            pairs += [(one, first[other], cosines[rows[one.sequence], rows[other]]) for other in near]
    assert len(pairs) == 3 * (len(ENTRIES) if most_homologues == 300 else len(LENGTHS))
    edges = np.quantile([cosine for *_, cosine in pairs], (0.2, 0.4, 0.6, 0.8))
    assert measured.edges == pytest.approx(edges, abs=1e-4)
    counts: Counter[tuple] = Counter()
    for one, other, cosine in pairs:
        place = sum(cosine >= edge for edge in measured.edges)
        (own_number, own_place), (number, where) = ([fact.value for fact in each.facts] for each in (one, other))
        agrees = own_place.strip().lower() == where.strip().lower()
        counts["location", None, place] += 1
        counts["location", None, place, "agrees"] += agrees
        own_digits, digits = (each.split(".-")[0].split(".") for each in (own_number, number))
        for level in range(1, min(len(own_digits), len(digits)) + 1):
            counts["ec", level, place] += 1
            counts["ec", level, place, "agrees"] += own_digits[:level] == digits[:level]
    assert {key: (count.num_agreeing, count.n) for key, count in measured.counts.items()} == {
        key: (counts[(*key, "agrees")], n) for key, n in counts.items() if len(key) == 3
    }


def test_torch_is_loaded_for_a_protein_without_a_homologue_alone(folder: Path) -> None:
    code = """
import sys
from protein2text.answerers import Query, open_answerer
from protein2text.proteins import Protein
answerer = open_answerer(sys.argv[1])
query = Query("1", "", "What is its EC number?", (Protein("Q", sys.argv[2]),))
((reply,),) = answerer.answer([query])
print(reply.details["neighbours"]["status"], {"torch", "faiss", "ray"} & set(sys.modules))
"""
    command = [sys.executable, "-c", code, f"neighbours:{folder}", ENTRIES[12].sequence]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "answered set()"


def test_altered_vectors_are_refused(copied: Path) -> None:
    path = files_of(NeighbourIndex.open(copied)) / VECTORS
    whole = path.read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(CorruptCheckpoint, match=VECTORS):
            open_answerer(f"neighbours:{copied}")
    path.unlink()
    with pytest.raises(CorruptCheckpoint, match=f"{VECTORS}: it is missing"):
        open_answerer(f"neighbours:{copied}")


KILLED = """
import os, signal, sys
from protein2text.models.model_config import EncoderConfig
from protein2text.neighbours import embed, embedder
embed.SEQUENCES_AT_ONCE = 7
vectors, made = embedder.Embedder.vectors, []
def dies(self, sequences):
    if len(made) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    made.append(sequences)
    return vectors(self, sequences)
embedder.Embedder.vectors = dies
embed.embed(sys.argv[1], EncoderConfig(source="preset:tiny/esm2"))
"""


def test_a_killed_run_leaves_the_index_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = make_index(tmp_path, ENTRIES, calibration_entries=100)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert NeighbourIndex.open(tmp_path).manifest == index.manifest
    assert "remote" not in answered(tmp_path, residues(random.Random(9), 80))[0][1]
    monkeypatch.setattr(embedding, "SEQUENCES_AT_ONCE", 7)
    (parts,) = index.data.glob("*.parts")
    (parts / "part-00009.npy.tmp").write_bytes(b"half")
    events: list[dict] = []
    made = embed(str(tmp_path), TINY, progress=events.append)
    assert (made.embedded, made.sequences) == (len(ENTRIES) - 1 - 21, len(ENTRIES) - 1)
    steps = [event["step"] for event in events if "step" in event]
    assert steps == [*range(7, made.sequences, 7), made.sequences]
    whole = tmp_path / "whole"
    make_index(whole, ENTRIES, calibration_entries=100)
    embed(str(whole), TINY)
    assert NeighbourIndex.open(tmp_path).manifest == NeighbourIndex.open(whole).manifest
    on_disk = {path.relative_to(tmp_path).as_posix() for path in index.data.rglob("*") if path.is_file()}
    assert on_disk == set(NeighbourIndex.open(tmp_path).manifest["checksums"])
    again = embed(str(tmp_path), TINY)
    assert (again.already_done, again.embedded) == (True, 0)


def test_an_encoder_of_other_weights_is_refused_and_a_moved_one_is_said_where(copied: Path, tmp_path: Path) -> None:
    sequence, here, there = residues(random.Random(9), 80), tmp_path / "here", tmp_path / "there"
    shutil.copytree(PRESETS / "tiny" / "esm2", here)
    assert embed(str(copied), EncoderConfig(source=str(here))).already_done  # the same weights elsewhere
    before = answered(copied, sequence)
    here.rename(there)
    with pytest.raises(MissingWeights, match="here"):
        answered(copied, sequence)
    assert answered(copied, ENTRIES[12].sequence)[0][1]["status"] == "answered"
    assert embed(str(copied), EncoderConfig(source=str(there))).already_done
    assert answered(copied, sequence) == before
    (weights,) = there.glob("*.safetensors")
    tensors = load_file(weights)
    save_file({name: tensor + 0.01 * torch.ones_like(tensor) for name, tensor in tensors.items()}, weights)
    with pytest.raises(CorruptCheckpoint, match=rf"{weights.name}.*index embed"):
        answered(copied, sequence)
    old = files_of(NeighbourIndex.open(copied))
    made = embed(str(copied), EncoderConfig(source=str(there)))
    assert (made.already_done, made.embedded) == (False, len(ENTRIES) - 1)
    assert answered(copied, sequence) != before
    assert not [name for name in NeighbourIndex.open(copied).manifest["checksums"] if old.name in name]


def test_the_command_tells_what_it_made(copied: Path) -> None:
    shown = CliRunner().invoke(app, ["index", "embed", str(copied), "--encoder", "preset:tiny/esm2", "--json"])
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert (told["sequences"], told["width"], told["search"]) == (len(ENTRIES) - 1, 96, "exact")
    shown = CliRunner().invoke(app, ["index", "embed", str(copied), "--encoder", "./nowhere"])
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "nowhere" in shown.stderr.splitlines()[-1]


def test_without_faiss_the_error_names_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = vectors.importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "faiss" else find(name, *rest))
    for act in (lambda: embed(str(folder), TINY), lambda: open_answerer(f"neighbours:{folder}")):
        with pytest.raises(ConfigError, match=r"faiss-cpu.*pip install -e \.\[remote\]"):
            act()
