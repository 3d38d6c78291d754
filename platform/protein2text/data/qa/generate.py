"""Step 1: passages to texts, on a pool of generators in Ray Data. Dear, so whatever is done is never done again."""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import ray
import ray.data

from protein2text.data.passages import PASSAGE_SCHEMA, Passage
from protein2text.data.qa.generated_folder import GENERATED_SCHEMA, GeneratedFolder, GeneratedRow
from protein2text.data.qa.generator import FAILED, Written, build_generator, generator_identity, request_for
from protein2text.data.qa.generator_config import GeneratorConfig, GeneratorScaling
from protein2text.data.qa.passage_checks import passage_problem
from protein2text.data.qa.passage_folder import PassageFolder, read_group
from protein2text.data.qa.prompt import PROMPT_SHA256, PROMPT_VERSION
from protein2text.data.qa.rules import QaRules
from protein2text.data.qa.schema import QA_SCHEMA
from protein2text.errors import ServiceError
from protein2text.resources import cluster_supply, require

logger = logging.getLogger(__name__)

API_KEY_VARIABLE = "OPENAI_API_KEY"
_REMEDY = "Ask for fewer --workers, or give Ray more, such as with `ray start`."
GIVE_UP_AFTER = 20
"""Passages that fail one after the other until the run stops: then the generator is at fault, not the passages."""

Progress = Callable[[dict[str, Any]], None]
"""Called with ``{"stage": str, "step": int, "num_steps": int, "message": str}`` as the work goes on."""


def literature_mark(passages: PassageFolder) -> dict[str, Any]:
    """What tells one literature from another."""
    return {"passages": len(passages.place), "sha256": passages.checksum()}


def generation_header(passages: PassageFolder, config: GeneratorConfig, rules: QaRules) -> dict[str, Any]:
    """Everything that the texts depend on, and nothing else.

    Raises:
        MissingWeights: the generator is not there.
    """
    return {
        "literature": literature_mark(passages),
        "generator": generator_identity(config),
        "prompt": {"version": PROMPT_VERSION, "sha256": PROMPT_SHA256},
        "schema": QA_SCHEMA,
        "decoding": config.decoding,
        "seed": config.seed,
        "licences": list(rules.licences),
    }


def generate(
    passages: PassageFolder,
    texts: GeneratedFolder,
    config: GeneratorConfig,
    rules: QaRules,
    scaling: GeneratorScaling,
    progress: Progress | None = None,
) -> None:
    """Write texts for the passages that have none.

    Args:
        passages: of the literature.
        texts: what was written before, and what more is written to; its header says what they are made with.
        config: the generator; a service's key is read from the environment variable OPENAI_API_KEY.
        rules: a passage that they refuse whole is not given to a generator.
        scaling: how many run.
        progress: told the passages that are done.

    Raises:
        ResourcesUnavailable: the cluster can never hold the generators, with the arithmetic.
        ServiceError: the service serves none of the requests; what it wrote before is kept.
        MissingWeights: the model is not there, or has no chat template.
    """
    done = texts.ids("generated")
    tasks = _plan(passages, done)
    require(scaling, cluster_supply(), called="generators", spare_for="to read passages", remedy=_REMEDY)
    texts.reopen()
    logger.info("%d of %d passages have no text yet", len(passages.place) - len(done), len(passages.place))
    header = texts.header or {}
    marks = {key: json.dumps(header[key], sort_keys=True) for key in ("generator", "decoding")}
    arguments = {
        "config": config,
        "rules": rules,
        "scaling": scaling,
        "marks": marks,
        "api_key": _Secret.from_environment(),
    }
    batches = (
        ray.data.from_items(tasks, override_num_blocks=len(tasks))
        .map_batches(read_pending, batch_size=1, batch_format="pyarrow")
        .repartition(target_num_rows_per_block=scaling.batch_passages)
        .map_batches(
            WritePassages,
            fn_constructor_kwargs=arguments,
            compute=ray.data.ActorPoolStrategy(size=scaling.num_workers),
            num_cpus=scaling.cpus_per_worker,
            num_gpus=scaling.gpus_per_worker,
            batch_size=scaling.batch_passages,
            batch_format="pyarrow",
        )
        .iter_batches(batch_format="pyarrow", batch_size=None)
    )
    failures = Failures(config.url or config.model)
    for table in batches:
        rows: list[GeneratedRow] = cast(pa.Table, table).to_pylist()
        failed = [row for row in rows if row["reason"] == FAILED]
        texts.add([row for row in rows if row["reason"] != FAILED], failed=failed)
        failures.count(rows)
        if progress is not None:
            message = f"{failures.total} failed" if failures.total else ""
            step = len(done) + failures.num_rows
            progress({"stage": "generate", "step": step, "num_steps": len(passages.place), "message": message})
    texts.flush()


