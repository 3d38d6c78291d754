"""The service over an index, and over a model with facts in its prompts, on a real Ray Serve."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from protein2text.errors import ConfigError, CorruptCheckpoint
from protein2text.generate.transformers_engine import TransformersEngine
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText
from protein2text.neighbours.context import open_context
from protein2text.neighbours.facts import Fact
from protein2text.neighbours.index_folder import NeighbourIndex
from protein2text_serve.answering import answer_batch, prepare, prepare_with_facts
from protein2text_serve.card import resolve_model
from protein2text_serve.client import ask, ask_stream
from protein2text_serve.limits import accept
from protein2text_serve.neighbours_deployment import Neighbours, query_of
from protein2text_serve.protocol import ChatRequest
from protein2text_serve.question import Piece, Question
from protein2text_serve.refusals import Refused
from protein2text_serve.run import start, stop
from protein2text_serve.settings import ServiceConfig
from tests.generate.conftest import save_model
from tests.neighbours.made_index import entry, make_index
from tests.neighbours.test_predict_neighbours import QUESTION, RELEASE, ec, facts, relative, residues

NUM_ENTRIES = 5
DECODED = {"max_tokens": 5, "max_completion_tokens": 5, "temperature": 0.5, "top_p": 0.5, "seed": 0}
"""Settings of decoding, each with a value that asks for something."""
UNSAMPLED = {"temperature": 0, "top_p": 1, "max_tokens": None, "seed": None, "user": "me"}
"""What asks for nothing that an index does not do anyway."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> NeighbourIndex:
    folder = tmp_path_factory.mktemp("index") / "small"
    cofactor = Fact("cofactor", "Zn(2+)", "CHEBI:29105", ("ECO:0000269",))
    return make_index(folder, [entry(f"P{n:05}", residues(n), *facts(n), cofactor) for n in range(NUM_ENTRIES)])


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), seed=1)


def body(sequence: str, question: str = QUESTION, **more: Any) -> dict[str, Any]:
    parts = [{"type": "protein", "protein": {"sequence": sequence}}, {"type": "text", "text": question}]
    return {"messages": [{"role": "user", "content": parts}], **more}


def post(service: str, bodies: Sequence[dict[str, Any]]) -> list[httpx.Response]:
    """Sent at once, so that replicas see batches."""
    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda content: client.post(f"{service}/v1/chat/completions", json=content), bodies))


@contextmanager
def serving(model: str, **settings: Any) -> Iterator[str]:
    service = start(model, port=0, max_replicas=1, batch_wait_s=0.05, **settings)
    try:
        yield service.url
    finally:
        stop(service)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


@pytest.mark.slow
def test_an_index_answers_in_a_models_place_with_its_facts(index: NeighbourIndex, local_ray: str) -> None:
    bodies = [body(relative(number)) for number in range(NUM_ENTRIES)] + [body(residues(99))]
    identity = {"name": "neighbours", "index_sha256": index.identity["manifest_sha256"], "release": RELEASE}
    with serving(f"neighbours:{index.folder}") as service:
        ready = httpx.get(f"{service}/readyz").json()["model"]
        (listed,) = httpx.get(f"{service}/v1/models").json()["data"]
        whole = post(service, bodies)
        streamed = post(service, [{**content, "stream": True} for content in bodies])
        answer = ask(service, relative(1), QUESTION)
        pieces = list(ask_stream(service, relative(1), "What is known about this protein?"))
        wrong = [body(relative(1), **{name: value}) for name, value in DECODED.items()]
        refused = post(service, wrong)
        accepted = post(service, [body(relative(1), **UNSAMPLED)])
    assert {**ready, **identity} == ready
    assert (listed["id"], listed["protein2text"]["release"]) == ("neighbours", RELEASE)
    for number, (response, stream) in enumerate(zip(whole, streamed, strict=True)):
        assert response.status_code == stream.status_code == 200, response.text
        told, text = response.json()["protein2text"], response.json()["choices"][0]["message"]["content"]
        assert {**told, **identity} == told
        assert "decoding" not in told
        assert set(told["proteins"][0]) == {"accession", "sequence_sha256", "num_residues"}
        chunks = events(stream)
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == text
        assert chunks[-1]["choices"][0]["finish_reason"] == response.json()["choices"][0]["finish_reason"] == "stop"
        assert chunks[-1]["protein2text"] == told
        if number < NUM_ENTRIES:
            (fact,) = told["neighbours"]["facts"]
            assert (fact["value"], fact["sources"][0]["accession"]) == (ec(number), f"P{number:05}")
            assert ec(number) in text
        else:
            assert (text, told["neighbours"]["status"]) == (f"no characterised homologue in {RELEASE}", "no_homologue")
    assert answer.text == whole[1].json()["choices"][0]["message"]["content"]
    assert answer.provenance["neighbours"]["facts"][0]["value"] == ec(1)
    assert len(pieces) > 1, "a longer answer comes in pieces"
    for response, (name, value) in zip(refused, DECODED.items(), strict=True):
        assert response.status_code == 422
        assert f"{name} is {value}: an index of neighbours answers" in response.json()["error"]["message"]
    assert accepted[0].status_code == 200, accepted[0].text


def question_of(content: dict[str, Any], config: ServiceConfig) -> Question:
    return accept(ChatRequest.model_validate(content), "id", config, resolve_model(config))


