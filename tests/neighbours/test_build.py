"""`neighbours.build` and `update` on Ray: what is kept, refused, joined, replaced, and what a killed one leaves."""

import gzip
import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.data.output_folder import hold
from protein2text.data.sources import ORIGIN_SUFFIX
from protein2text.errors import ConfigError, MissingFile, ResumeMismatch
from protein2text.models.model_config import EncoderConfig
from protein2text.neighbours import seal
from protein2text.neighbours.build import build
from protein2text.neighbours.embed import embed
from protein2text.neighbours.index_folder import UNSTATED, NeighbourIndex
from protein2text.neighbours.update import _fate, _State, update
from tests.neighbours.in_process import build_in_process

HEADER = "Entry\tEntry version\tProtein names\tFunction [CC]\tSequence"
Row = tuple[str, int | str, str]
"""Accession, version, function."""


pytestmark = pytest.mark.usefixtures("local_ray")


def residues_of(name: str) -> str:
    return "MKVLAAGIVGLLLAQWERTYHPNDSCF" + "".join(chr(ord("A") + (ord(c) * 7) % 9) for c in name).replace("B", "M")


def table(path: Path, rows: list[Row], release: str | None = None) -> Path:
    lines = [
        f"{name}\t{version}\tProtein {name}\t{f'FUNCTION: {said}.' if said else ''}\t{residues_of(name)}"
        for name, version, said in rows
    ]
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    if release is not None:
        Path(f"{path}{ORIGIN_SUFFIX}").write_text(json.dumps({"release": release, "licence": "CC BY 4.0"}))
    return path


def functions(index: NeighbourIndex) -> dict[str, str]:
    return {
        one.accession: " ".join(fact.value for fact in one.facts if fact.kind == "function") for one in index.stream()
    }


def test_real_files_build_what_the_steps_build_one_after_the_other(real_data: Path, tmp_path: Path) -> None:
    sources = [real_data / "uniprot" / "human_function.tsv", real_data / "uniprot" / "rest_entries.json"]
    events: list[dict[str, Any]] = []
    made = build([*map(str, sources)], str(tmp_path / "made"), calibration_entries=50, progress=events.append)
    expected = build_in_process(sources, tmp_path / "expected", calibration_entries=50)
    index = NeighbourIndex.open(tmp_path / "made")
    assert list(index.stream()) == list(expected.stream())
    assert index.manifest == expected.manifest
    assert (made.rows, made.entries + made.quarantined) == (544, 544)
    assert made.reasons == {"not_characterised": made.quarantined}
    assert (made.release, made.licences) == (UNSTATED, {"not stated": made.entries})
    assert made.peak_bytes > 50 * 2**20
    assert events[-1]["message"]
    again = build([*map(str, sources)], str(tmp_path / "made"), calibration_entries=50)
    assert (again.already_done, again.entries, again.facts) == (True, made.entries, made.facts)
    with pytest.raises(ResumeMismatch, match="calibration_entries=50, now calibration_entries=51"):
        build([*map(str, sources)], str(tmp_path / "made"), calibration_entries=51)
    with pytest.raises(ResumeMismatch, match="sources"):
        build([str(sources[0])], str(tmp_path / "made"), calibration_entries=50)


def question(number: int, accession: str, asked: str, answer: str) -> dict[str, Any]:
    return {
        "long_format_id": f"{accession}_{number}",
        "id": accession,
        "protein": f"Protein {accession}",
        "amino_seq": residues_of(accession),
        "conversations": [
            {"from": "human", "value": f"<protein_sequence>\n{asked}"},
            {"from": "gpt", "value": answer},
        ],
    }


