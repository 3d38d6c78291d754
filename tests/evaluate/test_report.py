import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from protein2text.answerers import Reply
from protein2text.errors import DiskFull
from protein2text.evaluate.controls import Request, Swapper, build_requests
from protein2text.evaluate.evaluation_config import EvaluationConfig
from protein2text.evaluate.exposure import Exposure
from protein2text.evaluate.items import Corpus
from protein2text.evaluate.judgment import Judgment, collect, judge_answers
from protein2text.evaluate.report import build_report, closing_table, write_answers, write_report
from protein2text.evaluate.scores import LABELS
from protein2text.pages import write_page
from tests.conftest import no_file_above
from tests.evaluate.conftest import World

CONFIG = EvaluationConfig(resamples=1000, delta=0.2)


class _Page(HTMLParser):
    """Collects text, and every address that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [
            value for key, value in attrs if key in {"src", "href", "data"} and value and not value.startswith("#")
        ]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def judged(world: World) -> tuple[Judgment, Corpus]:
    corpus = world.corpus
    requests = build_requests(corpus.test, Swapper((*corpus.test, *corpus.train), corpus.vocabulary, 0), 0)
    return judge_answers(corpus, collect(requests, ["It binds ATP."] * len(requests)), CONFIG), corpus


def write(world: World, folder: Path, answer: str = "It binds ATP.") -> tuple[dict, Path, Path]:
    corpus = world.corpus
    requests = build_requests(corpus.test, Swapper((*corpus.test, *corpus.train), corpus.vocabulary, 0), 0)
    judgment = judge_answers(corpus, collect(requests, [answer] * len(requests)), CONFIG)
    report = build_report(
        judgment,
        corpus,
        CONFIG,
        model={"name": "guesser", "manifest_sha256": "f" * 64},
        data={"corpus": {"/c": "a" * 64}},
    )
    html, path = write_report(report, judgment.rows, folder)
    replies = [Reply(str(place), f"{answer} [P12345]", {"place": place}) for place in range(len(requests))]
    write_answers(judgment, corpus, requests, replies, report, folder / "answers.jsonl")
    return report, html, path


def test_a_page_that_does_not_fit_is_named(world: World, tmp_path: Path) -> None:
    html = write(world, tmp_path)[1]
    before = html.read_bytes()
    with no_file_above(len(before) - 1), pytest.raises(DiskFull, match=rf"{html}: a file reached the limit"):
        write_page(html.read_text(), html)
    assert html.read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))


def test_the_page_opens_with_the_verdict_and_the_claim_of_its_split(world: World, tmp_path: Path) -> None:
    _, html, _ = write(world, tmp_path)
    text = " ".join(" ".join(read(html).text).split())
    verdict, table = text.index("The model does not read the protein"), text.index("model, swapped protein")
    assert verdict < table
    assert "claim recall of known families, not generalisation" in text
    assert "Copying the nearest training neighbour scores 0.500" in text
    assert all(label in text for label in LABELS.values())
    assert "f" * 64 in text
    assert "a" * 64 in text
    assert "max_new_tokens" in text


def test_the_page_fetches_nothing_and_runs_nothing(world: World, tmp_path: Path) -> None:
    _, html, _ = write(world, tmp_path)
    page = read(html)
    assert page.fetched == []
    assert "script" not in page.tags
    assert "svg" in page.tags


def test_answers_are_text_in_the_page_never_markup(world: World, tmp_path: Path) -> None:
    _, html, _ = write(world, tmp_path, answer="<script>alert(1)</script><img src=x>")
    page = read(html)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "<script>alert(1)</script><img src=x>" in "".join(page.text)


def test_json_holds_the_rows_of_the_page_and_no_nan(world: World, tmp_path: Path) -> None:
    report, _, path = write(world, tmp_path)
    stored = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert stored == json.loads(json.dumps(report))
    assert [row["name"] for row in stored["rows"]] == list(LABELS)
    assert stored["verdict"]["outcome"] == "does not read the protein"
    assert stored["rows"][0]["estimates"]["facts"]["num_units"] == 24


def test_every_raw_answer_is_kept_with_what_was_shown(world: World, tmp_path: Path) -> None:
    write(world, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == len(LABELS) * len(world.corpus.test)
    for line in lines:
        if line["row"] in {"true", "swapped", "shuffled", "none"}:
            assert line["decoding"] == {"max_new_tokens": 64, "temperature": 0.0, "top_p": 1.0, "seed": 0}
            assert line["model"] == "f" * 64
            assert len(line["proteins"]) == (line["row"] != "none")
            assert (line["answer"], line["text"]) == ("It binds ATP.", "It binds ATP. [P12345]")
        else:
            assert line["decoding"] is line["proteins"] is line["text"] is line["details"] is None
    told = [line["details"]["place"] for line in lines if line["details"]]
    assert sorted(told) == list(range(len(told))), "each answer stands beside its own details"
    true = {line["item_id"]: line for line in lines if line["row"] == "true"}
    item = world.corpus.test[0]
    assert true[item.item_id]["proteins"] == [{"accession": "TEST0", "checksum": item.proteins[0].checksum}]
    assert true[item.item_id]["gold"] == item.gold


def test_the_same_answers_give_the_same_files(world: World, tmp_path: Path) -> None:
    write(world, tmp_path / "first")
    write(world, tmp_path / "again")
    for name in ("report.html", "report.json", "answers.jsonl"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_the_closing_table_has_a_line_per_row(world: World, tmp_path: Path) -> None:
    table = closing_table(write(world, tmp_path)[0])
    assert [line["row"] for line in table] == list(LABELS.values())
    assert all(set(line) == set(table[0]) for line in table)
    assert table[1]["true minus row"].startswith("0.000 [")


def test_a_sampled_or_drawn_evaluation_says_so(world: World) -> None:
    config = CONFIG.model_copy(update={"temperature": 0.7})
    corpus = world.corpus
    requests: list[Request] = build_requests(corpus.test, Swapper(corpus.test, corpus.vocabulary, 0), 0)
    judgment = judge_answers(corpus, collect(requests, ["?"] * len(requests)), config)
    notices = " ".join(build_report(judgment, corpus, config, model={"name": "m"}, data={})["notices"])
    assert "temperature 0.7" in notices


def test_a_leak_and_seen_proteins_stand_before_the_scores(world: World, tmp_path: Path) -> None:
    judgment, corpus = judged(world)
    seen = Exposure(("test set B shares 1 sequences",), num_proteins=24, num_seen=7, first_seen=("A", "B"))
    report = build_report(judgment, corpus, CONFIG, model={"name": "m"}, data={}, seen=seen)
    html, _ = write_report(report, judgment.rows, tmp_path)
    text = " ".join(" ".join(read(html).text).split())
    leak = text.index("This model was trained with a leak: test set B shares 1 sequences.")
    assert leak < text.index("trained on 7 of the 24 test proteins (A, B, …)") < text.index("model, swapped protein")
    unknown = Exposure((), num_proteins=24, num_seen=None, first_seen=())
    assert "is not known" in unknown.notices()[0]
    assert Exposure((), num_proteins=24, num_seen=0, first_seen=()).notices() == []
