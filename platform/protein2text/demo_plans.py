"""What the two demos read, train and ask: the synthetic sample corpus, or real files."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protein2text.config import RunConfig, load_run
from protein2text.data.data_config import Kind
from protein2text.errors import MissingFile

INSULIN = "P01308"
INSULIN_SEQUENCE = (
    "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQVELGGGPGAGSLQPLALEGSLQKRGIVEQCCTSICSLYQLENYCN"
)
"""Human insulin, UniProtKB P01308 INS_HUMAN, canonical sequence (CC BY 4.0), for files that do not hold it."""
INSULIN_FUNCTION = "Insulin decreases blood glucose concentration."
"""First sentence of its FUNCTION annotation in UniProtKB."""
ASKED_KINDS = ("binds", "location", "process")
"""Kinds of the questions that the sample demo asks, one each."""


@dataclass(frozen=True)
class Question:
    """A question about one or two proteins, with the truth beside it."""

    proteins: str
    sequences: tuple[str, ...]
    text: str
    truth: str
    split: str
    """Which part of the split the proteins are in; the model was not trained on ``test``."""


@dataclass(frozen=True)
class DemoPlan:
    """One demo: its run, where its data comes from, how it is split, and what is asked at the end."""

    config: RunConfig
    sources: tuple[str, ...]
    split_kind: Kind
    choose_questions: Callable[[RunConfig], list[Question]]
    assignment: str | None = None
    write_sources: Callable[[], dict[str, int]] | None = None
    """Makes the sources first; None when they exist."""

    @property
    def claims(self) -> str:
        """What a score on this split may claim."""
        return "recall of known families only" if self.split_kind == "by_member" else "generalization"

    def fingerprint(self) -> str:
        """Changes with anything that decides the results: configuration, sources and their sizes, split."""
        sizes = [] if self.write_sources else [Path(source).stat().st_size for source in self.sources]
        parts = [self.config.model_dump(mode="json"), self.sources, sizes, self.split_kind, self.assignment]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def sample_demo(output: Path) -> DemoPlan:
    """The synthetic world: families known, combinations held out, so the split is by member and claims recall only."""
    config = _run("tiny", "demo", output)
    sample = config.folder / "sample"

    def write() -> dict[str, int]:
        from protein2text.data.sample import write_sample

        return write_sample(sample, seed=config.seed)

    return DemoPlan(
        config,
        sources=(str(sample / "proteins.tsv"), str(sample / "questions.json")),
        split_kind="by_member",
        choose_questions=_held_out_questions,
        assignment=str(sample / "assignment.tsv"),
        write_sources=write,
    )


def real_demo(data: Path, output: Path) -> DemoPlan:
    """Real proteins and the published question schema, split by sequence cluster.

    Raises:
        MissingFile: one of the two files is not in ``data``.
    """
    sources = (data.absolute() / "uniprot" / "human_function.tsv", data.absolute() / "qa" / "microbiome_benchmark.json")
    for source in sources:
        if not source.is_file():
            remedy = "Name the folder that holds uniprot/human_function.tsv and qa/microbiome_benchmark.json."
            raise MissingFile(str(source), "real proteins", remedy)
    config = _run("tiny-real", "demo-real", output)
    return DemoPlan(config, tuple(str(source) for source in sources), "by_cluster", _insulin_and_held_out)


def _run(preset: str, name: str, output: Path) -> RunConfig:
    folder = output.absolute() / name
    data = {"corpus": [str(folder / "corpus")], "split": str(folder / "split")}
    return load_run(preset, {"name": name, "output": str(output.absolute()), "data": data})


def _held_out_questions(config: RunConfig) -> list[Question]:
    """One test question of each asked kind, in the order of record ids, each about another protein."""
    chosen: dict[str, dict[str, Any]] = {}
    for kind in ASKED_KINDS:
        for row in _questions(config, "test"):
            accessions = " ".join(protein["accession"] for protein in row["proteins"])
            if row["question_kind"] == kind and len(row["proteins"]) == 1 and accessions not in chosen:
                chosen[accessions] = row
                break
    return [_question(row, "test") for row in chosen.values()]


def _insulin_and_held_out(config: RunConfig) -> list[Question]:
    """Insulin first, from the corpus when it is there, then two questions about held-out proteins."""
    from protein2text.data.records import iter_local
    from protein2text.data.split import load_split

    insulin = Question(
        f"{INSULIN} human insulin",
        (INSULIN_SEQUENCE,),
        "What is the function of this protein?",
        INSULIN_FUNCTION,
        "unseen",
    )
    for row in iter_local(config.data.corpus, ["proteins", "text"]):
        if row["text"] and [protein["accession"] for protein in row["proteins"]] == [INSULIN]:
            sequence, truth = row["proteins"][0]["sequence"], row["text"]
            assert config.data.split is not None, "a demo's plan names its split"
            part = load_split(config.data.split).of(INSULIN)
            insulin = Question(insulin.proteins, (sequence,), insulin.text, truth, part)
    return [insulin, *(_question(row, "test") for row in _questions(config, "test")[:2])]


def _questions(config: RunConfig, part: str) -> list[dict[str, Any]]:
    """Question records whose proteins all lie in one part of the split, sorted by id."""
    from protein2text.data.records import iter_local
    from protein2text.data.split import load_split

    assert config.data.split is not None, "a demo's plan names its split"
    split = load_split(config.data.split)
    rows = [row for row in iter_local(config.data.corpus) if row["messages"]]
    rows = [row for row in rows if all(split.of(protein["accession"]) == part for protein in row["proteins"])]
    return sorted(rows, key=lambda row: str(row["record_id"]))


def _question(row: dict[str, Any], part: str) -> Question:
    asked, answered = row["messages"][0]["content"], row["messages"][-1]["content"]
    text = asked.rsplit("<protein_sequence>\n", maxsplit=1)[-1]
    names = " and ".join(protein["accession"] for protein in row["proteins"])
    return Question(names, tuple(protein["sequence"] for protein in row["proteins"]), text, answered, part)