def test_doubled_names_are_refused_questions_joined_and_every_row_is_counted(tmp_path: Path) -> None:
    asked = [
        question(1, "Q1", "What does it do?", "It binds ATP. EC number: 2.7.1.1"),
        question(2, "Q2", "Is it a kinase?", "Yes."),
        question(3, "Q1", "Is it a kinase?", "Yes, it is."),
        question(4, "Q1", "Where is it?", "In the nucleus."),
        question(5, "P1", "What is it?", "A database says so already."),
        {**question(6, "Q1", "What is it?", "Another sequence."), "amino_seq": residues_of("Q7")},
    ]
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    table(tmp_path / "one.tsv", [("P1", 1, "Binds"), ("P2", 1, ""), ("P3", 3, "Moves")])
    table(tmp_path / "two.tsv", [("P3", 3, "Moves"), ("P1", 1, "Says something else")])
    (tmp_path / "empty.fasta").write_text(">sp|P2|X_Y A name OS=Homo sapiens OX=9606\nMKVLA\n")
    names = ("one.tsv", "two.tsv", "asked.json", "empty.fasta")
    made = build([str(tmp_path / name) for name in names], str(tmp_path / "index"))
    index = NeighbourIndex.open(tmp_path / "index")
    assert functions(index) == {
        "P1": "Binds.",
        "P3": "Moves.",
        "Q1": "It binds ATP. EC number: 2.7.1.1 In the nucleus.",
    }
    assert [fact.value for fact in index.entries(["Q1"])["Q1"].facts if fact.kind == "ec"] == ["2.7.1.1"]
    assert made.reasons == {
        "not_characterised": 3, "duplicate_id": 3, "duplicate_record": 1, "joined": 2,
    }  # fmt: skip
    assert made.rows == made.entries + made.quarantined + 2 == 12
    assert made.funnel[-1]["left"] == made.entries


def test_releases_are_kept_apart(tmp_path: Path) -> None:
    old = table(tmp_path / "old.tsv", [("P1", 1, "Binds")], "2025_04")
    new = table(tmp_path / "new.tsv", [("P2", 1, "Binds")], "2026_01")
    own = table(tmp_path / "own.tsv", [("P3", 1, "Binds")])
    sources = [str(path) for path in (old, new, own)]
    with pytest.raises(ConfigError, match=r"3 releases: .*2026_01 \(new\.tsv\).*--allow-mixed-releases"):
        build(sources, str(tmp_path / "index"))
    assert not (tmp_path / "index").exists()
    with pytest.raises(ConfigError, match=r"none stated \(own\.tsv\)"):
        build(sources[1:], str(tmp_path / "index"))
    mixed = build(sources, str(tmp_path / "index"), allow_mixed_releases=True)
    assert mixed.release == f"2025_04 and 2026_01 and {UNSTATED}"
    stored = NeighbourIndex.open(tmp_path / "index").entries(["P1", "P2", "P3"])
    assert [one.release for one in stored.values()] == ["2025_04", "2026_01", None]
    assert mixed.licences == {"CC BY 4.0": 2, "not stated": 1}
    given = build(sources[1:], str(tmp_path / "given"), release="2026_01", licence="CC0")
    assert (given.release, given.licences) == ("2026_01", {"CC BY 4.0": 1, "CC0": 1})


def test_a_source_that_was_cut_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = table(tmp_path / "whole.tsv", [("P1", 1, "Binds"), ("P2", 1, "Binds")])
    cut = tmp_path / "cut.tsv.gz"
    cut.write_bytes(gzip.compress(whole.read_bytes())[:-9])
    with caplog.at_level(logging.WARNING, logger="protein2text.data.sources"):
        build([str(cut)], str(tmp_path / "index"), release="2026_01")
    assert "cut.tsv.gz was not read to its end: the gzip file breaks off" in caplog.text


def test_sources_without_anything_to_answer_from_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.tsv").touch()
    with pytest.raises(ConfigError, match="an empty file"):
        build([str(tmp_path / "empty.tsv")], str(tmp_path / "index"))
    with pytest.raises(MissingFile):
        build([str(tmp_path / "none.tsv")], str(tmp_path / "index"))
    silent = table(tmp_path / "silent.tsv", [("P1", 1, ""), ("P2", 1, "")])
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"no characterised entry; of 2 entries: 2 not_characterised"):
            build([str(silent)], str(tmp_path / "index"))
    with pytest.raises(MissingFile, match="to its end"):
        NeighbourIndex.open(tmp_path / "index")
    (tmp_path / "index" / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"holds 'notes\.txt', no index"):
        build([str(silent)], str(tmp_path / "index"))
    with hold(tmp_path / "index"):
        (tmp_path / "index" / "notes.txt").unlink()
        with pytest.raises(ConfigError, match="another process is writing"):
            build([str(silent)], str(tmp_path / "index"))


