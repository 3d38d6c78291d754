"""Batches against one question at a time with transformers' own generation, and what is in memory meanwhile."""

import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from protein2text.generate.batch_answers import BatchAnswerer, Inquiry, Limits
from protein2text.generate.engine import Answer, Prompt
from protein2text.generate.transformers_engine import TransformersEngine
from protein2text.models.generation import Decoding, generate
from protein2text.models.protein_to_text import ProteinToText
from tests.generate.conftest import NUM_LATENTS, BridgeKind, records, save_model, sequence

LIMITS = [Limits(1, 1), Limits(150, 100), Limits(701, 1000), Limits(100_000, 100_000)]


def inquiries(model: ProteinToText, count: int, decoding: Decoding) -> list[Inquiry]:
    found = []
    for number, row in enumerate(records(count)):
        sequences = row["amino_seq"] if isinstance(row["amino_seq"], list) else [row["amino_seq"]]
        question = row["conversations"][0]["value"].replace("<protein_sequence>\n", "")
        settings = decoding.model_copy(update={"seed": decoding.seed + number})
        found.append(Inquiry(str(number), model.encode_question(question, len(sequences)), tuple(sequences), settings))
    return found


def answer(model: ProteinToText, asked: Sequence[Inquiry], limits: Limits) -> dict[str, Answer]:
    answerer = BatchAnswerer(model, TransformersEngine(model), limits)
    answers = [found for step in answerer.answer(asked) for found in step]
    assert len({found.id for found in answers}) == len(answers) == len(asked)
    return {found.id: found for found in answers}


def alone_ids(model: ProteinToText, asked: Sequence[Inquiry]) -> dict[str, list[int]]:
    """Greedy token ids of each question alone, decoded by transformers."""
    ids = {}
    for inquiry in asked:
        bank = [model.latent_bank({sequence})[sequence] for sequence in inquiry.sequences]
        (ids[inquiry.id],) = generate(model.decoder, [model.embed_prompt(inquiry.ids, bank)], inquiry.decoding)
    return ids


@pytest.fixture(scope="module")
def alone(model: ProteinToText) -> dict[str, list[int]]:
    return alone_ids(model, inquiries(model, 40, Decoding(max_new_tokens=37)))


@pytest.mark.parametrize("limits", LIMITS)
def test_batched_answers_are_those_of_one_at_a_time(
    model: ProteinToText, alone: dict[str, list[int]], limits: Limits
) -> None:
    answers = answer(model, inquiries(model, 40, Decoding(max_new_tokens=37)), limits)
    assert {id: found.ids for id, found in answers.items()} == alone
    assert {found.finish for found in answers.values()} == {"stop", "length"}
    assert all((found.finish == "length") == (len(found.ids) == 37) for found in answers.values())


@pytest.mark.parametrize("kind", ["projector", "gated_cross_attention"])
def test_other_bridges_answer_alike_in_batches(tmp_path: Path, kind: BridgeKind) -> None:
    """A projector's proteins differ in rows; with cross-attention the rows depend on the question too."""
    model = ProteinToText.from_pretrained(save_model(tmp_path, 3, kind))
    asked = [inquiry for inquiry in inquiries(model, 17, Decoding(max_new_tokens=9)) if len(inquiry.sequences) == 1]
    expected = alone_ids(model, asked)
    assert len(set(map(tuple, expected.values()))) > 5
    for limits in (Limits(333, 300), LIMITS[-1]):
        assert {id: found.ids for id, found in answer(model, asked, limits).items()} == expected


@pytest.mark.parametrize("limits", LIMITS[:-1])
def test_sampled_answers_depend_on_neither_order_nor_batch(model: ProteinToText, limits: Limits) -> None:
    asked = inquiries(model, 30, Decoding(max_new_tokens=20, temperature=0.9, top_p=0.8, seed=11))
    assert answer(model, asked[::-1], limits) == answer(model, asked, LIMITS[-1])


def test_rows_that_end_make_room_for_others(model: ProteinToText) -> None:
    asked = inquiries(model, 60, Decoding(max_new_tokens=150, temperature=3.0))
    engine = TransformersEngine(model)
    steps = BatchAnswerer(model, engine, Limits(2000, 1000)).answer(asked)
    lengths = [len(found.ids) for step in steps for found in step]
    num_rows = 2000 // 150
    static = sum(max(lengths[start : start + num_rows]) for start in range(0, 60, num_rows))
    assert engine.stats().num_steps < 0.8 * static
    assert engine.stats().num_requests == 60
    assert engine.stats().num_active == 0


