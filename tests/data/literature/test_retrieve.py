"""`data.literature.retrieve` on a real Ray: articles found = articles used + articles refused, whatever happens."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.data.literature import entrez
from protein2text.data.literature.article import ARTICLE_SCHEMA, ARTICLE_VERSION
from protein2text.data.literature.literature_folder import locked
from protein2text.data.literature.retrieve import Services, literature
from protein2text.data.literature.writer import STEPS
from protein2text.data.passages import PASSAGE_SCHEMA, PASSAGE_VERSION
from protein2text.data.qa.passage_checks import passage_problem
from protein2text.data.qa.rules import QaRules
from protein2text.errors import ConfigError, CorruptCheckpoint, MissingFile, ResumeMismatch
from tests.data.literature.retrieved import HEADER, PROTEINS, assert_nothing_lost, card, rows, stock

NAMED = {
    "BMC_Cancer-4-_-539250.nxml": {"Q60739"},
    "PLoS_Biol-1-2-261889.nxml": {"P09619"},
    "PLoS_Biol-4-6-1475681.nxml": {"P54130", "P22724"},
    "journal.pone.0152025.xml": {"P46527"},
}
"""What the real abstracts name, read by eye."""
WITHOUT_ABSTRACT = {"journal.pmed.0020007.xml", "journal.pmed.0020402.xml", "journal.pone.0097541.xml"}


pytestmark = pytest.mark.usefixtures("local_ray", "api_key")


def assert_fit_for_questions(passages: list[Any]) -> None:
    """What ``data qa`` asks of a passage holds for every one."""
    assert passages
    assert [passage_problem(passage, QaRules()) for passage in passages] == [None] * len(passages)


def test_the_real_articles_go_through(real_data: Path, proteins: str, tmp_path: Path) -> None:
    summary = literature([proteins], tmp_path / "out", articles=[str(real_data / "jats")])
    assert_nothing_lost(summary, 33)
    assert {step["step"]: step["left"] for step in summary.funnel} == {
        "found": 33, "held by the source": 33, "licence accepted": 30, "not retracted": 30, "md5 ok": 30,
        "readable": 30, "has abstract": 27, "names a protein": 3, "unambiguous": 3,
    }  # fmt: skip
    assert card(summary.output)["licences_refused"] == {"not stated": 3}
    refused = rows(summary.output, "quarantine")
    assert {row["record"] for row in refused if row["reason"] == "no_abstract"} == WITHOUT_ABSTRACT
    found: dict[str, set[str]] = {}
    for row in rows(summary.output, "passages"):
        found.setdefault(json.loads(row["provenance"])["file"], set()).add(row["protein"]["accession"])
        assert row["pmcid"] is None
        assert row["passage_id"].startswith("doi:10.1")
        assert set(row["found"]) <= set(row["names"])
        assert row["licence"] == "CC BY"
    assert found == {name: named for name, named in NAMED.items() if name != "PLoS_Biol-1-2-261889.nxml"}
    assert_fit_for_questions(rows(summary.output, "passages"))


def test_shards_carry_their_versions(proteins: str, real_data: Path, tmp_path: Path) -> None:
    one = real_data / "jats" / "craft" / "BMC_Cancer-4-_-539250.nxml"
    output = literature([proteins], tmp_path / "out", articles=[str(one)]).output
    for kind, version in (("articles", ARTICLE_VERSION), ("passages", PASSAGE_VERSION)):
        table = pq.read_table(Path(output) / kind / "part-00000.parquet")
        assert table.schema.metadata[f"protein2text.{kind[:-1]}_version".encode()] == str(version).encode()
        assert table.schema.equals({"articles": ARTICLE_SCHEMA, "passages": PASSAGE_SCHEMA}[kind])
    (article,) = rows(output, "articles")
    kinds = [section["kind"] for section in article["sections"]]
    assert kinds[0] == "introduction"
    assert "discussion" in kinds


def test_search_and_bucket_give_what_the_files_give(
    ncbi: Any, services: Services, jats_files: list[Path], proteins: str, tmp_path: Path
) -> None:
    names = stock(ncbi, jats_files)
    ncbi.failures = [(429, "0"), (503, None)]
    summary = literature([proteins], tmp_path / "out", services=services)
    assert_nothing_lost(summary, 33)
    found: dict[str, set[str]] = {}
    for row in rows(summary.output, "passages"):
        found.setdefault(names[row["pmcid"]], set()).add(row["protein"]["accession"])
        assert row["passage_id"] == f"{row['pmcid']}.1:{row['protein']['accession']}"
        assert json.loads(row["provenance"])["url"].endswith(f"{row['pmcid']}.1.xml")
    assert found == NAMED, "the bucket's licence counts, also where the file states none"
    assert_fit_for_questions(rows(summary.output, "passages"))
    assert summary.searched == 6
    assert summary.reasons["protein_no_usable_name"] == 1
    assert summary.reasons["protein_invalid_residue"] == 1
    queries = [form["term"] for path, form in ncbi.asked if "esearch" in path]
    assert not any('"WAS"' in query or '"CAT"' in query for query in queries)
    ruled_out = card(summary.output)["names"]["ambiguous"]
    assert ruled_out["english_word"]["examples"] == ["CAT", "WAS"]
    assert ruled_out["generic"]["examples"] == ["Uncharacterized protein"]


def test_every_refusal_has_its_reason_and_its_step(
    ncbi: Any, services: Services, jats_files: list[Path], proteins: str, tmp_path: Path
) -> None:
    files = {path.name: path.read_bytes() for path in jats_files}
    good = files["PLoS_Biol-4-6-1475681.nxml"]
    ncbi.add(1, good)
    ncbi.add(2, good, license_code="CC BY-NC-ND")
    ncbi.add(3, good, is_retracted=True)
    ncbi.add(4, good)
    ncbi.objects["PMC4.1/PMC4.1.xml"] = good + b" "
    ncbi.add(5, good)
    del ncbi.objects["metadata/PMC5.1.json"]
    ncbi.add(6, good)
    ncbi.days[7] = ncbi.days[6]
    ncbi.add(8, files["journal.pmed.0020402.xml"])
    ncbi.add(9, files["journal.pmed.1001418.xml"])
    ncbi.add(10, b"<article>")
    ncbi.add(
        11,
        good.replace(
            b'<article-id pub-id-type="doi">',
            b'<article-id pub-id-type="pmc">99</article-id><article-id pub-id-type="doi">',
        ),
    )
    ncbi.add(12, good.replace(b"research-article", b"retraction", 1))
    ncbi.add(13, b"<!DOCTYPE article [<!ENTITY x 'y'>]>" + good.split(b">", 1)[1])
    ambiguous = (
        b"<article><front><article-meta><abstract><p>WAS and CAT.</p></abstract></article-meta></front></article>"
    )
    ncbi.add(14, ambiguous)
    summary = literature([proteins], tmp_path / "out", services=services)
    assert_nothing_lost(summary, 14)
    of_articles = {
        int(row["record"][3:]): row["reason"]
        for row in rows(summary.output, "quarantine")
        if row["record"].startswith("PMC")
    }
    assert of_articles == {
        2: "licence", 3: "retracted", 4: "wrong_md5", 5: "no_metadata", 7: "not_in_bucket", 8: "no_abstract",
        9: "names_no_protein", 10: "unreadable", 11: "wrong_article", 12: "retracted", 13: "entity", 14: "ambiguous",
    }  # fmt: skip
    assert set(of_articles.values()) <= {reason for reasons in STEPS.values() for reason in reasons}
    assert {row["pmcid"] for row in rows(summary.output, "articles")} == {"PMC1", "PMC6"}


def test_accepted_licences_are_a_choice(
    ncbi: Any, services: Services, jats_files: list[Path], proteins: str, tmp_path: Path
) -> None:
    ncbi.add(1, next(path for path in jats_files if "1475681" in path.name).read_bytes(), license_code="CC BY-NC")
    summary = literature([proteins], tmp_path / "out", services=services, licences=("CC BY-NC",))
    assert summary.articles == 1
    assert card(summary.output)["licences"] == {"CC BY-NC": 1}


def test_more_hits_than_the_service_hands_out_are_reported(
    ncbi: Any, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrez, "MAX_HITS", 3)
    monkeypatch.setattr(entrez, "FIRST_DAY", date(2020, 1, 1))
    for number in range(1, 10):
        ncbi.add(number, b"<article>")
    same = ncbi.days[1]
    ncbi.days |= dict.fromkeys(range(1, 5), same)
    (tmp_path / "one.tsv").write_text("\n".join([HEADER, PROTEINS[0]]))
    summary = literature([str(tmp_path / "one.tsv")], tmp_path / "out", services=services)
    assert summary.reasons == {"search_unreached": 1, "unreadable": 5}
    (row,) = (row for row in rows(summary.output, "quarantine") if row["reason"] == "search_unreached")
    assert "4 of 9 articles" in row["message"]
    assert card(summary.output)["counts"]["hits"] == 9


def test_a_mirror_of_the_bucket_passes_the_same_gates(jats_files: list[Path], ncbi: Any, tmp_path: Path) -> None:
    good = next(path for path in jats_files if "1475681" in path.name).read_bytes()
    for number, stated in ((1, {}), (2, {"license_code": "CC BY-NC"}), (3, {"is_retracted": True})):
        ncbi.add(number, good, **stated)
    ncbi.add(1, good + b"<!-- newer -->", version=2)
    ncbi.add(4, good)
    ncbi.objects["PMC4.1/PMC4.1.xml"] = good + b" "
    for key, content in ncbi.objects.items():
        path = tmp_path / "mirror" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "one.tsv").write_text("\n".join([HEADER, PROTEINS[0]]))
    summary = literature([str(tmp_path / "one.tsv")], tmp_path / "out", articles=[str(tmp_path / "mirror")])
    assert_nothing_lost(summary, 5)
    assert [row["article_id"] for row in rows(summary.output, "articles")] == ["PMC1.2"]
    assert summary.reasons == {"duplicate_article": 1, "licence": 1, "retracted": 1, "wrong_md5": 1}


def test_a_finished_folder_is_used_again_or_refused(real_data: Path, proteins: str, tmp_path: Path) -> None:
    articles, output = [str(real_data / "jats" / "craft")], tmp_path / "out"
    first = literature([proteins], output, articles=articles)
    second = literature([proteins], output, articles=articles)
    assert (first.already_done, second.already_done) == (False, True)
    assert second.checksum == first.checksum
    with pytest.raises(ResumeMismatch, match="licences"):
        literature([proteins], output, articles=articles, licences=("CC0",))
    with pytest.raises(ResumeMismatch, match="articles"):
        literature([proteins], output, articles=[str(real_data / "jats" / "plos")])
    shard = output / "passages" / "part-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(CorruptCheckpoint, match="checksum"):
        literature([proteins], output, articles=articles)


def test_what_a_user_may_get_wrong(real_data: Path, proteins: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no e-mail address"):
        literature([proteins], tmp_path / "a")
    with pytest.raises(MissingFile, match="a source of articles"):
        literature([proteins], tmp_path / "b", articles=[str(tmp_path / "nowhere")])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match=r"thesis\.txt"):
        literature([proteins], tmp_path / "c", articles=[str(real_data / "jats" / "craft")])
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["thesis.txt"]
    with locked(tmp_path / "d"), pytest.raises(ConfigError, match="another process is writing"):
        literature([proteins], tmp_path / "d", articles=[str(real_data / "jats" / "craft")])


def test_a_bucket_that_fails_stops_the_run_and_the_next_one_goes_on(
    ncbi: Any, services: Services, jats_files: list[Path], proteins: str, tmp_path: Path
) -> None:
    stock(ncbi, jats_files)
    down = {"PMC120"}

    def fail(path: str) -> None:
        if any(pmcid in path for pmcid in down):
            ncbi.failures.append((503, None))

    ncbi.before_answer = fail
    with pytest.raises(ray.exceptions.RayTaskError, match=r"ServiceError: .*HTTP 503: not now, 4 times"):
        literature([proteins], tmp_path / "out", services=services)
    assert not (tmp_path / "out" / "card.json").exists()
    num_searches = len(ncbi.paths("esearch"))
    down.clear()
    assert_nothing_lost(literature([proteins], tmp_path / "out", services=services), 33)
    assert len(ncbi.paths("esearch")) == num_searches, "no search is made twice"


def test_the_command_prints_what_it_made_and_teaches_what_is_missing(
    real_data: Path, proteins: str, tmp_path: Path
) -> None:
    options = ["data", "literature", "--proteins", proteins, "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*options, "--articles", str(real_data / "jats" / "craft"), "--json"])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["found"] == 13
    assert printed["passages"] == len(rows(tmp_path / "out", "passages")) == 3
    result = CliRunner(env={"NCBI_EMAIL": ""}).invoke(app, [*options[:-1], str(tmp_path / "other")])
    assert result.exit_code == 2
    assert "--email you@example.org" in result.stderr
    assert not (tmp_path / "other").exists()
