"""The engine against ``ProteinToText.generate``, which is transformers' own generation."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from protein2text.generate.engine import EngineFailed, Prompt, Token
from protein2text.generate.text_stream import TextStream
from protein2text.generate.transformers_engine import TransformersEngine
from protein2text.models.chat import encode_prompt, question_messages
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText

SEQUENCES = ["MKTAYIAKQR", "FVNQHLCGSHLVEALYLVCGERGFFYTPKT", "ACDEFGHIKLMNPQRSTVWY", "GG"]
QUESTIONS = ["What?", "What does this protein bind, and where is it found?", "x", "Is it naïve?"]


def prompts_of(model: ProteinToText, decodings: Sequence[Decoding]) -> list[Prompt]:
    bank = model.latent_bank(set(SEQUENCES))
    items = zip(SEQUENCES, QUESTIONS, decodings, strict=True)
    return [
        Prompt(sequence, encode_prompt(model.tokenizer, question_messages(question, 1)), [bank[sequence]], decoding)
        for sequence, question, decoding in items
    ]


def run(engine: TransformersEngine, prompts: Sequence[Prompt]) -> list[list[Token]]:
    """Tokens per prompt, with the shape of the stream checked on the way."""
    answers: list[list[Token]] = [[] for _ in prompts]
    for step in engine.generate(prompts):
        assert len(step) == len(prompts)
        assert any(token is not None for token in step)
        for answer, token in zip(answers, step, strict=True):
            ended = bool(answer) and answer[-1].finish is not None
            assert (token is None) == ended, "a row has a token in every step until it ends, and none after"
            if token is not None:
                answer.append(token)
    assert all(answer[-1].finish is not None for answer in answers)
    return answers


def text(model: ProteinToText, answer: Sequence[Token]) -> str:
    ids = [token.id for token in answer if token.finish != "stop"]
    return str(model.tokenizer.decode(ids, skip_special_tokens=True)).strip()


@pytest.fixture(scope="module")
def engine(model: ProteinToText) -> TransformersEngine:
    engine = TransformersEngine(model)
    engine.start()
    return engine


def test_greedy_answers_of_a_ragged_batch_are_those_of_generate(engine: TransformersEngine) -> None:
    model, settings = engine.model, Decoding(max_new_tokens=60)
    prompts = prompts_of(model, [settings] * 4)
    answers = run(engine, prompts)
    expected = model.generate([prompt.ids for prompt in prompts], [[sequence] for sequence in SEQUENCES], settings)
    assert [text(model, answer) for answer in answers] == expected
    assert len({len(answer) for answer in answers}) > 1, "answers of one length would not show that rows leave"


def test_answers_do_not_depend_on_company(engine: TransformersEngine) -> None:
    decodings = [
        Decoding(max_new_tokens=5),
        Decoding(max_new_tokens=50, temperature=1.0, seed=7),
        Decoding(max_new_tokens=30),
        Decoding(max_new_tokens=1, temperature=0.5, top_p=0.5, seed=1),
    ]
    prompts = prompts_of(engine.model, decodings)
    together = run(engine, prompts)
    assert together == [run(engine, [prompt])[0] for prompt in prompts]
    assert together == run(engine, prompts[::-1])[::-1]
    for answer, settings in zip(together, decodings, strict=True):
        assert len(answer) <= settings.max_new_tokens


def test_every_answer_ends_by_a_stop_token_or_at_its_limit(engine: TransformersEngine) -> None:
    stops = engine.model.decoder.language_model.generation_config.eos_token_id
    for answer in run(engine, prompts_of(engine.model, [Decoding(max_new_tokens=60)] * 4)):
        assert not [token for token in answer[:-1] if token.id in stops or token.finish]
        assert (answer[-1].finish, answer[-1].id in stops, len(answer) == 60) in [
            ("stop", True, False),
            ("length", False, True),
        ]


def test_a_cancelled_answer_leaves_the_batch_and_the_others_stay_the_same(engine: TransformersEngine) -> None:
    prompts = prompts_of(engine.model, [Decoding(max_new_tokens=20, temperature=0.7)] * 4)
    expected = run(engine, prompts)
    steps = engine.generate(prompts)
    answers = [[token] for token in next(steps)]
    engine.cancel(prompts[1].id)
    engine.cancel("unknown")
    for step in steps:
        for answer, token in zip(answers, step, strict=True):
            answer += [token] if token is not None else []
    assert answers[1] == [expected[1][0], Token(-1, "cancelled")]
    assert [answers[row] for row in (0, 2, 3)] == [expected[row] for row in (0, 2, 3)]
    assert engine.stats().num_active == 0
    assert run(engine, prompts) == expected, "a cancellation must not outlive its request"


def test_closing_the_stream_ends_the_batch(engine: TransformersEngine) -> None:
    steps = engine.generate(prompts_of(engine.model, [Decoding()] * 4))
    next(steps)
    assert engine.stats().num_active == 4
    steps.close()  # type: ignore[attr-defined]
    assert engine.stats().num_active == 0


def test_steps_are_shared_and_counted(engine: TransformersEngine) -> None:
    before = engine.stats()
    answers = run(engine, prompts_of(engine.model, [Decoding(max_new_tokens=15)] * 4))
    after = engine.stats()
    assert after.num_requests - before.num_requests == 4
    assert after.num_tokens - before.num_tokens == sum(map(len, answers))
    assert after.num_steps - before.num_steps == max(map(len, answers))


def test_a_failed_step_is_told_by_health_from_then_on(model: ProteinToText) -> None:
    engine = TransformersEngine(model)
    engine.health()
    (prompt, *_) = prompts_of(model, [Decoding()] * 4)
    misfit = Prompt("p", prompt.ids, [torch.zeros(4, 7)], Decoding())  # width 7 instead of the decoder's
    with pytest.raises(EngineFailed):
        list(engine.generate([misfit]))
    with pytest.raises(EngineFailed, match="a decoding step failed"):
        engine.health()


def test_a_step_that_hangs_is_told_by_health(model: ProteinToText) -> None:
    engine = TransformersEngine(model, stall_timeout_s=0.0)
    seen: list[str] = []

    def look(*_: Any) -> None:
        try:
            engine.health()
        except EngineFailed as error:
            seen.append(str(error))

    hook = model.decoder.language_model.register_forward_pre_hook(look)
    try:
        list(engine.generate(prompts_of(model, [Decoding(max_new_tokens=2)] * 4)))
    finally:
        hook.remove()
    assert len(seen) == 2
    engine.health()


@pytest.mark.parametrize("seed", range(20))
def test_pieces_of_text_join_to_the_decoded_whole(model: ProteinToText, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, len(model.tokenizer), (40,), generator=generator).tolist()
    ids += model.tokenizer("  naïve α-helix 🧬 \n", add_special_tokens=False).input_ids
    stream = TextStream(model.tokenizer)
    pieces = [stream.push(id) for id in ids]
    whole = str(model.tokenizer.decode(ids, skip_special_tokens=True)).strip()
    assert "".join(pieces) + stream.close() == whole
    assert "naïve α-helix 🧬" in "".join(pieces)
    assert len([piece for piece in pieces if piece]) > 10, "the text must come as it is made"


def test_an_incomplete_character_is_held_back(model: ProteinToText) -> None:
    ids = model.tokenizer("🧬", add_special_tokens=False).input_ids
    assert len(ids) == 4
    stream = TextStream(model.tokenizer)
    assert [stream.push(id) for id in ids] == ["", "", "", "🧬"]
    assert stream.close() == ""
