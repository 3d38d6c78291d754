"""What an index answers about real proteins: figures measured elsewhere, refusals, and held-out calibration.

The figures of 669 Swiss-Prot texts (EVALUATION: ROUGE-L of copying the nearest neighbour 0.377, sacreBLEU 28.6; below
30 % identity 0.232 and 13.4; EC agreement 39.4 % at four digits, 51.3 % at three) are those of this definition, found
by trying others: leave-one-out, only the own entry left out; the nearest by bit score at MMseqs2's sensitivity 7.5, of
whatever significance (E <= 10) and whatever coverage; another protein's text, at random, where nothing is found; over
the proteins whose text holds a complete EC number (509), the set of complete numbers of the neighbour's text equal to
the own one at so many digits; nothing found, or no number, disagrees.

With what an answer demands they are lower: at E <= 1e-3 nothing is found for 291 of 669 instead of 33, and with both
coverages at least one half nothing for 343.
"""

import json
import random
import re
import subprocess
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from statistics import mean

import pytest

from protein2text.data import mmseqs
from protein2text.evaluate.metrics import bleu, rouge_l
from protein2text.neighbours.answerer import NeighbourAnswerer
from protein2text.neighbours.build import build
from protein2text.neighbours.homologues import Homologue, find_homologues
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text.neighbours.reliability import held_out
from protein2text.proteins import Protein

COMPLETE = re.compile(r"(?<![\d.])\d+\.\d+\.\d+\.\d+(?![\d.])")
PART = 90


@dataclass(frozen=True)
class Source:
    """The published file, read by this test."""

    entries: list[dict]

    @property
    def accessions(self) -> list[str]:
        return [entry["id"] for entry in self.entries]

    @property
    def sequences(self) -> dict[str, str]:
        return {entry["id"]: entry["amino_seq"] for entry in self.entries}

    @property
    def texts(self) -> dict[str, str]:
        return {entry["id"]: entry["conversations"][1]["value"] for entry in self.entries}

    def numbers(self, digits: int) -> dict[str, set[str]]:
        """Complete EC numbers of each text, cut to so many digits."""
        found = {name: COMPLETE.findall(text) for name, text in self.texts.items()}
        return {name: {".".join(number.split(".")[:digits]) for number in numbers} for name, numbers in found.items()}


@pytest.fixture(scope="module")
def source(real_data: Path) -> Source:
    return Source(json.loads((real_data / "qa" / "microbiome_benchmark.json").read_text()))


@pytest.fixture(scope="module")
def part(source: Source) -> Source:
    """Neighbours in the file are often neighbours in sequence."""
    return Source(source.entries[:PART])


def built(folder: Path, source: Source) -> NeighbourIndex:
    (folder / "source.json").write_text(json.dumps(source.entries))
    build([str(folder / "source.json")], str(folder / "index"), release="2026_01", calibration_entries=0)
    return NeighbourIndex.open(folder / "index")


@pytest.fixture(scope="module")
def part_index(part: Source, tmp_path_factory: pytest.TempPathFactory) -> NeighbourIndex:
    return built(tmp_path_factory.mktemp("part"), part)


@pytest.fixture(scope="module")
def whole_index(source: Source, tmp_path_factory: pytest.TempPathFactory) -> NeighbourIndex:
    return built(tmp_path_factory.mktemp("whole"), source)


def left_out(index: NeighbourIndex, source: Source) -> dict[str, list[Homologue]]:
    """Homologues of each protein but itself."""
    names = source.accessions
    without = {number: frozenset({name}) for number, name in enumerate(names)}
    return dict(zip(names, find_homologues(index, list(source.sequences.values()), without=without), strict=True))


@dataclass(frozen=True)
class Figures:
    rouge: float
    bleu: float
    four_digits: float
    three_digits: float
    num_found: int


