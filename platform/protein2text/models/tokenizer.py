"""The decoder's tokenizer. Light until it is loaded: Ray's data workers import this, and need no model."""

from pathlib import Path

from protein2text.errors import MissingWeights
from protein2text.large_imports import large_imports
from protein2text.models.chat_template import Tokenizer


def load_tokenizer(path: Path, *, compat: bool = False) -> Tokenizer:
    """A decoder's tokenizer.

    Raises:
        MissingWeights: it has no chat template or no end token, without which there is no dialogue. Compatibility mode
            needs neither: it brings its own prompt, and its ends are those of the generation settings.
    """
    with large_imports():
        from transformers import AutoTokenizer  # here: seconds, and torch with it

    tokenizer: Tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    if compat:
        return tokenizer
    if tokenizer.chat_template is None or tokenizer.eos_token_id is None:
        remedy = "Use an instruct model; a converted published checkpoint can be asked with --compat."
        raise MissingWeights(str(path), "the tokenizer has no chat template or no end token", remedy)
    return tokenizer