@pytest.mark.parametrize("limits", LIMITS)
def test_each_sequence_is_encoded_once_within_the_bound(model: ProteinToText, limits: Limits) -> None:
    passes: list[tuple[int, ...]] = []
    hook = model.encoder.register_forward_pre_hook(lambda _, arguments: passes.append(arguments[0].lengths))
    asked = inquiries(model, 40, Decoding(max_new_tokens=2))
    try:
        answerer = BatchAnswerer(model, TransformersEngine(model), limits)
        list(answerer.answer(asked))
    finally:
        hook.remove()
    distinct = {name for inquiry in asked for name in inquiry.sequences}
    assert sorted(length - 2 for lengths in passes for length in lengths) == sorted(map(len, distinct))
    assert all(len(lengths) == 1 or sum(lengths) - 2 * len(lengths) <= limits.residues for lengths in passes)
    assert (answerer.num_encoded, answerer.num_encoder_passes) == (len(distinct), len(passes))
    assert answerer.num_hits == sum(len(inquiry.sequences) for inquiry in asked) - len(distinct)


@pytest.mark.parametrize("limits", LIMITS[1:3])
def test_the_decoder_never_holds_more_than_the_bound(model: ProteinToText, limits: Limits) -> None:
    sizes: list[tuple[int, int]] = []
    hook = model.decoder.language_model.register_forward_pre_hook(
        lambda _, __, named: sizes.append(tuple(named["attention_mask"].shape)), with_kwargs=True
    )
    try:
        answer(model, inquiries(model, 40, Decoding(max_new_tokens=30)), limits)
    finally:
        hook.remove()
    assert all(rows == 1 or rows * columns <= limits.tokens for rows, columns in sizes)
    assert max(rows for rows, _ in sizes) > 1


class Reader:
    """An engine that reads prompts one by one and looks how many latents live at that moment."""

    def __init__(self) -> None:
        self.seen: dict[int, weakref.ref[torch.Tensor]] = {}
        self.most = 0

    def answer(self, prompts: Iterable[Prompt], max_tokens: int) -> Iterator[list[Answer]]:
        for prompt in prompts:
            self.seen |= {id(latents): weakref.ref(latents) for latents in prompt.latents}
            self.most = max(self.most, sum(ref() is not None for ref in self.seen.values()))
            yield [Answer(prompt.id, [], "stop")]


@pytest.mark.parametrize("count", [40, 160])
def test_latents_in_memory_grow_with_the_bound_not_with_the_records(model: ProteinToText, count: int) -> None:
    ids = model.encode_question("What?", 1)
    pairs = model.encode_question("What?", 2)
    asked = [
        Inquiry(f"{n}", pairs if n % 5 == 2 else ids, (sequence(n), sequence(n // 2))[: 1 + (n % 5 == 2)], Decoding())
        for n in range(count)
    ]
    most = {}
    for num_proteins in (1, 3, 8):
        reader: Any = Reader()
        list(BatchAnswerer(model, reader, Limits(NUM_LATENTS * num_proteins, 500)).answer(asked))
        most[num_proteins] = reader.most
    assert most[1] <= 2, "a question about two proteins needs both"
    assert most[3] <= 3
    assert most[8] <= 8


def test_latents_on_disk_are_removed(model: ProteinToText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shared, others = sequence(7), [sequence(number) for number in (3, 4, 5, 12, 13)]
    ids = model.encode_question("Do they bind?", 2)
    asked = [Inquiry(other, ids, (other, shared), Decoding(max_new_tokens=3)) for other in others]
    answerer = BatchAnswerer(model, TransformersEngine(model), Limits(NUM_LATENTS * 2, 100))
    steps = answerer.answer(asked[:3])
    next(steps)
    assert list(tmp_path.rglob("*.safetensors")), "without a protein on disk this test shows nothing"
    steps.close()  # type: ignore[attr-defined]
    assert not list(tmp_path.iterdir())
    list(answerer.answer(asked))
    assert not list(tmp_path.iterdir())