def test_a_replica_searches_once_for_all_that_arrive_together(index: NeighbourIndex) -> None:
    config = ServiceConfig(model=f"neighbours:{index.folder}")
    replica = Neighbours(config, resolve_model(config))
    questions = [question_of(body(relative(number)), config) for number in range(NUM_ENTRIES)]
    pieces = replica.answer_batch([*questions, question_of(body(residues(99)), config)])
    assert replica.answerer.work()["searches"] == 1
    for number, piece in enumerate(pieces[:NUM_ENTRIES]):
        assert piece.details is not None
        (fact,) = piece.details["neighbours"]["facts"]
        assert (fact["value"], fact["sources"][0]["accession"]) == (ec(number), f"P{number:05}")
        assert (ec(number) in piece.text, piece.finish) == (True, "stop")
    assert pieces[-1].text == f"no characterised homologue in {RELEASE}"
    told = questions[0].extras(resolve_model(config), pieces[0].details)
    assert told["release"] == RELEASE
    assert set(told["proteins"][0]) == {"accession", "sequence_sha256", "num_residues"}
    assert "decoding" not in told


@pytest.mark.parametrize("name", DECODED)
def test_settings_of_decoding_are_refused_with_an_index(index: NeighbourIndex, name: str) -> None:
    config = ServiceConfig(model=f"neighbours:{index.folder}")
    with pytest.raises(Refused) as refused:
        question_of(body(relative(1), **{name: DECODED[name]}), config)
    assert refused.value.status_code == 422
    assert f"{name} is {DECODED[name]}" in str(refused.value.detail)
    assert question_of(body(relative(1), **UNSAMPLED), config)


def test_a_replica_puts_facts_into_prompts_and_says_which(index: NeighbourIndex, model_folder: Path) -> None:
    """Without homologues prompt and answer are those of the model alone."""
    model, named = ProteinToText.from_pretrained(model_folder), f"neighbours:{index.folder}"
    config = ServiceConfig(model=str(model_folder), context=named, context_tokens=300)
    questions = [question_of(body(letters, max_tokens=8), config) for letters in (relative(1), residues(99))]
    context = open_context(named, 300)
    found = context.about([query_of(question, str(number)) for number, question in enumerate(questions)])
    batch = [prepare_with_facts(model, context, *pair) for pair in zip(questions, found, strict=True)]
    pieces: list[list[Piece]] = [[], []]
    for step in answer_batch(model, TransformersEngine(model), batch):
        for told, piece in zip(pieces, step, strict=True):
            told += [piece] if isinstance(piece, Piece) else []
    texts = ["".join(piece.text for piece in told) for told in pieces]
    assert batch[0].context is not None
    assert 0 < batch[0].context.num_left_out < 3
    assert batch[0].ids != prepare(model, questions[0]).ids
    assert batch[1].ids == prepare(model, questions[1]).ids
    greedy = Decoding(max_new_tokens=8)
    assert texts[0] == model.generate([batch[0].ids], [[relative(1)]], greedy)[0]
    assert texts[1] == model.ask(residues(99), QUESTION, greedy).text
    last = pieces[0][-1].details
    assert last == {"context": batch[0].context.as_dict(texts[0])}
    assert last["context"]["facts"][0]["value"] == ec(1)
    assert resolve_model(config).describe()["context"] == {**index.identity, "release": RELEASE, "max_tokens": 300}


def test_a_replica_refuses_an_index_that_changed_since_the_start(index: NeighbourIndex, tmp_path: Path) -> None:
    make_index(tmp_path / "i", [entry("P1", residues(1), *facts(1))])
    config = ServiceConfig(model=f"neighbours:{tmp_path / 'i'}")
    card = resolve_model(config)
    manifest = tmp_path / "i" / "index.json"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(CorruptCheckpoint, match=card.weights[:12]):
        Neighbours(config, card)
    with pytest.raises(ConfigError, match="context: puts facts into the prompt of a model"):
        resolve_model(ServiceConfig(model=f"neighbours:{index.folder}", context=f"neighbours:{index.folder}"))


@pytest.mark.slow
def test_a_served_model_is_given_facts_and_its_answer_says_which(
    index: NeighbourIndex, model_folder: Path, local_ray: str
) -> None:
    """Without homologues its prompt and answer are those of the model alone."""
    bodies = [body(relative(1), max_tokens=8), body(residues(99), max_tokens=8)]
    settings = {"context": f"neighbours:{index.folder}", "context_tokens": 300}
    with serving(str(model_folder), **settings) as service:
        (listed,) = httpx.get(f"{service}/v1/models").json()["data"]
        first, second, *streamed = post(service, [*bodies, *({**content, "stream": True} for content in bodies)])
    pinned = {**index.identity, "release": RELEASE, "max_tokens": 300}
    assert listed["protein2text"]["context"] == pinned
    told = first.json()["protein2text"]["context"]
    assert {**told, **pinned} == told
    assert (told["facts"][0]["value"], told["facts"][0]["accession"]) == (ec(1), "P00001")
    assert len(told["facts"]) + told["num_left_out"] == 3
    assert told["num_left_out"] > 0
    alone = ProteinToText.from_pretrained(model_folder).ask(residues(99), QUESTION, Decoding(max_new_tokens=8)).text
    assert second.json()["choices"][0]["message"]["content"] == alone
    assert second.json()["protein2text"]["context"]["facts"] == []
    for whole, stream in zip((first, second), streamed, strict=True):
        chunks = events(stream)
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        assert text == whole.json()["choices"][0]["message"]["content"]
        assert chunks[-1]["protein2text"]["context"] == whole.json()["protein2text"]["context"]
