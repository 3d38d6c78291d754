"""The tiny preset's bases: what is committed has learned something, and the job that made it still runs."""

import random
from itertools import islice
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, EsmForMaskedLM

from protein2text.data.sample import HELD_OUT_SHARE
from protein2text.data.sample_texts import open_question
from protein2text.models.sources import PRESETS
from protein2text.train.base_decoder import encode, notes, pretrain_decoder, random_facts
from protein2text.train.base_encoder import batches, mask_residues, pretrain_encoder, sequences

LARGEST_BYTES = 6_000_000


def masked_loss(folder: Path, *, shuffled: bool) -> float:
    """Loss on fresh proteins, nats per masked residue; shuffling a protein's residues destroys its families."""
    rng = random.Random(99)
    stream = sequences(0, HELD_OUT_SHARE, rng)
    if shuffled:
        stream = ("".join(rng.sample(sequence, len(sequence))) for sequence in stream)
    model = EsmForMaskedLM.from_pretrained(folder).eval()
    losses = []
    for ids, mask in islice(batches(stream, 32), 6):
        corrupted, labels = mask_residues(ids, torch.Generator().manual_seed(7))
        with torch.no_grad():
            losses.append(model(input_ids=corrupted, attention_mask=mask, labels=labels).loss.item())
    return sum(losses) / len(losses)


def test_committed_encoder_predicts_residues_from_their_family() -> None:
    """Uniform guessing costs ln 20 = 3.00; a shuffled protein keeps its composition, which helps little."""
    natural = masked_loss(PRESETS / "tiny" / "esm2", shuffled=False)
    assert natural < 2.4
    assert masked_loss(PRESETS / "tiny" / "esm2", shuffled=True) > natural + 0.4


def test_committed_decoder_answers_open_questions_from_the_notes_it_is_given() -> None:
    folder = PRESETS / "tiny" / "llama"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    rng = random.Random(1234)
    right = []
    for _ in range(40):
        facts = random_facts(rng)
        question = open_question(facts, rng.choice(sorted(facts)), rng)
        ids, _, answer_start = encode(tokenizer, (f"{notes(facts, rng)}\n", question.question, question.answer))
        prompt = torch.tensor([ids[:answer_start]])
        with torch.no_grad():
            answer = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=16, do_sample=False)
        text = tokenizer.decode(answer[0, answer_start:], skip_special_tokens=True)
        right.append(question.facts[0].split("=")[1] in text.rstrip(".").split())
    assert sum(right) >= 38


def test_committed_bases_are_small() -> None:
    files = (PRESETS / "tiny").rglob("*.safetensors")
    assert 0 < sum(file.stat().st_size for file in files) <= LARGEST_BYTES


@pytest.mark.slow
def test_the_bases_can_be_rebuilt_at_reduced_length_and_repeat_exactly(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name in ("first", "second"):
            encoder = pretrain_encoder(
                tmp_path / name / "esm2", world_seed=0, held_out_share=HELD_OUT_SHARE, cycles=[90, 30]
            )
            decoder = pretrain_decoder(tmp_path / name / "llama", seed=0, steps=120)
            assert sum(encoder[-20:]) < sum(encoder[:20]) - 4
            assert sum(decoder[-20:]) < sum(decoder[:20]) / 2
    finally:
        torch.set_num_threads(threads)
    for part in ("esm2", "llama"):
        files = [tmp_path / name / part / "model.safetensors" for name in ("first", "second")]
        assert files[0].read_bytes() == files[1].read_bytes()
