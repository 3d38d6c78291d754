"""Answers to requests: an answerer in this process, or one model per actor of a Ray Data pool."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import ray
import ray.data
from numpy.typing import NDArray

from protein2text.answerers import AnswerConfig, Answerer, Query, Reply, open_answerer
from protein2text.evaluate.controls import Request
from protein2text.evaluate.evaluation_config import EvaluationConfig
from protein2text.evaluate.exposure import own_entries
from protein2text.models.chat import question_of
from protein2text.proteins import Protein
from protein2text.resources import cluster_supply, ray_session, require
from protein2text.train.stage_config import ScalingConfig

logger = logging.getLogger(__name__)

OnEvent = Callable[[dict[str, Any]], None]

_REMEDY = "Lower evaluation.num_actors, set it to 0 to answer in this process, or give Ray more."
ROWS_PER_BLOCK = 128
"""Requests of one Ray Data block; without it a small evaluation is one block and one actor does everything."""


def decoding_of(config: EvaluationConfig) -> AnswerConfig:
    """How a model answers in an evaluation."""
    names = ("max_new_tokens", "temperature", "top_p", "seed", "batch_tokens", "batch_residues")
    return AnswerConfig(**{name: getattr(config, name) for name in names})


def _query(id: str, request: Request) -> Query:
    proteins = tuple(map(Protein, request.accessions, request.sequences))
    return Query(
        id, f"{request.item_id}/{request.control}", question_of(request.messages), proteins, request.messages,
        without=frozenset(name for accession in request.accessions for name in own_entries(accession)),
    )  # fmt: skip


class _Actor:
    """A Ray Data worker that loads the model once and answers blocks of requests."""

    def __init__(self, model_dir: str, config: EvaluationConfig) -> None:
        self._answerer = open_answerer(model_dir, decoding_of(config))

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        replies = answer_here(self._answerer, [_decode(text) for text in batch["request"]], lambda event: None)
        rows = [json.dumps(asdict(reply)) for reply in replies]
        return {"place": batch["place"], "reply": np.array(rows, dtype=object)}


def _decode(text: str) -> Request:
    fields = json.loads(text)
    return Request(
        item_id=fields["item_id"],
        control=fields["control"],
        messages=tuple(fields["messages"]),
        sequences=tuple(fields["sequences"]),
        accessions=tuple(fields["accessions"]),
    )


def answer_here(answerer: Answerer, requests: Sequence[Request], on_event: OnEvent) -> list[Reply]:
    """The answerer's replies, in the order of the requests. A protein that is shown is never evidence for itself."""
    found: dict[int, Reply] = {}
    for replies in answerer.answer([_query(str(place), request) for place, request in enumerate(requests)]):
        found.update({int(reply.id): reply for reply in replies})
        on_event({"stage": "evaluation", "step": len(found), "num_steps": len(requests)})
    return [found[place] for place in range(len(requests))]


def answer_on_ray(
    model_dir: str, requests: Sequence[Request], config: EvaluationConfig, on_event: OnEvent
) -> list[Reply]:
    """Answer on a pool of actors, each of which holds the model once.

    Raises:
        ResourcesUnavailable: the cluster can never place the actors; said at once instead of waiting.
    """
    scaling = ScalingConfig(
        num_workers=config.num_actors, cpus_per_worker=config.cpus_per_actor, gpus_per_worker=config.gpus_per_actor
    )
    with ray_session(scaling):
        require(scaling, cluster_supply(), called="actors", remedy=_REMEDY)
        rows = [{"place": place, "request": json.dumps(asdict(request))} for place, request in enumerate(requests)]
        answered = (
            ray.data.from_items(rows)
            .repartition(target_num_rows_per_block=ROWS_PER_BLOCK)
            .map_batches(
                _Actor,
                fn_constructor_args=(model_dir, config),
                compute=ray.data.ActorPoolStrategy(size=config.num_actors),
                num_cpus=config.cpus_per_actor,
                num_gpus=config.gpus_per_actor or None,
                batch_size=None,
            )
        )
        found: dict[int, Reply] = {}
        for batch in answered.iter_batches(batch_size=None, batch_format="numpy"):
            replies = [Reply(**json.loads(text)) for text in batch["reply"].tolist()]
            found.update(zip(batch["place"].tolist(), replies, strict=True))
            on_event({"stage": "evaluation", "step": len(found), "num_steps": len(requests)})
    return [found[place] for place in range(len(requests))]
