"""Data jobs submitted to a Ray cluster that has every dependency but not this package."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

from protein2text.data.records import load_card
from protein2text.data.split import split
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text.proteins import Protein
from tests.data.qa.answer_server import Reply, answer_server
from tests.data.qa.literature import passage, write_literature
from tests.jobs.conftest import Cluster, write_corpus


def test_a_job_says_in_one_line_what_its_user_can_mend(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "jobs/ingest.py", "nowhere.tsv", "--output", str(tmp_path / "corpus")]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("ingest.py: ")]
    assert "nowhere.tsv" in told
    assert "Traceback" not in done.stderr


def test_a_submitted_ingest_writes_a_corpus_on_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    table = tmp_path / "proteins.tsv"
    table.write_text("Entry\tFunction [CC]\tSequence\nP1\tFUNCTION: Binds.\tMKV\nP2\t\tMKL\n")
    result = cluster.run("ingest", table, "--output", tmp_path / "corpus")
    assert (result["records"], result["reasons"]) == (1, {"no_function": 1})
    assert json.loads((tmp_path / "corpus" / "card.json").read_text())["checksum"] == result["checksum"]


def test_a_submitted_job_builds_an_index_and_updates_it(cluster: Cluster, tmp_path: Path) -> None:
    header, sequence = "Entry\tFunction [CC]\tSequence", "MKVLAAGIVGLLLAQWERTYHPNDSCF"
    (tmp_path / "one.tsv").write_text(f"{header}\nP1\tFUNCTION: Binds.\t{sequence}\nP2\t\tMKL\n")
    (tmp_path / "two.tsv").write_text(f"{header}\nP3\tFUNCTION: Moves.\t{sequence[::-1]}\n")
    index = str(tmp_path / "index")
    built = cluster.run("index", "build", f"{tmp_path}/one.tsv", "--output", index)
    updated = cluster.run("index", "update", index, f"{tmp_path}/two.tsv")
    assert [(told["entries"], told["quarantined"]) for told in (built, updated)] == [(1, 1), (2, 0)]
    assert list(NeighbourIndex.open(index).sequences()) == ["P1", "P3"]


def test_a_submitted_job_reads_literature(cluster: Cluster, tmp_path: Path) -> None:
    header = "Entry\tProtein names\tGene Names\tOrganism\tSequence"
    (tmp_path / "proteins.tsv").write_text(f"{header}\nP01308\tInsulin\tINS\tHomo sapiens (Human)\tMALWMRLLPLL\n")
    meta = "<article-id pub-id-type='pmc'>7</article-id><permissions><license>CC BY</license></permissions>"
    article = (
        f"<article><front><article-meta>{meta}<abstract><p>On insulin.</p></abstract></article-meta></front></article>"
    )
    (tmp_path / "one.xml").write_text(article)
    options = [f"--{name}={tmp_path / value}" for name, value in
               (("proteins", "proteins.tsv"), ("articles", "one.xml"), ("output", "literature"))]  # fmt: skip
    assert cluster.run("literature", *options)["passages"] == 1
    assert (tmp_path / "literature" / "card.json").is_file()


def test_a_submitted_split_does_what_the_command_does(cluster: Cluster, tmp_path: Path) -> None:
    dice = random.Random(3)
    proteins = [Protein(f"P{number}", "".join(dice.choices("ACDEFGHIKLMNPQRSTVWY", k=60))) for number in range(8)]
    corpus = write_corpus(tmp_path / "corpus", proteins)
    arguments = [str(corpus), "--output", str(tmp_path / "split"), "--test-share", "0.4", "--on-hit", "drop"]
    there = cluster.run("split", *arguments)
    here = split([str(corpus)], str(tmp_path / "here"), kind="by_cluster", test_share=0.4, on_hit="drop")
    assert there["checksum"] == here.checksum


def test_a_submitted_job_writes_questions_and_answers(cluster: Cluster, tmp_path: Path) -> None:
    abstract = "Gene P1 codes for a pump. P1 moves protons across the inner membrane."
    passages = [passage(number, "P1", ["P1"], abstract) for number in range(1, 4)]
    literature = write_literature(tmp_path / "literature", passages)
    pairs = [{"question": "What does this protein move?", "answer": "This protein moves protons across the membrane."}]
    with answer_server(lambda body: Reply(json.dumps({"pairs": pairs}))) as server:
        arguments = [literature, f"--output={tmp_path / 'qa'}", "--generator=hand", f"--url={server.url}"]
        result = cluster.run("generate_qa", *arguments)
    assert (result["passages"], result["generated"], result["rows"]) == (3, 3, 3)
    assert (result["records"], result["reasons"]) == (1, {"duplicate": 2})
    assert load_card(tmp_path / "qa")["checksum"] == result["checksum"]
