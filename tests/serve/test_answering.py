"""A batch of questions on a replica, without Ray: prompts are counted as they are, whatever the bridge."""

from pathlib import Path

import pytest
import torch

from protein2text.errors import RecordError
from protein2text.generate.transformers_engine import TransformersEngine
from protein2text.models.chat import question_messages
from protein2text.models.generation import Decoding
from protein2text.models.model_config import BridgeConfig, DecoderConfig, EncoderConfig, ModelConfig
from protein2text.models.protein_to_text import ProteinToText
from protein2text_serve.answering import answer_batch, prepare
from protein2text_serve.question import Question, Settings
from tests.serve.conftest import WINDOW, make_bases

KINDS = ["resampler", "projector", "gated_cross_attention"]
GROUPS = [["MKTAYIAKQR"], ["ACDEFGHIKLMNPQRSTVWY", "GG"], ["MKTAYIAKQR"]]
QUESTIONS = ["What?", "Which of the two is found in the nucleus?", "Where is it found?"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_bases(tmp_path_factory.mktemp("bases"))


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, bases: tuple[Path, Path]) -> ProteinToText:
    torch.manual_seed(3)
    model = ProteinToText(
        ModelConfig(
            encoder=EncoderConfig(source=str(bases[0])),
            bridge=BridgeConfig(kind=request.param, num_latents=4, depth=1, num_heads=2, head_dim=8),
            decoder=DecoderConfig(source=str(bases[1])),
        )
    )
    with torch.no_grad():
        for parameter in model.bridge.parameters():
            parameter.normal_(0, 0.5)
    return model.requires_grad_(False).eval()


def asked(number: int, max_tokens: int = 9) -> Question:
    messages = question_messages(QUESTIONS[number], len(GROUPS[number]))
    return Question(str(number), messages, GROUPS[number], {}, Settings(max_tokens, 0.0, 1.0, 0))


def test_answers_and_counts_of_a_batch_are_those_of_the_model(model: ProteinToText) -> None:
    batch = [prepare(model, asked(number)) for number in range(3)]
    bank = model.latent_bank({sequence for group in GROUPS for sequence in group})
    for item in batch:
        rows = [bank[sequence] for sequence in item.question.proteins]
        assert item.num_prompt_tokens == len(model.embed_prompt(item.ids, rows))
    texts = [""] * 3
    for step in answer_batch(model, TransformersEngine(model), batch):
        for number, piece in enumerate(step):
            texts[number] += getattr(piece, "text", "")
    expected = model.generate([item.ids for item in batch], GROUPS, Decoding(max_new_tokens=9))
    assert texts == expected
    assert len(set(texts)) == 3, "a model that does not look at its input would pass"


def test_the_context_window_holds_prompt_proteins_and_answer_exactly(model: ProteinToText) -> None:
    room = WINDOW - prepare(model, asked(1)).num_prompt_tokens
    prepare(model, asked(1, room))
    with pytest.raises(RecordError, match=f"max_tokens={room + 1}; the decoder's context window is 512 tokens"):
        prepare(model, asked(1, room + 1))