def figures(source: Source, found: dict[str, list[Homologue]], below: float = 2.0, whole: bool = False) -> Figures:
    """Of copying the nearest, among those under an identity."""
    rng, texts, nearest = random.Random(0), source.texts, {}
    for name, homologues in found.items():
        usable = [other for other in homologues if other.identity < below and (other.is_whole or not whole)]
        nearest[name] = usable[0].accession if usable else None
    copied = [
        texts[other or rng.choice([stranger for stranger in texts if stranger != name])]
        for name, other in nearest.items()
    ]
    agreement = {}
    for digits in (3, 4):
        numbers = source.numbers(digits)
        asked = [name for name, own in numbers.items() if own]
        agreement[digits] = mean(numbers[name] == numbers.get(nearest[name] or "") for name in asked)
    rouge = mean(rouge_l(text, gold) for text, gold in zip(copied, texts.values(), strict=True))
    num_found = sum(other is not None for other in nearest.values())
    return Figures(rouge, bleu(copied, list(texts.values())), agreement[4], agreement[3], num_found)


def test_nearest_neighbours_are_those_of_mmseqs_by_itself(
    part: Source, part_index: NeighbourIndex, tmp_path: Path
) -> None:
    """The search through the index beside `easy-search` over a FASTA file that this test writes, each sequence once."""
    fasta, table, same = tmp_path / "all.fasta", tmp_path / "hits.tsv", defaultdict(list)
    for name, sequence in part.sequences.items():
        same[sequence].append(name)
    fasta.write_text("".join(f">{names[0]}\n{sequence}\n" for sequence, names in same.items()))
    command = [str(mmseqs.find_binary()), "easy-search", str(fasta), str(fasta), str(table), str(tmp_path / "scratch")]
    how = [
        "--prefilter-mode",
        "2",
        "--alignment-mode",
        "3",
        "-e",
        "0.001",
        "--format-output",
        "query,target,fident,bits",
    ]
    subprocess.run([*command, *how], check=True, capture_output=True)
    expected: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in part.accessions}
    for line in table.read_text().splitlines():
        query, target, identity, bits = line.split("\t")
        for one, other in product(same[part.sequences[query]], same[part.sequences[target]]):
            if one != other:
                expected[one][other] = (float(identity), float(bits))
    found = left_out(part_index, part)
    assert {name: {one.accession: (one.identity, one.bits) for one in found[name]} for name in found} == expected
    assert sum(map(bool, found.values())) > PART / 2


def test_cited_ec_numbers_agree_less_often_with_remote_relatives(part: Source, part_index: NeighbourIndex) -> None:
    own, found, shares = part.numbers(4), left_out(part_index, part), []
    for below in (2.0, 0.5, 0.3):
        names = [name for name in part.accessions if own[name]]
        without = {
            number: frozenset(one.accession for one in found[name] if one.identity >= below) | {name}
            for number, name in enumerate(names)
        }
        asked = [("What is its EC number?", [Protein(name, part.sequences[name])]) for name in names]
        answers = NeighbourAnswerer(part_index).answer(asked, without=without)
        right = []
        for name, answer in zip(names, answers, strict=True):
            cited = [fact for fact in answer.facts if fact.fact.kind == "ec"]
            for fact in cited:
                for stated in fact.sources:
                    assert stated.entry.accession != name
                    assert stated.homologue.identity < below
                    assert fact.fact.value in own[stated.entry.accession] or "-" in fact.fact.value
            right.append(bool(cited) and cited[0].fact.value in own[name])
        shares.append(mean(right))
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.4
    assert shares[-1] < shares[0] - 0.1


def random_sequences(source: Source, number: int, seed: int) -> list[str]:
    """Background composition, lengths of real proteins."""
    rng = random.Random(seed)
    real = list(source.sequences.values())
    letters = Counter("".join(real))
    return ["".join(rng.choices(list(letters), list(letters.values()), k=len(rng.choice(real)))) for _ in range(number)]


def shuffled_sequences(source: Source, number: int, seed: int) -> list[str]:
    """Real proteins with their residues in another order."""
    rng = random.Random(seed)
    return ["".join(rng.sample(one, len(one))) for one in rng.choices(list(source.sequences.values()), k=number)]


