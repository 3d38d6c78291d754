"""The Python API: loosely given proteins and questions, what an answer says of itself, and Evolla's calling shape."""

import logging

import pytest
import torch

from protein2text.errors import InvalidResidue, RecordError
from protein2text.models.generation import Decoding
from protein2text.models.protein_to_text import ProteinToText
from tests.models.conftest import random_sequence, relative_error, tiny_config

FIRST, SECOND = random_sequence(40, 1), random_sequence(9, 2)
SHORT = Decoding(max_new_tokens=6)


def plain_answer(model: ProteinToText, proteins: list[str], question: str) -> str:
    """The way below ``ask``: one prompt at a time."""
    return model.generate([model.encode_question(question, len(proteins))], [proteins], SHORT)[0]


def test_one_protein_or_one_question_serves_all_and_lists_are_paired(model: ProteinToText) -> None:
    questions = ["What does it bind?", "Where is it?"]
    expected = {
        (group, question): plain_answer(model, list(group), question)
        for group in ((FIRST,), (SECOND,), (FIRST, SECOND))
        for question in questions
    }
    single = model.ask(FIRST, questions[0], SHORT)
    assert single.text == str(single) == expected[(FIRST,), questions[0]]
    cases = [
        (FIRST, questions, [((FIRST,), questions[0]), ((FIRST,), questions[1])]),
        ([SECOND, FIRST], questions[1], [((SECOND,), questions[1]), ((FIRST,), questions[1])]),
        ([SECOND, FIRST], questions, [((SECOND,), questions[0]), ((FIRST,), questions[1])]),
        ([[FIRST, SECOND], FIRST], questions, [((FIRST, SECOND), questions[0]), ((FIRST,), questions[1])]),
        ([FIRST], [questions[0]], [((FIRST,), questions[0])]),
        ([], "What?", []),
    ]
    for proteins, asked, pairs in cases:
        for batch_size in (1, 16):
            answers = model.ask(proteins, asked, SHORT, batch_size=batch_size)
            assert [answer.text for answer in answers] == [expected[pair] for pair in pairs]
            assert [len(answer.proteins) for answer in answers] == [len(group) for group, _ in pairs]
    assert len(set(expected.values())) > 1, "answers that never differ would show no pairing"


def test_sequences_come_as_people_have_them(model: ProteinToText) -> None:
    fasta = f">sp|P1|ONE some protein\r\n{FIRST[:20].lower()}\r\n{FIRST[20:]}*\r\n"
    assert model.ask(fasta, "What?", SHORT) == model.ask(FIRST, "What?", SHORT)
    assert torch.equal(model.latents(fasta), model.latents(FIRST))
    with pytest.raises(InvalidResidue, match=r"proteins\[1\], line 2, column 1, residue 3: 'J'"):
        model.ask([FIRST, "MK\nJ"], "What?", SHORT)
    with pytest.raises(RecordError, match="2 and 3; no pairing"):
        model.ask([FIRST, SECOND], ["a", "b", "c"])
    with pytest.raises(RecordError, match=r"proteins\[1\], proteins: 0 proteins"):
        model.ask([FIRST, []], "What?")


def test_an_answer_says_why_it_ended(model: ProteinToText) -> None:
    ids = model.answer_ids([model.encode_question("What?", 1)], [[FIRST]], Decoding(max_new_tokens=40))[0]
    cut = model.ask(FIRST, "What?", Decoding(max_new_tokens=len(ids)))
    assert cut.finish == "length"
    assert cut.text == model.decoder.text_of(ids)
    if len(ids) < 40:
        assert model.ask(FIRST, "What?", Decoding(max_new_tokens=len(ids) + 1)).finish == "stop"
    model.decoder.language_model.generation_config.eos_token_id = ids[0]
    assert model.ask(FIRST, "What?", Decoding(max_new_tokens=1)).finish == "stop"
    assert model.ask(FIRST, "What?", SHORT).text == ""


@pytest.mark.parametrize(("mode", "used"), [("auto", "window"), ("window", "window"), ("exact", "exact")])
def test_an_answer_says_how_a_long_protein_was_read(mode: str, used: str, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(1)
    model = ProteinToText(tiny_config().model_copy(update={"long_proteins": mode}))
    long = random_sequence(1023, 3)
    with caplog.at_level(logging.INFO, logger="protein2text.models.protein_to_text"):
        (answer,) = model.ask([[long, FIRST]], "Do they bind?", SHORT)
    assert [read.read_as for read in answer.proteins] == [used, "exact"]
    assert [read.beyond_training_length for read in answer.proteins] == [True, False]
    assert [read.num_residues for read in answer.proteins] == [1023, 40]
    assert answer.beyond_training_length
    assert answer.proteins[0].estimated_bytes == model.reading.estimated_bytes(1023) > 1023 * model.encoder.width * 4
    (line,) = caplog.messages
    assert f"read_as='{used}'" in line
    assert long[:20] not in line
    whole = random_sequence(1022, 3)
    assert not model.ask(whole, "What?", SHORT).beyond_training_length


def test_latents_are_what_the_decoder_gets(model: ProteinToText) -> None:
    bank = model.latent_bank({FIRST, SECOND})
    rows = model.latents([SECOND, FIRST, SECOND])
    assert all(torch.equal(ours, bank[name]) for ours, name in zip(rows, (SECOND, FIRST, SECOND), strict=True))
    assert rows[0].shape == (5, model.decoder.width)
    assert relative_error(model.latents(FIRST), bank[FIRST]) < 2e-6
    assert model.latents([]) == []


def test_evollas_calling_shape(model: ProteinToText) -> None:
    message = [{"role": "user", "content": "What does it bind?"}]
    inputs = model.processor(proteins=[{"aa_seq": FIRST}, SECOND], messages_list=[message, message])
    texts = model.generate(**inputs, settings=SHORT)
    assert texts == [plain_answer(model, [name], "What does it bind?") for name in (FIRST, SECOND)]
    single = model.processor(proteins={"aa_seq": FIRST.lower()}, messages_list=message)
    assert model.generate(**single, settings=SHORT) == texts[:1]
    pair = model.processor(proteins=[[{"aa_seq": FIRST}, {"aa_seq": SECOND}]], messages_list=[message])
    assert model.generate(**pair, settings=SHORT) == [plain_answer(model, [FIRST, SECOND], "What does it bind?")]


@pytest.mark.parametrize(
    ("proteins", "messages", "fragment"),
    [
        ([{"aa_seq": "MKV", "foldseek": "dvv"}], [{"role": "user", "content": "q"}], "reads aa_seq alone"),
        (["MKV", "MKV"], [{"role": "user", "content": "q"}], "2 proteins, 1 exchanges"),
        (["MKV"], [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}], "one message of the user"),
        (["MJV"], [{"role": "user", "content": "q"}], r"proteins\[0\], line 1, column 2"),
    ],
)
def test_what_the_processor_cannot_pass_on_is_refused(
    model: ProteinToText, proteins: list[object], messages: list[dict[str, str]], fragment: str
) -> None:
    with pytest.raises(RecordError, match=fragment):
        model.processor(proteins=proteins, messages_list=messages)