def test_the_command_prints_what_was_made(tmp_path: Path) -> None:
    source = table(tmp_path / "one.tsv", [("P1", 1, "Binds"), ("P2", 1, "")], "2026_01")
    arguments = ["index", "build", str(source), "--output", str(tmp_path / "index")]
    shown = CliRunner().invoke(app, [*arguments, "--json"])
    assert shown.exit_code == 0, shown.output
    made = json.loads(shown.stdout)
    assert (made["release"], made["licences"], made["rows"], made["entries"]) == ("2026_01", {"CC BY 4.0": 1}, 2, 1)
    assert made["peak_bytes"] > 0 < made["seconds"]
    plain = CliRunner().invoke(app, arguments).stdout
    for line in ("release: 2026_01", 'licences: {"CC BY 4.0": 1}', "entries: 1", "peak memory: ", "time: "):
        assert line in plain
    bad = CliRunner().invoke(app, ["index", "update", str(tmp_path / "none"), str(source)])
    assert (bad.exit_code, bad.stdout) == (2, "")


# --- update


@pytest.mark.parametrize(
    ("held", "offered", "fate"),
    [
        (None, (1, "2026_01", b"a"), "added"),
        ((1, None, b"a"), (2, None, b"b"), "replaced"),
        ((2, None, b"a"), (1, None, b"b"), "older"),
        ((2, "2025_04", b"a"), (1, "2026_01", b"b"), "older"),
        ((1, "2025_04", b"a"), (1, "2026_01", b"a"), "confirmed"),
        ((1, "2025_04", b"a"), (1, "2026_01", b"b"), "replaced"),
        ((None, "2026_01", b"a"), (None, "2025_04", b"b"), "older"),
        ((1, "2026_01", b"a"), (1, "2026_01", b"a"), "unchanged"),
        ((None, None, b"a"), (None, None, b"b"), "replaced"),
        ((None, "2026_01", b"a"), (None, None, b"a"), "unchanged"),
        ((None, None, b"a"), (None, "2026_01", b"a"), "replaced"),
        ((3, "2026_01", b"a"), (None, None, b"b"), "older"),
        ((3, None, b"a"), (None, "2026_01", b"b"), "older"),
        ((3, "2026_01", b"a"), (None, "2026_01", b"b"), "older"),
        ((3, "2025_04", b"a"), (None, "2026_01", b"b"), "replaced"),
        ((None, None, b"a"), (3, None, b"b"), "replaced"),
    ],
)
def test_the_later_of_two_entries_stays(held: Any, offered: Any, fate: str) -> None:
    assert _fate(held and _State(*held, "old"), _State(*offered, "new")) == fate


def test_an_update_adds_replaces_and_keeps_and_the_open_index_goes_on(tmp_path: Path) -> None:
    first = table(tmp_path / "first.tsv", [(f"P{n}", 3, f"Does {n}") for n in range(6)], "2025_04")
    build([str(first)], str(tmp_path / "index"))
    embed(str(tmp_path / "index"), EncoderConfig(source="preset:tiny/esm2"))
    before = NeighbourIndex.open(tmp_path / "index")
    said = functions(before)
    rows: list[Row] = [
        ("P0", 4, "Does more"),
        ("P1", 2, "Did less"),
        ("P2", 3, "Does 2"),
        ("P3", 3, "Mended"),
        ("N1", 1, "New"),
    ]
    second = table(tmp_path / "second.tsv", rows, "2026_01")
    with pytest.raises(ConfigError, match="2 releases"):
        update(str(tmp_path / "index"), [str(second)])
    assert NeighbourIndex.open(tmp_path / "index").manifest == before.manifest
    made = update(str(tmp_path / "index"), [str(second)], allow_mixed_releases=True)
    fates = {key: asdict(made)[key] for key in ("added", "replaced", "confirmed", "unchanged", "older", "quarantined")}
    assert fates == {"added": 1, "replaced": 2, "confirmed": 1, "unchanged": 0, "older": 1, "quarantined": 0}
    after = NeighbourIndex.open(tmp_path / "index")
    changed = {"P0": "Does more.", "P3": "Mended.", "N1": "New."}
    assert functions(after) == {**said, **changed}
    assert after.entries(["P2"])["P2"].release == "2026_01", "said again in a newer release"
    assert functions(before) == said, "who had it open reads on"
    assert {item["name"] for item in after.manifest["sources"]} == {"first.tsv", "second.tsv"}
    assert f"run `protein2text index embed {after.folder} --encoder preset:tiny/esm2` again" in made.embeddings
    assert (after.embeddings, embed(str(after.folder), EncoderConfig(source="preset:tiny/esm2")).embedded) == (None, 7)
    after = NeighbourIndex.open(tmp_path / "index")
    again = update(str(tmp_path / "index"), [str(second)], allow_mixed_releases=True)
    assert (again.unchanged, again.older, again.entries, again.embeddings) == (4, 1, 7, "kept")
    assert NeighbourIndex.open(tmp_path / "index").manifest == after.manifest, "nothing newer, nothing done"
    anew = build([str(first), str(second)], str(tmp_path / "anew"), allow_mixed_releases=True)
    assert anew.entries == 7, "of the same accessions"