def _plan(passages: PassageFolder, done: set[str]) -> list[dict[str, Any]]:
    """What is to be read: row groups, and in each the rows whose passages have no text."""
    tasks = []
    for group, ids in passages.groups.items():
        if rows := [row for row, passage_id in enumerate(ids) if passage_id not in done]:
            tasks.append({"path": group.path, "group": group.number, "rows": rows})
    return tasks


def read_pending(batch: pa.Table) -> pa.Table:
    """Passages of planned rows."""
    parts = [read_group(task["path"], task["group"]).take(task["rows"]) for task in batch.to_pylist()]
    return pa.concat_tables([PASSAGE_SCHEMA.empty_table(), *parts])


@dataclass(frozen=True)
class _Secret:
    """A key that no log or error shows."""

    value: str | None

    @classmethod
    def from_environment(cls) -> "_Secret":
        return cls(os.environ.get(API_KEY_VARIABLE) or None)

    def __repr__(self) -> str:
        return "_Secret(...)"


class WritePassages:
    """An actor of the pool: one generator."""

    def __init__(
        self,
        config: GeneratorConfig,
        rules: QaRules,
        scaling: GeneratorScaling,
        marks: dict[str, str],
        api_key: _Secret,
    ) -> None:
        self._seed, self._rules, self._marks = config.seed, rules, marks
        self._generator = build_generator(config, scaling, api_key.value)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Passages (``PASSAGE_SCHEMA``) to texts (``GENERATED_SCHEMA``), row for row."""
        passages = [cast(Passage, passage) for passage in batch.to_pylist()]
        outcomes: list[Written | None] = []
        for passage in passages:
            problem = passage_problem(passage, self._rules)
            outcomes.append(Written(None, reason=problem.reason, message=problem.message) if problem else None)
        requests = [request_for(passage, self._seed) for passage in passages]
        asked = [request for request, outcome in zip(requests, outcomes, strict=True) if outcome is None]
        texts = iter(self._generator.write(asked))
        rows: list[GeneratedRow] = [
            {
                "passage_id": request.passage_id,
                "text": written.text,
                "finish": written.finish,
                "reason": written.reason,
                "message": written.message,
                "generator": self._marks["generator"],
                "prompt_version": PROMPT_VERSION,
                "decoding": self._marks["decoding"],
                "seed": request.seed,
            }
            for request, written in zip(requests, (outcome or next(texts) for outcome in outcomes), strict=True)
        ]
        return pa.Table.from_pylist(rows, schema=GENERATED_SCHEMA)


class Failures:
    """Counts rows, and ends a run whose generator fails at everything."""

    def __init__(self, generator: str) -> None:
        self._generator = generator
        self.num_rows = self.total = self._in_a_row = 0

    def count(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take rows of texts.

        Raises:
            ServiceError: ``GIVE_UP_AFTER`` failed one after the other.
        """
        for row in rows:
            self.num_rows += 1
            failed = row["reason"] == FAILED
            self.total += failed
            self._in_a_row = self._in_a_row + 1 if failed else 0
            if self._in_a_row >= GIVE_UP_AFTER:
                problem = f"{GIVE_UP_AFTER} passages failed one after the other, the last with: {row['message']}"
                remedy = "What was generated is kept; mend the generator and give the same command again."
                raise ServiceError(self._generator, problem, remedy)
