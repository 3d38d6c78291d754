"""What a recording of the reference is made of: questions, and the three checkpoints laid out as it expects them."""

import json
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protein2text.errors import CorruptCheckpoint, MissingFile, RecordError
from protein2text.models.published_layout import ADAPTERS, LOOSE, SETTINGS
from protein2text.models.selfcheck import KNOWN_PROTEINS, KNOWN_QUESTION
from protein2text.proteins import clean_sequence

PLACEHOLDER = "<protein_sequence>"
ENCODER_NAME = re.compile(r"facebook/esm2[\w.-]*")
"""How the reference's loader wants its encoder to be called; it then takes a folder of that name."""
QUESTIONS = (KNOWN_QUESTION, "Where in the cell is it found?", "Does it bind a metal ion, and if so, which one?")


def default_records() -> list[dict[str, Any]]:
    """Eight questions about proteins of 1 residue to beyond the encoder's training length, odd letters among them."""
    known = [sequence for sequence, _ in KNOWN_PROTEINS]
    chain = "X".join(known)
    sequences = ("M", *known, chain, f"{chain}UZBO{chain}")
    return [
        {
            "long_format_id": f"R{number}_{len(sequence)}", "id": f"R{number}", "protein": "", "pmc_id": [],
            "amino_seq": sequence,
            "conversations": [
                {"from": "human", "value": f"{PLACEHOLDER}\n{QUESTIONS[number % len(QUESTIONS)]}"},
                {"from": "gpt", "value": ""},
            ],
        }
        for number, sequence in enumerate(sequences)
    ]  # fmt: skip


def read_records(path: Path) -> list[dict[str, Any]]:
    """Questions of the published input layout, each with a name of its own and its residues alone.

    Raises:
        MissingFile: no such file.
        RecordError: it is no list of records, or one of them cannot be asked, by name.
    """
    if not path.is_file():
        raise MissingFile(str(path), "questions", "Name a JSON file of the published layout, or leave --input out.")
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(str(path), "file", str(error), "it is no JSON", "Correct it.") from None
    if not isinstance(records, list) or not records:
        limit = "a list of at least 1 record is expected"
        raise RecordError(str(path), "file", type(records).__name__, limit, "Give a list.")
    checked = [_checked(record, f"{path} record {number}") for number, record in enumerate(records, start=1)]
    name, times = Counter(record["long_format_id"] for record in checked).most_common(1)[0]
    if times > 1:
        limit, remedy = "results are kept under it", "Give each record a long_format_id of its own."
        raise RecordError(str(path), "long_format_id", f"{name!r} stands {times} times", limit, remedy)
    return checked


def _checked(record: Any, place: str) -> dict[str, Any]:
    """A record that the reference can answer: it wants a gold answer too, and reads the residues as they stand."""

    def unusable(field: str, value: Any, limit: str) -> RecordError:
        return RecordError(place, field, repr(value)[:60], limit, "Correct the record, or leave it out.")

    if not isinstance(record, dict):
        raise unusable("record", record, "an object is expected")
    name = record.get("long_format_id", record.get("id"))
    if not isinstance(name, str) or not name:
        raise unusable("long_format_id", name, "a text is expected, there or in id")
    sequence = record.get("amino_seq")
    if not isinstance(sequence, str):
        raise unusable("amino_seq", sequence, "a text is expected")
    turns = record.get("conversations")
    try:
        question = turns[0]["value"]  # type: ignore[index]
        answer = turns[1]["value"] if len(turns) > 1 else ""  # type: ignore[index,arg-type]
    except (TypeError, LookupError):
        raise unusable("conversations", turns, "a question's value is expected first") from None
    if not isinstance(question, str) or not question.removeprefix(f"{PLACEHOLDER}\n").strip():
        raise unusable("conversations", question, "a question's value is expected first")
    if PLACEHOLDER in question.removeprefix(f"{PLACEHOLDER}\n"):
        raise unusable("conversations", question, f"{PLACEHOLDER} may stand once, on a line of its own before it")
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    residues = clean_sequence(sequence, record=f"{place} ({name})")
    return {**record, "long_format_id": name, "amino_seq": residues, "conversations": turns}


