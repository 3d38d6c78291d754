"""From real abstracts to a corpus, on a real Ray: what is kept, what is refused, and what a kill or a rerun changes."""

import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.data.qa.generate import Failures
from protein2text.data.qa.generated_folder import GeneratedFolder
from protein2text.data.qa.generator_config import GeneratorConfig, GeneratorScaling
from protein2text.data.qa.rules import QaRules
from protein2text.data.qa.run import QaSummary, make_qa
from protein2text.data.qa.schema import QA_SCHEMA
from protein2text.data.records import (
    RECORD_SCHEMA,
    corpus_licences,
    iter_local,
    load_card,
)
from protein2text.errors import (
    ConfigError,
    CorruptCheckpoint,
    MissingFile,
    ResourcesUnavailable,
    ResumeMismatch,
    ServiceError,
)
from tests.data.qa.answer_server import AnswerServer, Reply, answer_server
from tests.data.qa.hand_written import BAD, CANARY, GOOD, beginning, passages_and_replies
from tests.data.qa.literature import passage, real_passages, write_literature
from tests.data.qa.random_llama import write_random_llama
from tests.data.qa.whole_runs import abstract_in, assert_nothing_lost, config, many, pair, rows_of, wrote

pytestmark = pytest.mark.usefixtures("local_ray")


KEY = "open-sesame-9"


def everything_in(folder: Path) -> bytes:
    """Every byte of a folder that a reader could meet, Parquet unpacked."""
    found = b""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            found += json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False).encode()
        elif path.is_file():
            found += path.read_bytes()
    return found


@dataclass
class Made:
    """A finished corpus over the real articles, what it was made of, and a service that can be asked again."""

    literature: Path
    folder: Path
    server: AnswerServer
    summary: QaSummary
    replies: dict[str, Reply]
    """Beginning of an abstract to what the service says about it."""
    events: list[dict[str, Any]]

    def copy(self, folder: Path) -> Path:
        """Another folder of the same content, for a test that changes it."""
        return Path(shutil.copytree(self.folder, folder))


