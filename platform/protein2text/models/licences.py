"""Whose terms a model inherits: of its encoder, its decoder, its corpus, and what wrote its questions and answers."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["yes", "no", "unknown"]
PARTS = ("encoder", "decoder", "corpus", "qa_generator")
UNKNOWN = "unknown"

TERMS: dict[str, tuple[Verdict, str]] = {
    "mit": ("yes", ""), "apache-2.0": ("yes", ""), "bsd-3-clause": ("yes", ""), "cc0-1.0": ("yes", ""),
    "cc-by-4.0": ("yes", "with attribution"), "cc-by-sa-4.0": ("yes", "with attribution, under the same terms"),
    "cc-by-nc-4.0": ("no", "non-commercial"), "cc-by-nc-sa-4.0": ("no", "non-commercial"),
    "cc-by-nc-nd-4.0": ("no", "non-commercial"), "none": ("yes", "no such part"),
}  # fmt: skip
"""Whether a licence allows commercial use, and on what terms; Llama's are added below."""

_LLAMA = re.compile(r"llama-?(2|3(\.[0-9])?|4)?(-community)?", re.IGNORECASE)
_LLAMA_TERMS = "up to 700 million monthly users, under Meta's acceptable use policy"

_KNOWN_NAMES = (
    (r"smollm", "apache-2.0"), (r"qwen3", "apache-2.0"), (r"mistral-7b", "apache-2.0"),
    (r"(meta-)?llama-?3\.1", "llama3.1"), (r"(meta-)?llama-?3\.2", "llama3.2"), (r"(meta-)?llama-?3\.3", "llama3.3"),
    (r"(meta-)?llama-?3", "llama3"), (r"(meta-)?llama-?2", "llama2"), (r"^preset:", "apache-2.0"),
)  # fmt: skip
"""Weights that are known by name, and what they were published under."""

_LICENCE_TEXTS = (
    (r"llama\s+3\.(\d)\s+community", r"llama3.\1"), (r"llama\s+3\s+community", "llama3"),
    (r"apache license", "apache-2.0"), (r"mit license", "mit"), (r"attribution-noncommercial", "cc-by-nc-4.0"),
)  # fmt: skip


@dataclass(frozen=True)
class Licence:
    """Terms of one part of a model."""

    part: str
    name: str
    """What the part is."""
    licence: str
    """Identifier in lower case, or ``unknown``."""

    @property
    def is_llama(self) -> bool:
        return bool(_LLAMA.fullmatch(self.licence))

    @property
    def commercial(self) -> tuple[Verdict, str]:
        """Whether commercial use is allowed, and on what terms."""
        if self.is_llama:
            return "yes", _LLAMA_TERMS
        return TERMS.get(self.licence, ("unknown", "its terms are not known here"))


@dataclass(frozen=True)
class Licences:
    """Terms of all parts."""

    parts: tuple[Licence, ...]
    llama_architecture: bool = False
    """The decoder is a LLaMA; where its licence is unknown it is taken for Meta's."""

    @property
    def built_with_llama(self) -> bool:
        """Whether Llama weights, or texts that a Llama wrote, are inside: then the name and the card must say so."""
        decoder = next(part for part in self.parts if part.part == "decoder")
        doubtful = self.llama_architecture and decoder.licence == UNKNOWN
        return doubtful or any(part.is_llama for part in self.parts)

    @property
    def commercial_use(self) -> tuple[Verdict, str]:
        """Yes, no or unknown, and why: one "no" decides, then one "unknown"."""
        for verdict in ("no", "unknown"):
            because = [
                f"the {part.part.replace('_', ' ')} ({part.name}) is under {part.licence}: {part.commercial[1]}"
                for part in self.parts if part.commercial[0] == verdict
            ]  # fmt: skip
            if because:
                return verdict, "; ".join(because)
        terms = [f"{part.part.replace('_', ' ')}: {part.commercial[1]}" for part in self.parts if part.commercial[1]]
        return "yes", "every part allows it" + (f" ({'; '.join(terms)})" if terms else "")


def licence_of_weights(source: str, path: Path) -> str:
    """Licence of a base: as its own files state it, else by its well-known name, else unknown."""
    if path.is_dir():
        for name in ("README.md", "LICENSE", "LICENSE.txt", "LICENSE.md"):
            file = path / name
            if file.is_file() and (found := _stated(file.read_text(encoding="utf-8", errors="replace")[:20_000])):
                return found
    for pattern, licence in _KNOWN_NAMES:
        if re.search(pattern, source.rstrip("/").rsplit("/", 1)[-1] if ":" not in source else source, re.IGNORECASE):
            return licence
    return UNKNOWN


def _stated(text: str) -> str | None:
    front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    if front and (line := re.search(r"^license:\s*[\"']?([\w.+-]+)", front[1], re.MULTILINE)):
        if line[1].lower() != "other":
            return line[1].lower()
        named = re.search(r"^license_name:\s*[\"']?([\w.+-]+)", front[1], re.MULTILINE)
        return named[1].lower() if named else None
    for pattern, licence in _LICENCE_TEXTS:
        if match := re.search(pattern, text[:2000], re.IGNORECASE):
            return match.expand(licence)
    return None
