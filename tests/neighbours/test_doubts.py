"""What an answer says against itself: facts of remote homologues alone, and answers from the protein's own entry."""

import random
from pathlib import Path

import pytest

from protein2text.answerers import Query, open_answerer
from protein2text.errors import ConfigError
from protein2text.neighbours.answerer import NeighbourAnswerer
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.index_answerer import IndexAnswerer
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text.proteins import Protein
from tests.neighbours.made_index import entry, make_index, relative, residues

RNG = random.Random(31)
ANCESTOR = residues(RNG, 240)
LOCATION, NUMBER = Fact("location", "Nucleus", "SL-0191"), Fact("ec", "1.1.1.1")


def index_of(folder: Path, *, close_says: tuple[Fact, ...], remote: float) -> NeighbourIndex:
    close, far = relative(RNG, ANCESTOR, 0.95), relative(RNG, ANCESTOR, remote)
    return make_index(folder, [entry("P00001", close, *close_says), entry("P00002", far, NUMBER)])


@pytest.mark.parametrize(
    ("close_says", "remote", "is_told"),
    [((LOCATION,), 0.4, True), ((LOCATION,), 0.9, False), ((LOCATION, Fact("ec", "1.1.1.2")), 0.4, False)],
)
def test_a_close_homologue_that_states_nothing_is_named(
    tmp_path: Path, close_says: tuple[Fact, ...], remote: float, is_told: bool
) -> None:
    index = index_of(tmp_path, close_says=close_says, remote=remote)
    question = ("What is its EC number?", (Protein("Q", ANCESTOR),))
    (answer,) = NeighbourAnswerer(index).answer([question])
    assert answer.status == "answered"
    told = [note for note in answer.notes if "P00001 at 95 % identity, states no EC numbers" in note]
    assert bool(told) == is_told


def test_an_answer_from_the_proteins_own_entry_says_so(tmp_path: Path) -> None:
    answerer = IndexAnswerer(index_of(tmp_path, close_says=(NUMBER,), remote=0.9))
    queries = [Query(name, name, "What is its EC number?", (Protein(name, ANCESTOR),)) for name in ("P00001", "Q")]
    queries.append(Query("left out", "", "What is its EC number?", queries[0].proteins, None, frozenset({"P00001"})))
    (replies,) = answerer.answer(queries)
    assert {reply.id: reply.details["neighbours"]["own_entry"] for reply in replies} == {
        "P00001": True,
        "Q": False,
        "left out": False,
    }
    assert answerer.work()["from_own_entry"] == 1


def test_an_index_named_without_its_prefix_is_told_apart(tmp_path: Path) -> None:
    index = index_of(tmp_path, close_says=(NUMBER,), remote=0.9)
    with pytest.raises(ConfigError, match="name it neighbours:"):
        open_answerer(str(index.folder))
