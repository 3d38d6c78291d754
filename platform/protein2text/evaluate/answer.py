"""Answers to requests: the model in this process, or one model per actor of a Ray Data pool."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import ray
import ray.data
import torch
from numpy.typing import NDArray

from protein2text.evaluate.controls import Request
from protein2text.evaluate.evaluation_config import EvaluationConfig
from protein2text.generate.batch_answers import BatchAnswerer, Inquiry, Limits
from protein2text.generate.seeds import record_seed
from protein2text.generate.transformers_engine import TransformersEngine
from protein2text.models.chat import encode_prompt
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText
from protein2text.resources import cluster_supply, ray_session, require
from protein2text.train.stage_config import ScalingConfig

logger = logging.getLogger(__name__)

Answerer = Callable[[Sequence[Request]], list[str]]
"""Answers requests, in their order."""
OnEvent = Callable[[dict[str, Any]], None]

_REMEDY = "Lower evaluation.num_actors, set it to 0 to answer in this process, or give Ray more."
ROWS_PER_BLOCK = 128
"""Requests of one Ray Data block; without it a small evaluation is one block and one actor does everything."""


class ModelAnswerer:
    """A loaded model that answers in batches bounded by tokens."""

    def __init__(self, model_dir: str, config: EvaluationConfig) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = ProteinToText.from_pretrained(model_dir).to(device).eval()
        self._config = config
        limits = Limits(tokens=config.batch_tokens, residues=config.batch_residues)
        self._answerer = BatchAnswerer(self._model, TransformersEngine(self._model), limits)

    def __call__(self, requests: Sequence[Request]) -> list[str]:
        answers = [""] * len(requests)
        inquiries = [self._inquiry(place, request) for place, request in enumerate(requests)]
        for finished in self._answerer.answer(inquiries):
            for answer in finished:
                answers[int(answer.id)] = self._model.decoder.text_of(answer.ids)
        return answers

    def _inquiry(self, place: int, request: Request) -> Inquiry:
        decoding = Decoding(
            max_new_tokens=self._config.max_new_tokens,
            temperature=self._config.temperature,
            top_p=self._config.top_p,
            seed=record_seed(self._config.seed, f"{request.item_id}/{request.control}"),
        )
        ids = encode_prompt(self._model.tokenizer, request.messages)
        return Inquiry(str(place), ids, request.sequences, decoding)


class _Actor:
    """A Ray Data worker that loads the model once and answers blocks of requests."""

    def __init__(self, model_dir: str, config: EvaluationConfig) -> None:
        self._answerer = ModelAnswerer(model_dir, config)

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        answers = self._answerer([_decode(text) for text in batch["request"]])
        return {"place": batch["place"], "answer": np.array(answers, dtype=object)}


def _decode(text: str) -> Request:
    fields = json.loads(text)
    return Request(
        item_id=fields["item_id"],
        control=fields["control"],
        messages=tuple(fields["messages"]),
        sequences=tuple(fields["sequences"]),
        accessions=tuple(fields["accessions"]),
    )


def answer_here(answerer: Answerer, requests: Sequence[Request], on_event: OnEvent) -> list[str]:
    """Answer in this process, reporting progress block by block."""
    answers: list[str] = []
    for start in range(0, len(requests), ROWS_PER_BLOCK):
        answers += answerer(requests[start : start + ROWS_PER_BLOCK])
        on_event({"stage": "evaluation", "step": len(answers), "num_steps": len(requests)})
    return answers


def answer_on_ray(
    model_dir: str, requests: Sequence[Request], config: EvaluationConfig, on_event: OnEvent
) -> list[str]:
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
        answers: dict[int, str] = {}
        for batch in answered.iter_batches(batch_size=None, batch_format="numpy"):
            answers.update(zip(batch["place"].tolist(), batch["answer"].tolist(), strict=True))
            on_event({"stage": "evaluation", "step": len(answers), "num_steps": len(requests)})
    return [answers[place] for place in range(len(requests))]