def num_refused(index: NeighbourIndex, sequences: list[str]) -> int:
    asked = [("What is its function?", [Protein(f"Q{place}", one)]) for place, one in enumerate(sequences)]
    answers = NeighbourAnswerer(index).answer(asked)
    refused = [answer for answer in answers if answer.status == "no_homologue"]
    assert {answer.text for answer in refused} <= {f"no characterised homologue in {index.release}"}
    assert not any(answer.facts for answer in refused)
    return len(refused)


def test_random_and_shuffled_sequences_are_refused(part: Source, part_index: NeighbourIndex) -> None:
    for sequences in (random_sequences(part, 100, 0), shuffled_sequences(part, 100, 0)):
        assert num_refused(part_index, sequences) >= 99
    assert num_refused(part_index, list(part.sequences.values())) == 0


@pytest.mark.slow
def test_a_thousand_random_and_a_thousand_shuffled_sequences_are_refused(
    real_data: Path, source: Source, tmp_path: Path
) -> None:
    """Against all real files together."""
    files = [real_data / "qa" / "microbiome_benchmark.json", *(real_data / "uniprot").rglob("*.*")]
    build(list(map(str, files)), str(tmp_path / "index"), allow_mixed_releases=True, calibration_entries=0)
    index = NeighbourIndex.open(tmp_path / "index")
    assert index.num_entries > 1200
    for sequences in (random_sequences(source, 1000, 0), shuffled_sequences(source, 1000, 0)):
        assert num_refused(index, sequences) >= 990


@pytest.mark.slow
def test_copying_the_nearest_gives_the_figures_measured_elsewhere(
    source: Source, whole_index: NeighbourIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmseqs, "MAX_EVALUE", 10.0)
    monkeypatch.setattr(mmseqs, "ANSWERED_CELLS", 0)  # as the k-mer filter finds them
    found = left_out(whole_index, source)
    nearest = figures(source, found)
    assert nearest.rouge == pytest.approx(0.377, abs=0.01)
    assert nearest.bleu == pytest.approx(28.6, abs=0.5)
    assert nearest.four_digits == pytest.approx(0.394, abs=0.01)
    assert nearest.three_digits == pytest.approx(0.513, abs=0.01)
    remote = figures(source, found, below=0.3)
    assert remote.rouge == pytest.approx(0.232, abs=0.01)
    assert remote.bleu == pytest.approx(13.4, abs=0.5)


@pytest.mark.slow
def test_what_an_answer_demands_costs_some_agreement_and_remote_neighbours_more(
    source: Source, whole_index: NeighbourIndex
) -> None:
    found = left_out(whole_index, source)
    nearest = figures(source, found)
    assert nearest.rouge == pytest.approx(0.373, abs=0.003)
    assert (nearest.four_digits, nearest.three_digits) == pytest.approx((0.397, 0.487), abs=0.003)
    whole = figures(source, found, whole=True)
    assert whole.rouge == pytest.approx(0.359, abs=0.003)
    assert (whole.four_digits, whole.three_digits) == pytest.approx((0.383, 0.456), abs=0.003)
    capped = [figures(source, found, below, whole=True) for below in (2.0, 0.9, 0.7, 0.5, 0.4, 0.3)]
    for better, worse in pairwise(capped):
        assert worse.rouge < better.rouge
        assert worse.bleu < better.bleu
        assert worse.four_digits < better.four_digits
        assert worse.three_digits < better.three_digits


@pytest.mark.slow
def test_quoted_frequencies_hold_for_proteins_they_were_not_measured_on(whole_index: NeighbourIndex) -> None:
    measured = held_out(whole_index)
    for digits, bound in (("1 digit", 0.03), ("2 digits", 0.09), ("3 digits", 0.1), ("4 digits", 0.13)):
        shown = measured[f"ec, {digits}"]
        assert shown.num_facts > 300
        assert shown.num_uncalibrated < 30
        assert mean(shown.errors) < bound
    four = measured["ec, 4 digits"].bins
    assert four[-1].quoted > 0.9
    assert four[-1].low > 0.8
    assert four[0].quoted < 0.4
    assert four[0].high < 0.6