@dataclass(frozen=True)
class Checkpoints:
    """Where the three checkpoints lie, and what each is called in the folder that the reference runs in."""

    weights: Path
    base: Path
    encoder: Path
    weights_name: str
    encoder_name: str
    base_name: str = "base-llama"

    @classmethod
    def find(cls, weights: Path, base: Path, encoder: Path) -> "Checkpoints":
        """Check that each folder is what it is given as.

        Raises:
            MissingFile: a folder or a part of it is not there.
            CorruptCheckpoint: a setting with which the reference would not load it, or not run its resampler.
        """
        adapter = next((name for name in ADAPTERS if (weights / name).is_file()), ADAPTERS[0])
        for folder, names, kind in (
            (weights, (*SETTINGS, LOOSE, adapter), "the published checkpoint (--weights)"),
            (base, ("config.json", "tokenizer_config.json"), "the decoder (--base)"),
            (encoder, ("config.json", "vocab.txt"), "the encoder (--encoder)"),
        ):
            for name in names:
                if not (folder / name).is_file():
                    raise MissingFile(str(folder / name), f"a part of {kind}", "Name its folder, whole.")
        model_type = _settings(encoder, "config.json").get("model_type")
        if model_type != "esm":
            remedy = "Give the folder of an ESM-2 as --encoder."
            raise CorruptCheckpoint(str(encoder), "config.json", f"model_type={model_type!r}, not 'esm'", remedy)
        called = _settings(weights, "config.json").get("mm_protein_encoder")
        if not isinstance(called, str) or not ENCODER_NAME.fullmatch(called):
            problem = f"mm_protein_encoder={called!r}; the reference loads facebook/esm2… only"
            raise CorruptCheckpoint(str(weights), "config.json", problem, "Use the checkpoint as it was published.")
        return cls(weights, base, encoder, _name_for(weights), called)

    def lay_out(self, folder: Path, *, copy: bool) -> None:
        """Put the three under their names: real folders, for `parity` to find, of links to the files, or of copies.

        Only files directly in a folder are taken: what lies deeper is the same weights in other formats.
        """
        for source, name in (
            (self.weights, self.weights_name), (self.base, self.base_name), (self.encoder, self.encoder_name),
        ):  # fmt: skip
            (folder / name).mkdir(parents=True, exist_ok=True)
            for file in sorted(path for path in source.iterdir() if path.is_file()):
                place, file = folder / name / file.name, file.resolve()
                if copy and place.is_file() and not place.is_symlink() and place.stat().st_size == file.stat().st_size:
                    continue
                partial = place.with_name(f".{place.name}.partial")
                partial.unlink(missing_ok=True)
                if copy:
                    shutil.copyfile(file, partial)
                else:
                    partial.symlink_to(file)
                partial.replace(place)


def _settings(folder: Path, name: str) -> dict[str, Any]:
    try:
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
    except ValueError as error:
        remedy = "Get the file again."
        raise CorruptCheckpoint(str(folder), name, f"cannot be read as JSON ({error})", remedy) from None
    if not isinstance(settings, dict):
        raise CorruptCheckpoint(str(folder), name, "holds no object", "Get the file again.")
    return settings


def _name_for(weights: Path) -> str:
    """A folder name from which the reference, which reads names, takes the kind of model it is."""
    mode = _settings(weights, "model_args.json").get("mm_use_resampler_gca")
    if mode not in ("resampler", True):
        problem = f"mm_use_resampler_gca={mode!r}; this program converts 'resampler' only"
        raise CorruptCheckpoint(str(weights), "model_args.json", problem, "Record a resampler checkpoint.")
    name = weights.resolve().name
    if mode is True and "resampler" not in name:
        name = f"resampler-{name}"
    return name if "protein2text" in name.lower() else f"protein2text-{name}"
