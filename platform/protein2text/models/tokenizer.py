"""The decoder's tokenizer. Light until it is loaded: Ray's data workers import this, and need no model."""

import json
from pathlib import Path
from typing import Any

from protein2text.errors import MissingWeights
from protein2text.large_imports import large_imports
from protein2text.models.chat_template import Tokenizer

PLAIN_CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")


def load_tokenizer(path: Path, *, compat: bool = False) -> Tokenizer:
    """A decoder's tokenizer.

    Raises:
        MissingWeights: it has no chat template or no end token, without which there is no dialogue. Compatibility mode
            needs neither: it brings its own prompt, and its ends are those of the generation settings.
    """
    tokenizer: Tokenizer = _class_of(path).from_pretrained(path, local_files_only=True)
    if compat:
        return tokenizer
    if tokenizer.chat_template is None or tokenizer.eos_token_id is None:
        remedy = "Use an instruct model; a converted published checkpoint can be asked with --compat."
        raise MissingWeights(str(path), "the tokenizer has no chat template or no end token", remedy)
    return tokenizer


def _class_of(path: Path) -> Any:
    """The class that AutoTokenizer would choose; to do so it imports torch, which llamas' plain class does without."""
    model, tokenizer = (path / "config.json", path / "tokenizer_config.json")
    if model.is_file() and tokenizer.is_file():
        names = json.loads(tokenizer.read_text())
        is_llama = json.loads(model.read_text()).get("model_type") == "llama"
        if is_llama and names.get("tokenizer_class") in PLAIN_CLASSES and "auto_map" not in names:
            from transformers import PreTrainedTokenizerFast

            return PreTrainedTokenizerFast
    with large_imports():
        from transformers import AutoTokenizer

    return AutoTokenizer
