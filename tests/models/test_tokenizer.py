"""A decoder's tokenizer is the one that transformers chooses, also where it is loaded without torch."""

import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from protein2text.models.sources import PRESETS
from protein2text.models.tokenizer import load_tokenizer
from tests.models.decoder_families import FAMILIES, write_family

TINY = PRESETS / "tiny" / "llama"


@pytest.mark.parametrize("family", ["tiny", *FAMILIES])
def test_it_is_the_one_that_transformers_chooses(family: str, tmp_path: Path) -> None:
    folder = TINY if family == "tiny" else write_family(family, tmp_path)
    ours, theirs = load_tokenizer(folder), AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert type(ours) is type(theirs)
    assert ours.get_vocab() == theirs.get_vocab()
    assert (ours.chat_template, ours.eos_token_id, ours.init_kwargs) == (
        theirs.chat_template, theirs.eos_token_id, theirs.init_kwargs,
    )  # fmt: skip
    text = "Does it bind Zn(2+)?  Ja, größer.\n"
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]


def test_llamas_is_loaded_without_torch() -> None:
    """Which each of Ray's processes that tokenize would import else."""
    program = f"""
import sys
from pathlib import Path
from protein2text.models.tokenizer import load_tokenizer
assert load_tokenizer(Path({str(TINY)!r}))("M")["input_ids"]
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