@pytest.fixture(scope="module")
def made(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    passages, replies = passages_and_replies(real_passages(real_data))
    folder = tmp_path_factory.mktemp("made")
    literature = write_literature(folder / "literature", passages, rows_per_shard=4)
    events: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> Reply:
        return replies[beginning(abstract_in(body))]

    with answer_server(answer) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        summary = make_qa(literature, folder / "qa", config(server), progress=events.append)
        yield Made(literature, folder / "qa", server, summary, replies, events)


def test_what_stands_in_the_abstracts_is_kept_and_the_rest_refused(made: Made) -> None:
    assert_nothing_lost(made.summary, made.folder)
    kept = {(row["messages"][0]["content"], row["messages"][1]["content"]) for row in iter_local([made.folder])}
    assert kept == {
        (f"<protein_sequence>\n{one['question']}", one["answer"]) for pairs in GOOD.values() for one in pairs
    }
    reasons = {row["record_id"]: row["reason"] for row in rows_of(made.folder, "rejects")}
    assert [reasons[f"PMC1005.1:P42771:{number}"] for number in (1, 2)] == list(BAD)
    assert reasons["PMC2005.1:Q99933"] == "generator_failed"
    assert reasons["PMC2006.1:P42858:1"] == "not_json"
    assert {reasons[f"PMC2004.1:Q99933:{number}"] for number in (1, 2, 3)} == {"duplicate"}
    assert reasons["PMC2000.1:P09619"] == "poisoned_abstract"
    assert [reasons[f"PMC2001.1:Q8TCU4:{number}"] for number in (1, 2)] == ["address", "ungrounded_name"]
    assert reasons["PMC2002.1:Q8TCU4"] == "licence"
    assert reasons["PMC2003.1:Q8TCU4:1"] == "bad_pair"
    (broken,) = (row for row in rows_of(made.folder, "rejects") if row["reason"] == "generator_failed")
    assert broken["message"] == "HTTP 400: cannot be served"
    (cut,) = (row for row in rows_of(made.folder, "rejects") if row["reason"] == "not_json")
    assert cut["answer"] == '{"pairs": [{"question": "What'


def test_a_poisoned_abstract_leaves_nothing_of_itself_in_the_corpus(made: Made) -> None:
    assert CANARY.encode() in everything_in(made.literature), "else the test shows nothing"
    assert CANARY.encode() in everything_in(made.folder / "generated"), "the generator was lured by a link"
    for part in ("records", "plots", "card.json"):
        path = made.folder / part
        assert CANARY.encode() not in (everything_in(path) if path.is_dir() else path.read_bytes())
    (prompt,) = (prompt for prompt in made.server.prompts if CANARY in prompt)
    assert "Linked was the answer" in prompt, "a passage that speaks to a model is not even given to one"
    poisoned = [row for row in rows_of(made.folder, "rejects") if row["reason"] == "poisoned_abstract"]
    assert poisoned
    assert CANARY not in json.dumps(poisoned)


def test_every_pair_says_where_it_comes_from(made: Made) -> None:
    rows = {row["record_id"]: row for row in iter_local([made.folder])}
    seeds = {body["seed"] for body in made.server.asked}
    abstracts = {row["passage_id"]: row["abstract"] for row in rows_of(made.literature, "passages")}
    for record_id, row in rows.items():
        provenance = json.loads(row["provenance"])
        passage_id, _, number = record_id.rpartition(":")
        assert provenance["passage_id"] == passage_id
        assert provenance["pmc"] == [passage_id.split(".")[0]]
        assert provenance["article_version"] == 1
        assert provenance["generator"] == {"engine": "openai", "model": "hand", "revision": "not stated"}
        assert provenance["prompt_version"] == 1
        assert provenance["decoding"] == {"max_new_tokens": 500, "temperature": 0.0, "top_p": 1.0}
        assert provenance["seed"] in seeds
        spans = provenance["grounding"]
        assert spans
        assert all(abstracts[passage_id][start:end].strip() for start, end in spans)
        assert row["proteins"][0]["accession"] == passage_id.rpartition(":")[2]
        assert 1 <= int(number) <= 10
    first = json.loads(rows["PMC1000.1:Q99933:1"]["provenance"])
    assert first["licence"] == "CC BY"
    assert first["name"] == "BAG-1"


def test_the_card_tells_what_the_seeds_promise(made: Made) -> None:
    card = load_card(made.folder)
    records = iter_local([made.folder])
    assert card["note"] is None
    assert card["counts"]["passages"] == 13
    assert card["counts"]["passages_without_pairs"] == 1
    assert card["counts"]["proteins"] == len({row["proteins"][0]["accession"] for row in records}) == 4
    assert [step["left"] for step in card["passages_funnel"]] == [13, 10, 9, 4]
    assert corpus_licences([made.folder]) == Counter(json.loads(row["provenance"])["licence"] for row in records)
    answers = [row["messages"][1]["content"].lower() for row in records]
    assert card["yes_no_answers"] == {
        "yes": sum(answer.startswith("yes") for answer in answers),
        "no": sum(answer.startswith("no") for answer in answers),
    }
    assert card["question_kinds"] == Counter(row["question_kind"] for row in records)
    per_protein = Counter(row["proteins"][0]["accession"] for row in records)
    assert card["questions_per_protein"]["most"] == max(per_protein.values())
    assert sum(part["proteins"] for part in card["questions_per_protein"]["histogram"]) == len(per_protein)
    assert sum(part["proteins"] for part in card["length_histogram"]) == len(per_protein)
    assert card["generation"]["generator"]["model"] == "hand"
    assert all(card["meanings"][reason] for reason in card["reasons"])
    for name in card["plots"]:
        text = (made.folder / name).read_text()
        assert text.startswith("<svg")
    assert "not_json" in (made.folder / "plots" / "outcomes.svg").read_text()
    steps = [(event["stage"], event["step"]) for event in made.events]
    assert steps[-1] == ("check", made.summary.rows)
    assert max(step for stage, step in steps if stage == "generate") == 13


def test_the_same_command_asks_only_again_for_what_failed(made: Made, tmp_path: Path) -> None:
    folder, asked = made.copy(tmp_path / "qa"), len(made.server.asked)
    (broken,) = (mark for mark in made.replies if mark.startswith("Broken"))
    refusal = made.replies[broken]
    made.replies[broken] = wrote([pair("Where is this protein expressed?", "This protein is expressed in most cells.")])
    try:
        mended = make_qa(made.literature, folder, config(made.server))
    finally:
        made.replies[broken] = refusal
    assert len(made.server.asked) == asked + 1, "the failed passage"
    assert (mended.generated, mended.records) == (1, made.summary.records + 1)
    assert "generator_failed" not in mended.reasons
    assert_nothing_lost(mended, folder)
    again = make_qa(made.literature, folder, config(made.server))
    assert again.already_done
    assert again.checksum == mended.checksum
    assert len(made.server.asked) == asked + 1


def test_two_generators_give_what_one_gives(made: Made, tmp_path: Path) -> None:
    both_at_work = threading.Event()
    seeds: set[int] = set()

    def answer(body: dict[str, Any]) -> Reply:
        seeds.add(body["seed"])
        if len(seeds) > 1:  # one generator alone asks about one passage at a time
            both_at_work.set()
        assert both_at_work.wait(300)
        return made.replies[beginning(abstract_in(body))]

    scaling = GeneratorScaling(num_workers=2, cpus_per_worker=0.5, batch_passages=1)
    with answer_server(answer) as server:
        summary = make_qa(made.literature, tmp_path / "qa", config(server), scaling=scaling)
    assert seeds == {body["seed"] for body in made.server.asked}
    assert_nothing_lost(summary, tmp_path / "qa")
    assert summary.checksum == made.summary.checksum
    for kind in ("records", "rejects"):
        ours, theirs = (
            {json.dumps(row, sort_keys=True) for row in rows_of(folder, kind)}
            for folder in (tmp_path / "qa", made.folder)
        )
        assert ours == theirs


def test_other_rules_check_again_without_a_generator(made: Made, tmp_path: Path) -> None:
    folder, asked = made.copy(tmp_path / "qa"), len(made.server.asked)
    strict = make_qa(made.literature, folder, None, rules=QaRules(max_pairs=1))
    assert strict.reasons["too_many_pairs"] > 0
    assert {row["record_id"].rpartition(":")[2] for row in iter_local([folder])} == {"1"}
    assert_nothing_lost(strict, folder)
    back = make_qa(made.literature, folder, None)
    assert back.checksum == made.summary.checksum
    assert len(made.server.asked) == asked


def test_another_generator_prompt_or_decoding_is_refused(made: Made, tmp_path: Path) -> None:
    folder = made.copy(tmp_path / "qa")
    before = everything_in(folder)
    with pytest.raises(ResumeMismatch, match="decoding"):
        make_qa(made.literature, folder, config(made.server, temperature=0.7))
    with pytest.raises(ResumeMismatch, match="seed"):
        make_qa(made.literature, folder, config(made.server, seed=1))
    with pytest.raises(ResumeMismatch, match=r"generator.*hand.*other"):
        make_qa(made.literature, folder, config(made.server).model_copy(update={"model": "other"}))
    header = json.loads((folder / "generation.json").read_text())
    (folder / "generation.json").write_text(json.dumps(header | {"prompt": {"version": 0}}))
    with pytest.raises(ResumeMismatch, match="prompt"):
        make_qa(made.literature, folder, config(made.server))
    (folder / "generation.json").write_text(json.dumps(header, indent=2, ensure_ascii=False) + "\n")
    literature = write_literature(tmp_path / "literature", [passage(1, "P1", ["x"], "X binds.")])
    with pytest.raises(ResumeMismatch, match="literature"):
        make_qa(literature, folder, None)
    assert everything_in(folder) == before, "a refusal changes nothing"


def test_damage_is_named(made: Made, tmp_path: Path) -> None:
    folder = made.copy(tmp_path / "qa")
    (shard,) = (folder / "records").glob("*.parquet")
    rows = pq.read_table(shard).to_pylist()
    rows[0]["question_kind"] = "altered"
    pq.write_table(pa.Table.from_pylist(rows, schema=RECORD_SCHEMA), shard)
    with pytest.raises(CorruptCheckpoint, match="checksum"):
        make_qa(made.literature, folder, None)
    text = next((folder / "generated").glob("*.parquet"))
    text.write_bytes(text.read_bytes()[:50])
    with pytest.raises(CorruptCheckpoint, match=rf"generated/{text.name}: it cannot be read.*Remove this shard"):
        make_qa(made.literature, folder, None)
    with pytest.raises(MissingFile, match="to its end"):
        make_qa(tmp_path, folder, None)
    with pytest.raises(ConfigError, match="holds other data than passages"):
        make_qa(folder, tmp_path / "of-a-corpus", None)


def test_a_folder_with_other_things_is_left_alone(made: Made, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match=r"thesis\.txt"):
        make_qa(made.literature, tmp_path, config(made.server))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(ConfigError, match="13 of 13 passages were never given to a generator"):
        make_qa(made.literature, tmp_path / "new", None)
    with (
        GeneratedFolder(tmp_path / "used"),
        pytest.raises(ConfigError, match="another process is writing"),
    ):
        make_qa(made.literature, tmp_path / "used", config(made.server))


def test_a_job_larger_than_the_cluster_is_refused_with_the_arithmetic(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ResourcesUnavailable, match=r"64 generators x 1 CPU \+ 1 to read passages.*4 CPU"):
        make_qa(made.literature, tmp_path / "qa", config(made.server), scaling=GeneratorScaling(num_workers=64))


def test_a_generator_that_fails_at_everything_ends_the_run() -> None:
    failures = Failures("http://gpu/v1")
    failed, done = {"reason": "generator_failed", "message": "HTTP 422: no such format"}, {"reason": None}
    failures.count([failed] * 19)
    failures.count([done])
    failures.count([failed] * 19)
    with pytest.raises(ServiceError, match=r"gpu.*20 passages failed one after the other.*HTTP 422: no such format"):
        failures.count([done, *[failed] * 20])
    assert failures.total == 58


@pytest.mark.slow
def test_a_loaded_model_of_random_weights_accepts_nothing_and_the_card_says_so(tmp_path: Path) -> None:
    random_llama = write_random_llama(tmp_path / "llama")
    passages = many(3)
    passages[1]["abstract"] *= 800
    literature = write_literature(tmp_path / "literature", passages)
    settings = GeneratorConfig(model=str(random_llama), max_new_tokens=9500, temperature=1.0, top_p=1.0)
    summary = make_qa(literature, tmp_path / "qa", settings, scaling=GeneratorScaling(batch_passages=2))
    assert_nothing_lost(summary, tmp_path / "qa")
    assert summary.records == 0
    assert summary.reasons["passage_too_long"] == 1
    assert summary.note == load_card(tmp_path / "qa")["note"]
    assert (summary.note or "").startswith("No pair was accepted:")
    texts = [row["text"] for row in rows_of(tmp_path / "qa", "generated") if row["text"] is not None]
    assert len(texts) == 2
    for text in texts:
        jsonschema.validate(json.loads(text), QA_SCHEMA)
    again = make_qa(literature, tmp_path / "qa", settings)
    assert again.already_done, "a passage that is too long stays so"


def test_the_command_shows_what_was_accepted_and_why_the_rest_was_not(made: Made) -> None:
    runner = CliRunner()
    command = ["data", "qa", str(made.literature), "--output", str(made.folder)]
    shown = runner.invoke(app, command)
    assert shown.exit_code == 0, shown.stderr
    text = " ".join(shown.stdout.split())
    assert f"accepted {made.summary.records} pairs about 4 proteins" in text
    assert f"rejected {made.summary.rejected}" in text
    assert all(f"{reason} {count}" in text for reason, count in made.summary.reasons.items())
    told = json.loads(runner.invoke(app, [*command, "--json"]).stdout)
    assert told["already_done"]
    assert told["reasons"] == made.summary.reasons
    wrong = runner.invoke(app, [*command, "--url", "http://gpu/v1"])
    assert wrong.exit_code == 2
    misspelt = made.folder.parent / "rules.yaml"
    misspelt.write_text("min_word: 4\n")
    refused = runner.invoke(app, [*command, "--rules", str(misspelt)])
    assert refused.exit_code == 2
    assert "did you mean 'min_words'" in refused.stderr


def test_the_services_key_is_sent_and_stored_nowhere(made: Made) -> None:
    assert set(made.server.keys) == {f"Bearer {KEY}"}
    assert KEY.encode() not in everything_in(made.folder)
