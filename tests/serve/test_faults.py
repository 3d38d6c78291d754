"""A model replica that dies: what clients see of it, and that the service comes back by itself."""

import json
import time

import httpx
import pytest
import ray

from protein2text.errors import ServiceError
from protein2text.models.chat import encode_prompt, question_messages
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText
from protein2text_serve.client import ask, ask_stream

SEQUENCE, QUESTION = "MKTAYI", "Where?"


def kill_model_replicas() -> int:
    """Kill the replicas of this cluster's model at once, as a machine that goes dark would."""
    named = ray.util.list_named_actors(all_namespaces=True)
    replicas = [actor for actor in named if actor["name"].startswith("SERVE_REPLICA::protein2text#Model#")]
    for actor in replicas:
        ray.kill(ray.get_actor(actor["name"], namespace=actor["namespace"]), no_restart=True)
    return len(replicas)


@pytest.mark.slow
def test_a_dead_replica_is_told_at_once_and_replaced(service: str, model: ProteinToText) -> None:
    prompt = encode_prompt(model.tokenizer, question_messages(QUESTION, 1))
    (expected,) = model.generate([prompt], [[SEQUENCE]], Decoding(max_new_tokens=256))
    pieces = ask_stream(service, SEQUENCE, QUESTION, max_tokens=256)
    begun = [next(pieces)]
    assert kill_model_replicas() == 1
    with pytest.raises(ServiceError, match=r"replica failed|broke off"):
        begun.extend(pieces)
    assert expected.startswith("".join(begun))
    assert "".join(begun) != expected
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        response = httpx.get(f"{service}/readyz", timeout=30)
        if response.status_code == 200:
            break
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert json.loads(response.text)["error"]["code"] == "unavailable"
        time.sleep(0.5)
    assert ask(service, SEQUENCE, QUESTION, max_tokens=256).text == expected
    assert httpx.get(f"{service}/healthz").status_code == 200
