"""Which held-out records a stage is validated on, and which proteins stand in the place of theirs.

The controls are those of the evaluation. The choice depends on the data alone, neither on the run's seed nor on the
order of files, so that the losses of two runs on one corpus can be compared.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice, zip_longest
from typing import Any

import pyarrow as pa

from protein2text.config import RunConfig
from protein2text.data.records import RECORD_SCHEMA, stream_records
from protein2text.data.split_folder import Split, load_split
from protein2text.evaluate.controls import MAX_CANDIDATES, Swapper, shuffled
from protein2text.evaluate.corpus import make_item, question_kinds
from protein2text.evaluate.facts import Vocabulary
from protein2text.train.rows import TokenizeJob, stage_messages, tokenize
from protein2text.train.separation import MIN_PROTEINS
from protein2text.train.stage_config import Stage
from protein2text.train.task import ValidationRecord

SEED = 0
"""Of swaps and shuffles, whatever the run's seed is."""


def validation_records(config: RunConfig, stage: Stage) -> tuple[tuple[ValidationRecord, ...], str]:
    """The records that a stage is validated on, of as many proteins as possible.

    Returns:
        At most ``validation.max_records`` of them, and a sentence that says what is done or why nothing is.

    Raises:
        UnusableRecord: the split does not know a protein.
        RecordError: an exchange that cannot be used.
    """
    settings = config.stage(stage)
    if not settings.validation.max_records:
        return (), "validation is off: validation.max_records is 0"
    if config.data.split is None:
        return (), "validation is off: the run has no split (data.split)"
    split = load_split(config.data.split)
    records = spread(
        record
        for record in stream_records(config.data.corpus)
        if stage_messages(record, stage) is not None and split.of_record(record) == "validation"
    )[:MAX_CANDIDATES]
    if not records:
        return (), f"validation is off: the validation side of {config.data.split} holds no record of this stage"
    found = _with_controls(records, config, stage, split)
    chosen = tuple(islice(found, settings.validation.max_records))
    if not chosen:
        return (), f"validation is off: none of {len(records)} records fits max_length and has a protein to swap with"
    interval = settings.validation.interval(len(chosen), settings.global_batch)
    num_proteins = len({record.protein for record in chosen})
    told = f"validation every {interval} steps on {len(chosen)} held-out records of {num_proteins} proteins"
    if num_proteins < MIN_PROTEINS:
        told += f"; too few to tell whether the model reads the protein, which takes {MIN_PROTEINS}"
    return chosen, told


def spread(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record of each protein, then a second one of each, and so on, in an order that only the ids decide."""
    by_protein: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in sorted(records, key=lambda record: hashlib.sha256(record["record_id"].encode()).digest()):
        by_protein[record["proteins"][0]["checksum"]].append(record)
    return [record for turn in zip_longest(*by_protein.values()) for record in turn if record is not None]


def _with_controls(
    records: list[dict[str, Any]], config: RunConfig, stage: Stage, split: Split
) -> Iterator[ValidationRecord]:
    """The records, in their order, that fit the stage's bounds with their own proteins and with swapped ones."""
    settings, bridge = config.stage(stage), config.model.bridge
    job = TokenizeJob.of(config, stage, split=None)
    rows = {row["record_id"]: row for row in tokenize(pa.Table.from_pylist(records, RECORD_SCHEMA), job).to_pylist()}

    def fits(row: dict[str, Any], sequences: list[str]) -> bool:
        num_positions: int = bridge.num_positions(len(row["ids"]), sequences)
        return num_positions <= settings.max_length and sum(map(len, sequences)) <= settings.micro_batch_residues

    records = [record for record in records if fits(row := rows[record["record_id"]], row["sequences"])]
    kinds = question_kinds(records)
    items = [make_item(record, split, {}, kinds) for record in records]
    swapper = Swapper(items, Vocabulary(item.facts for item in items if item.facts), SEED)
    for item in items:
        row, swap = rows[item.item_id], swapper.swap(item)
        swapped = [protein.sequence for protein in swap or ()]
        if swapped and fits(row, swapped):
            mixed = [shuffled(sequence, f"{SEED}/{item.item_id}/{n}") for n, sequence in enumerate(row["sequences"])]
            sequences = {"true": row["sequences"], "shuffled": mixed, "swapped": swapped}
            yield ValidationRecord(item.item_id, row["ids"], row["labels"], sequences)
