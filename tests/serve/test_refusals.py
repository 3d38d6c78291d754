"""What the service refuses, over real HTTP: each with its status, and a message with value, place, limit and remedy."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

PROTEIN = {"type": "protein", "protein": {"sequence": "MKTAYIAKQR"}}
SYSTEM = {"role": "system", "content": "Be brief."}
TEXT = {"type": "text", "text": "What does it bind?"}


def body(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts or (PROTEIN, TEXT))}], **more}


def protein(**fields: Any) -> dict[str, Any]:
    return {"type": "protein", "protein": fields}


def refused(response: httpx.Response, status: int, *fragments: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    for fragment in fragments:
        assert fragment in error["message"]
    return dict(error)


BAD_SHAPES: list[tuple[dict[str, Any], str | None, tuple[str, ...]]] = [
    ({}, "messages", ("messages", "required")),
    (body(temperature="hot"), "temperature", ("temperature", "number")),
    (body(temprature=1), None, ("'temprature'", "temperature")),
    (body(tools=[]), None, ("'tools'", "unknown key")),
    (body(protein(), TEXT), "messages[0].content[0].protein", ("exactly one of 'sequence' and 'fasta'",)),
    (body(protein(sequence="MK", fasta=">a\nMK"), TEXT), None, ("exactly one of 'sequence' and 'fasta'",)),
    (body({"type": "image_url", "image_url": {}}), None, ("'protein'", "'text'", "image_url")),
    ({"messages": []}, "messages", ("at least 1",)),
    ({"messages": [{"role": "wizard", "content": "x"}]}, None, ("'user'",)),
]


@pytest.mark.parametrize(("request_body", "param", "fragments"), BAD_SHAPES)
def test_a_request_of_another_shape_is_400(
    service: str, request_body: dict[str, Any], param: str | None, fragments: tuple[str, ...]
) -> None:
    error = refused(httpx.post(f"{service}/v1/chat/completions", json=request_body), 400, *fragments)
    assert param is None or error["param"] == param


LIMITS: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
    (
        body(protein(sequence="MKTJY"), TEXT),
        "messages[0].content[0].protein",
        ("messages[0].content[0].protein", "residue 4", "'J'", "X for an unknown"),
    ),
    (body(TEXT, protein(fasta=">sp|P1|X\nMK1")), "messages[0].content[1].protein", ("P1", "residue 3", "'1'")),
    (body(protein(sequence=" \n"), TEXT), "messages[0].content[0].protein", ("0 residues", "at least 1")),
    (body(protein(sequence="M" * 65), TEXT), "messages[0].content[0].protein", ("65 residues", "max_residues=64")),
    (body(protein(fasta=">a\nMK\n>b\nMK"), TEXT), "messages[0].content[0].protein", ("2 records", "exactly 1")),
    (body(TEXT), "messages[0].content", ("0 proteins", "1 to 2", "Add parts")),
    (body(PROTEIN, PROTEIN, PROTEIN, TEXT), "messages[0].content", ("3 proteins", "1 to 2", "Split")),
    (body(PROTEIN), "messages[0].content", ("empty question",)),
    (body(PROTEIN, {"type": "text", "text": "<protein_sequence> ?"}), "messages[0].content", ("<protein_sequence>",)),
    ({"messages": [SYSTEM, *body()["messages"]]}, "messages", ("[system, user]", "one user message")),
    ({"messages": [*body()["messages"], {"role": "assistant", "content": "x"}]}, "messages", ("[user, assistant]",)),
    (body(n=2), "n", ("n is 2", "exactly 1")),
    (body(max_tokens=257), "max_tokens", ("257", "1 to 256", "shorter")),
    (body(max_tokens=0), "max_tokens", ("0", "1 to 256")),
    (body(max_completion_tokens=-1), "max_tokens", ("-1",)),
    (body(max_tokens=4, max_completion_tokens=4), "max_tokens", ("one of both",)),
    (body(temperature=2.5), "temperature", ("2.5", "0 to 2")),
    (body(top_p=0), "top_p", ("top_p is 0",)),
    (body(seed=-1), "seed", ("-1",)),
    (body(PROTEIN, {"type": "text", "text": "why? " * 200}), "messages", ("prompt tokens", "512 tokens", "Shorten")),
]  # fmt: skip


@pytest.mark.parametrize(("request_body", "param", "fragments"), LIMITS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_request_outside_a_limit_is_422(
    service: str, request_body: dict[str, Any], param: str, fragments: tuple[str, ...], stream: bool
) -> None:
    response = httpx.post(f"{service}/v1/chat/completions", json={**request_body, "stream": stream}, timeout=30)
    error = refused(response, 422, *fragments)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


def test_another_model_is_404_and_names_the_one_here(service: str) -> None:
    response = httpx.post(f"{service}/v1/chat/completions", json=body(model="gpt-5"))
    assert refused(response, 404, "'gpt-5'", "'tiny-random'")["code"] == "model_not_found"


def test_an_unknown_path_is_404_in_the_same_shape(service: str) -> None:
    refused(httpx.get(f"{service}/v1/nothing"), 404, "Not Found")


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"{", "not JSON"),
        (b"", "JSON object"),
        (b"[" * 100_000, "JSON"),
        (b'"text"', "JSON object"),
        (b"\xff\xfe", "JSON"),
    ],
)
def test_a_body_that_is_no_json_object_is_400(service: str, content: bytes, fragment: str) -> None:
    headers = {"content-type": "application/json"}
    refused(httpx.post(f"{service}/v1/chat/completions", content=content, headers=headers), 400, fragment)


def test_text_that_is_no_unicode_is_400(service: str) -> None:
    content = json.dumps(body(PROTEIN, {"type": "text", "text": "\ud800"}))
    headers = {"content-type": "application/json"}
    response = httpx.post(f"{service}/v1/chat/completions", content=content, headers=headers)
    assert refused(response, 400, "unicode")["param"] == "messages[0].content[1].text"


def test_a_form_post_from_a_web_page_is_400(service: str) -> None:
    content, headers = json.dumps(body()), {"content-type": "text/plain"}
    response = httpx.post(f"{service}/v1/chat/completions", content=content, headers=headers)
    refused(response, 400, "application/json")


def test_a_body_above_the_limit_is_413_whatever_it_says_of_its_length(service: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(17):
            yield b" " * 65536

    url, headers = f"{service}/v1/chat/completions", {"content-type": "application/json"}
    refused(httpx.post(url, content=b" " * (1 << 20) + b"{", headers=headers), 413, "1048576 bytes", "shorter")
    refused(httpx.post(url, content=chunks(), headers=headers), 413, "1048576 bytes")
    assert httpx.get(f"{service}/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/v1/chat/completions"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_header_is_403(service: str, path: str, host: str) -> None:
    refused(httpx.get(f"{service}{path}", headers={"host": host}), 403, "allowed_hosts")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:80", "[::1]", "[::1]:8000"])
def test_names_of_this_machine_are_served(service: str, host: str) -> None:
    assert httpx.get(f"{service}/healthz", headers={"host": host}).status_code == 200


def test_no_answer_allows_other_origins(service: str) -> None:
    response = httpx.get(f"{service}/v1/models", headers={"origin": "http://evil.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]
