"""The small client against the real service."""

import httpx
import pytest

from protein2text.errors import ServiceError
from protein2text.models.chat import encode_prompt, question_messages
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText
from protein2text_serve.client import ask, ask_stream

FASTA = ">sp|P01308|INS_HUMAN Insulin\nFVNQHLCGSHLVEALY\nLVCGERGFFYTPKT\n"
SEQUENCE = "FVNQHLCGSHLVEALYLVCGERGFFYTPKT"


def test_ask_gives_the_models_answer_and_its_provenance(service: str, model: ProteinToText) -> None:
    prompt = encode_prompt(model.tokenizer, question_messages("Where?", 2))
    (expected,) = model.generate([prompt], [[SEQUENCE, "MKT"]], Decoding(max_new_tokens=20))
    answer = ask(service, [FASTA, "MKT"], "Where?", max_tokens=20)
    assert answer.text == expected
    assert answer.finish in {"stop", "length"}
    assert [protein["accession"] for protein in answer.provenance["proteins"]] == ["P01308", ""]
    assert "".join(ask_stream(service, [FASTA, "MKT"], "Where?", max_tokens=20)) == expected


@pytest.mark.parametrize("call", [ask, lambda *arguments: list(ask_stream(*arguments))])
def test_a_refusal_carries_the_services_own_words(service: str, call: object) -> None:
    assert callable(call)
    with pytest.raises(ServiceError, match=r"422.*residue 3: 'J'.*X for an unknown residue") as caught:
        call(service, "MKJ", "Where?")
    assert caught.value.url == service


def test_no_service_is_an_error_that_says_how_to_start_one() -> None:
    with pytest.raises(ServiceError, match=r"http://127.0.0.1:9.*protein2text serve"):
        ask("http://127.0.0.1:9", "MK", "Where?")


def test_another_service_is_told_apart(service: str) -> None:
    with pytest.raises(ServiceError, match="404"):
        ask(f"{service}/elsewhere", "MK", "Where?")
    with pytest.raises(ServiceError):
        ask("not a url", "MK", "Where?")


def test_an_openai_shaped_request_needs_no_client_of_ours(service: str) -> None:
    content = [{"type": "protein", "protein": {"fasta": FASTA}}, {"type": "text", "text": "Where?"}]
    request = {
        "model": "tiny-random",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 8,
        "user": "me",
    }
    response = httpx.post(f"{service}/v1/chat/completions", json=request, timeout=60).json()
    assert response["object"] == "chat.completion"
    assert response["choices"][0]["message"]["content"] == ask(service, FASTA, "Where?", max_tokens=8).text