def test_a_question_does_not_replace_an_entry_that_states_its_version(tmp_path: Path) -> None:
    first = table(tmp_path / "first.tsv", [("P1", 3, "Binds")])
    build([str(first)], str(tmp_path / "index"))
    asked = [question(1, "P1", "What is it?", "Something else."), question(2, "Q1", "What is it?", "New.")]
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    made = update(str(tmp_path / "index"), [str(tmp_path / "asked.json")])
    assert (made.older, made.added, made.replaced) == (1, 1, 0)
    assert functions(NeighbourIndex.open(tmp_path / "index")) == {"P1": "Binds.", "Q1": "New."}


def test_an_update_that_ended_early_leaves_the_index_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = table(tmp_path / "first.tsv", [("P1", 1, "Binds")])
    second = table(tmp_path / "second.tsv", [("P2", 1, "Moves")])
    build([str(first)], str(tmp_path / "index"))
    manifest = (tmp_path / "index" / "index.json").read_bytes()

    def end(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(seal, "calibrate", end)
        with pytest.raises(KeyboardInterrupt):
            update(str(tmp_path / "index"), [str(second)])
    assert (tmp_path / "index" / "index.json").read_bytes() == manifest
    assert functions(NeighbourIndex.open(tmp_path / "index")) == {"P1": "Binds."}
    assert update(str(tmp_path / "index"), [str(second)]).added == 1
    assert functions(NeighbourIndex.open(tmp_path / "index")) == {"P1": "Binds.", "P2": "Moves."}
    left = {item.name for item in (tmp_path / "index").iterdir()}
    assert left == {".lock", "index.json", "generation-1", "generation-2"}


# --- killed

STOPPING = """
import sys, time
from pathlib import Path
from protein2text.models.model_config import EncoderConfig
from protein2text.neighbours import seal
from tests.neighbours.in_process import build_in_process
seal.{last_step} = lambda *_, **__: (print("there", flush=True), time.sleep(600))
build_in_process([Path(sys.argv[1])], Path(sys.argv[2]))
"""


@pytest.mark.parametrize("last_step", ["calibrate", "write_json"])
def test_a_build_killed_before_its_manifest_stands_is_begun_anew(
    last_step: str, tmp_path: Path, repository: Path
) -> None:
    source = table(tmp_path / "one.tsv", [(f"P{n}", 1, f"Does {n}") for n in range(9)])
    output = tmp_path / "index"
    command = [sys.executable, "-c", STOPPING.format(last_step=last_step), str(source), str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=repository) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert list((output / "generation-1" / "mmseqs").iterdir())
    with pytest.raises(MissingFile, match="to its end"):
        NeighbourIndex.open(output)
    build([str(source)], str(output), calibration_entries=0)
    expected = build_in_process([source], tmp_path / "expected")
    assert NeighbourIndex.open(output).manifest == expected.manifest


@pytest.mark.slow
def test_a_build_killed_five_times_ends_like_one_that_was_not(tmp_path: Path, real_data: Path) -> None:
    source, output = real_data / "uniprot" / "human_function.tsv", tmp_path / "index"
    call = "from protein2text.cli import main; main()"
    command = [sys.executable, "-c", call, "index", "build", str(source), "--output", str(output)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    for number in range(5):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while not (output / "generation-1").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.5 * number)
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(family, timeout=20)
        for member in alive:
            member.kill()
    subprocess.run(command, check=True, env=environment, capture_output=True)
    expected = build_in_process([source], tmp_path / "expected", calibration_entries=5_000)
    assert NeighbourIndex.open(output).manifest == expected.manifest
