"""Writes texts with an instruct model loaded by transformers, in batches, every text JSON of the schema."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LogitsProcessorList

from protein2text.data.qa.generator import FAILED, TOO_LONG, Request, Written
from protein2text.data.qa.generator_config import GeneratorConfig
from protein2text.data.qa.grammar import ConstrainedDraw, TextGrammar
from protein2text.data.qa.schema import QA_SCHEMA
from protein2text.errors import RecordError
from protein2text.models.chat import encode_prompt
from protein2text.models.generation import Decoding, end_ids
from protein2text.models.sources import resolve_source
from protein2text.models.tokenizer import load_tokenizer

logger = logging.getLogger(__name__)


class TransformersGenerator:
    """One model and the grammar compiled for its tokenizer.

    In float32 a text depends on the passage, its seed and the model alone. In lower precision the rows that share a
    batch can round a logit to another side, and then sampling may choose another token.

    Raises:
        MissingWeights: the model is not there, or has no chat template or end token.
    """

    def __init__(self, config: GeneratorConfig, *, device: str) -> None:
        path = resolve_source(config.model, config.revision)
        self._decoding, self._device = Decoding(**config.decoding), device
        self._tokenizer = load_tokenizer(path)
        dtype: Any = "auto" if config.dtype == "auto" else getattr(torch, config.dtype)
        model: Any = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, use_safetensors=True, local_files_only=True
        )
        self._model = model.requires_grad_(False).eval().to(device)
        self._stops = end_ids(self._model.generation_config, self._tokenizer)
        width = int(self._model.get_output_embeddings().weight.shape[0])
        self._grammar = TextGrammar(QA_SCHEMA, self._tokenizer, width, self._stops)
        self._window = int(self._model.config.get_text_config().max_position_embeddings)

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """See ``Generator.write``. A batch that fails, as when memory runs out, is written one by one."""
        outcomes: dict[str, Written] = {}
        work: list[tuple[list[int], Request]] = []
        for request in requests:
            try:
                prompt = encode_prompt(self._tokenizer, request.messages)
            except RecordError as error:  # a control token that the tokenizer makes of plain text
                outcomes[request.passage_id] = Written(None, reason=FAILED, message=str(error))
                continue
            if refusal := self._refusal(len(prompt)):
                outcomes[request.passage_id] = refusal
            else:
                work.append((prompt, request))
        for (_, request), written in zip(work, self._write(work), strict=True):
            outcomes[request.passage_id] = written
        return [outcomes[request.passage_id] for request in requests]

    def _refusal(self, num_tokens: int) -> Written | None:
        """Nothing is cut: a prompt that leaves no room for the longest text is refused, with the counts."""
        room = self._decoding.max_new_tokens
        if num_tokens + room <= self._window:
            return None
        message = (
            f"{num_tokens} prompt tokens + max_new_tokens={room} are {num_tokens + room}; the generator's context "
            f"holds {self._window}. Use a generator with a longer context, or lower max_new_tokens."
        )
        return Written(None, reason=TOO_LONG, message=message)

    def _write(self, work: list[tuple[list[int], Request]]) -> list[Written]:
        if not work:
            return []
        try:
            return self._generate(work)
        except RuntimeError as error:  # torch's out-of-memory error among them
            if len(work) > 1:
                logger.warning("a batch of %d passages failed, each is tried alone: %s", len(work), error)
                return [written for one in work for written in self._write([one])]
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
            return [Written(None, reason=FAILED, message=f"{type(error).__name__}: {problem}")]

    @torch.inference_mode()
    def _generate(self, work: list[tuple[list[int], Request]]) -> list[Written]:
        """Prompts are padded on the left, so that all texts begin in the same column."""
        longest = max(len(ids) for ids, _ in work)
        pad = self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else self._stops[0]
        ids_NT = torch.full((len(work), longest), pad, dtype=torch.long)
        mask_NT = torch.zeros_like(ids_NT)
        for row, (ids, _) in enumerate(work):
            ids_NT[row, longest - len(ids) :] = torch.tensor(ids)
            mask_NT[row, longest - len(ids) :] = 1
        settings = [self._decoding.model_copy(update={"seed": request.seed}) for _, request in work]
        draw = ConstrainedDraw(self._grammar, settings)
        rows_NT = self._model.generate(
            ids_NT.to(self._device), attention_mask=mask_NT.to(self._device),
            logits_processor=LogitsProcessorList([draw]), max_new_tokens=self._decoding.max_new_tokens,
            eos_token_id=self._stops, pad_token_id=pad, do_sample=False, temperature=None, top_p=None, top_k=None,
        )  # fmt: skip
        return [self._written(row) for row in rows_NT[:, longest:].tolist()]

    def _written(self, row: list[int]) -> Written:
        ends = [position for position, token in enumerate(row) if token in self._stops]
        ids = row[: ends[0]] if ends else row
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Written(text, finish="stop" if ends else "length")
