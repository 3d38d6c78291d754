"""Both generators: JSON of the schema whatever the model, a seed per passage, and failures that stay one passage's."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from protein2text.data.qa.generator import FAILED, TOO_LONG, Request, generator_identity, request_for
from protein2text.data.qa.generator_config import GeneratorConfig
from protein2text.data.qa.grammar import ConstrainedDraw, TextGrammar
from protein2text.data.qa.openai_generator import OpenAiGenerator
from protein2text.data.qa.schema import QA_SCHEMA
from protein2text.data.qa.transformers_generator import TransformersGenerator
from protein2text.data.uniprot_rest import Patience
from protein2text.errors import ConfigError, MissingWeights, ServiceError
from protein2text.models.chat import encode_prompt
from protein2text.models.generation import Decoding
from tests.data.qa.answer_server import Reply, answer_server
from tests.data.qa.literature import passage
from tests.data.qa.random_llama import write_random_llama
from tests.data.qa.test_prompt import TINY, tiny_tokenizer

HASTY = Patience(attempts=3, first_wait_s=0.0, timeout_s=5.0)
ABSTRACT = "Insulin lowers blood glucose. It binds the insulin receptor."
PAIRS = '{"pairs": []}'


def requests(count: int, seed: int = 0) -> list[Request]:
    return [request_for(passage(number, "P01308", ["insulin"], ABSTRACT), seed) for number in range(count)]


@pytest.fixture(scope="module")
def random_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_llama(tmp_path_factory.mktemp("llama"))


def loaded(folder: Path, **decoding: Any) -> TransformersGenerator:
    return TransformersGenerator(GeneratorConfig(model=str(folder), **decoding), device="cpu")


def test_every_text_of_a_model_is_json_of_the_schema(random_llama: Path) -> None:
    generator = loaded(random_llama, max_new_tokens=9500, temperature=1.0, top_p=1.0)
    texts = generator.write(requests(4))
    assert [written.finish for written in texts] == ["stop"] * 4
    for written in texts:
        jsonschema.validate(json.loads(written.text or ""), QA_SCHEMA)
        assert "\ufffd" not in (written.text or ""), "a letter that is no UTF-8"
    assert any(json.loads(written.text or "")["pairs"] for written in texts), "else the test shows little"
    assert len({written.text for written in texts}) > 1, "each passage has a seed of its own"


@pytest.mark.parametrize(
    "wanted",
    ["01", "09", "0A", "7F", "ED A0 80", "ED BF BF", "F4 90 80 80", "C0 80", "E0 80 80", "FF", "22", "5C 75", "20"],
)
def test_what_a_model_wants_to_write_is_json_all_the_same(wanted: str) -> None:
    """Bytes that JSON or UTF-8 forbids, or blanks for ever, favored over all else wherever the grammar takes them."""
    tokenizer = tiny_tokenizer()
    stops = [tokenizer.eos_token_id]
    draw = ConstrainedDraw(TextGrammar(QA_SCHEMA, tokenizer, len(tokenizer), stops), [Decoding()])
    letters = bytes_to_unicode()
    favored = [tokenizer.convert_tokens_to_ids(letters[int(byte, 16)]) for byte in wanted.split()]
    special = [token for token in tokenizer.all_special_ids if token not in stops]
    opening, closing = (tokenizer.convert_tokens_to_ids(list(some)) for some in ("{", "]}"))
    ids: list[int] = []
    while not ids or ids[-1] not in stops:
        scores = torch.zeros(1, len(tokenizer))
        scores[0, closing], scores[0, opening], scores[0, special] = 10.0, 20.0, 30.0
        scores[0, favored[len(ids) % len(favored)]] = 40.0 if len(ids) % 7 < 5 else 0.0
        ids.append(int(draw(torch.tensor([ids]), scores).argmax()))
        assert len(ids) < 10_000
    text = tokenizer.decode(ids[:-1], clean_up_tokenization_spaces=False)
    jsonschema.validate(json.loads(text), QA_SCHEMA)
    assert json.loads(text)["pairs"], "else the test shows nothing"
    assert "\ufffd" not in text
    assert not [token for token in tokenizer.all_special_tokens if token in text]


def test_a_text_does_not_depend_on_batch_or_order(random_llama: Path) -> None:
    generator = loaded(random_llama, max_new_tokens=50, temperature=1.0, top_p=0.9)
    asked = requests(5)
    asked[2] = request_for(passage(2, "P01308", ["insulin"], ABSTRACT * 9), 0)  # another length, so others are padded
    together = generator.write(asked)
    assert generator.write(asked[::-1])[::-1] == together
    assert [generator.write([request])[0] for request in asked] == together
    assert generator.write(requests(5, seed=1)) != together


def test_a_text_cut_by_its_budget_says_so(random_llama: Path) -> None:
    assert loaded(random_llama, max_new_tokens=3, temperature=0.0).write(requests(1))[0].finish == "length"


def test_a_passage_beyond_the_context_is_refused_with_the_counts(random_llama: Path) -> None:
    generator = loaded(random_llama, max_new_tokens=40, temperature=0.0)
    asked = requests(3)
    asked[1] = request_for(passage(1, "P01308", ["insulin"], ABSTRACT * 900), 0)
    written = generator.write(asked)
    tokenizer = AutoTokenizer.from_pretrained(TINY, local_files_only=True)
    num_tokens = len(encode_prompt(tokenizer, asked[1].messages))
    assert num_tokens > 12_000
    assert [outcome.reason for outcome in written] == [None, TOO_LONG, None]
    assert f"{num_tokens} prompt tokens + max_new_tokens=40 are {num_tokens + 40}" in (written[1].message or "")
    assert "holds 12000" in (written[1].message or "")
    assert written[1].text is None
    assert written[::2] == generator.write(asked[::2]), "its neighbors are not touched"


def test_a_batch_that_fails_is_written_one_by_one(random_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = loaded(random_llama, max_new_tokens=10, temperature=1.0, top_p=1.0)
    asked = requests(4)
    whole = generator.write(asked)
    forward = generator._model.forward

    def out_of_memory(*arguments: Any, **named: Any) -> Any:
        rows = named["input_ids"].shape[0]
        if rows > 1 or named["input_ids"].shape[1] == poisoned:
            raise torch.OutOfMemoryError("no memory is left")
        return forward(*arguments, **named)

    longer = request_for(passage(9, "P01308", ["insulin"], ABSTRACT * 2), 0)
    poisoned = len(encode_prompt(generator._tokenizer, longer.messages))
    monkeypatch.setattr(generator._model, "forward", out_of_memory)
    written = generator.write([*asked, longer])
    assert written[:4] == whole
    assert written[4].reason == FAILED
    assert "no memory is left" in (written[4].message or "")


def test_a_model_is_named_by_its_files_wherever_they_lie(random_llama: Path, tmp_path: Path) -> None:
    here = generator_identity(GeneratorConfig(model=str(random_llama)))
    moved = tmp_path / random_llama.name
    moved.symlink_to(random_llama)
    assert generator_identity(GeneratorConfig(model=str(moved))) == here
    assert here["revision"].startswith("sha256:")
    tiny = generator_identity(GeneratorConfig(model="preset:tiny/llama"))
    assert tiny["model"] == "preset:tiny/llama"
    assert tiny["revision"] != here["revision"]
    with pytest.raises(MissingWeights, match="without a revision"):
        generator_identity(GeneratorConfig(model="someone/something"))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"url": "gpu:8000"}, "no http address"),
        ({"url": "http://user:secret@gpu/v1"}, "OPENAI_API_KEY"),
        ({"top_p": 0.0}, "top_p"),
        ({"temprature": 1}, "did you mean"),
    ],
)
def test_settings_that_do_not_fit_are_named(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as raised:
        GeneratorConfig.parse({"model": "m", **changed})
    assert "secret" not in str(raised.value)


def client(url: str, **changed: Any) -> OpenAiGenerator:
    config = GeneratorConfig(model="llama", url=url, max_new_tokens=77, temperature=0.5, top_p=0.8)
    return OpenAiGenerator(config, concurrency=3, api_key="sesame", patience=HASTY, **changed)


def test_a_service_is_asked_for_the_schema_with_the_passages_own_seed() -> None:
    with answer_server(lambda body: Reply(PAIRS)) as server:
        written = client(server.url + "/").write(requests(7))
    assert [outcome.text for outcome in written] == [PAIRS] * 7
    body = server.asked[0]
    assert body["model"] == "llama"
    assert (body["max_tokens"], body["temperature"], body["top_p"]) == (77, 0.5, 0.8)
    assert body["response_format"]["json_schema"]["schema"] == QA_SCHEMA
    assert {body["seed"] for body in server.asked} == {request.seed for request in requests(7)}
    assert len({request.seed for request in requests(7)}) == 7
    assert set(server.keys) == {"Bearer sesame"}


def test_answers_come_back_in_the_order_of_the_requests() -> None:
    asked = requests(12)
    with answer_server(lambda body: Reply(str(body["seed"]))) as server:
        written = client(server.url).write(asked)
    assert [outcome.text for outcome in written] == [str(request.seed) for request in asked]


def test_passing_failures_are_tried_again() -> None:
    replies = itertools.chain(
        [Reply(status=429, body="busy"), Reply(status=503, body="busy")], itertools.repeat(Reply(PAIRS))
    )
    with answer_server(lambda body: next(replies)) as server:
        assert client(server.url).write(requests(1))[0].text == PAIRS
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("reply", "problem", "num_asked"),
    [
        (Reply(status=500, body="it broke"), "HTTP 500: it broke, 3 times", 3),
        (Reply(status=400, body="maximum context length is 8192 tokens"), "HTTP 400: maximum context length", 1),
        (Reply(body="<html>a proxy's page</html>"), "no chat completion .*a proxy's page", 1),
        (Reply(body='{"choices": []}'), "no chat completion", 1),
        (
            Reply(body='{"choices": [{"message": {"content": null}, "finish_reason": "content_filter"}]}'),
            "content_filter",
            1,
        ),
    ],
)
def test_a_lasting_failure_is_that_passages_own(reply: Reply, problem: str, num_asked: int) -> None:
    asked = requests(3)

    def answer(body: dict[str, Any]) -> Reply:
        return reply if body["seed"] == asked[1].seed else Reply(PAIRS)

    with answer_server(answer) as server:
        written = client(server.url).write(asked)
    assert [outcome.reason for outcome in written] == [None, FAILED, None]
    assert written[1].text is None
    assert num_asked == sum(body["seed"] == asked[1].seed for body in server.asked)
    assert re.search(problem, written[1].message or "")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_of_everything_ends_the_run(status: int) -> None:
    with (
        answer_server(lambda body: Reply(status=status, body="not you")) as server,
        pytest.raises(ServiceError, match=rf"HTTP {status}: not you.*OPENAI_API_KEY") as raised,
    ):
        client(server.url).write(requests(1))
    assert "sesame" not in str(raised.value)


def test_no_connection_is_a_failure_of_the_passage() -> None:
    written = client("http://127.0.0.1:9/v1").write(requests(1))
    assert written[0].reason == FAILED
    assert "ConnectError" in (written[0].message or "")


def test_half_a_surrogate_pair_can_be_stored() -> None:
    body = '{"choices": [{"message": {"content": "a\\ud800b"}, "finish_reason": "length"}]}'
    with answer_server(lambda _: Reply(body=body)) as server:
        (written,) = client(server.url).write(requests(1))
    assert written.text == "a\\ud800b"
    assert written.finish == "length"
