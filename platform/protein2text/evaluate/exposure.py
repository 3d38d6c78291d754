"""What a model has seen of its test: leaks that its training was stamped with, and test proteins it was trained on."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from protein2text.data.trained_on import is_in, read_trained_on
from protein2text.proteins import Protein

SHOWN_PROTEINS = 5


@dataclass(frozen=True)
class Exposure:
    """For the report. ``num_seen`` is None where the model's folder does not record what it was trained on."""

    leaks: tuple[str, ...]
    num_proteins: int
    num_seen: int | None
    first_seen: tuple[str, ...]

    def notices(self) -> list[str]:
        """What a reader must know before the scores."""
        told = [f"This model was trained with a leak: {leak}." for leak in self.leaks]
        if self.num_seen is None:
            told.append(
                "The model's folder does not record which proteins it was trained on; whether it has seen these is not "
                "known."
            )
        elif self.num_seen:
            names = ", ".join(self.first_seen) + (", …" if self.num_seen > len(self.first_seen) else "")
            told.append(
                f"The model was trained on {self.num_seen} of the {self.num_proteins} test proteins ({names}): scores "
                f"on them show recall."
            )
        return told


def exposure(folder: Path, proteins: Iterable[Protein]) -> Exposure:
    """Hold test proteins against what a model folder says of its training."""
    about = folder / "run.json"
    leaks = json.loads(about.read_text(encoding="utf-8")).get("leaks", []) if about.is_file() else []
    tested = {protein.checksum: protein.accession for protein in proteins}
    trained_on = read_trained_on(folder)
    if trained_on is None:
        return Exposure(tuple(leaks), len(tested), None, ())
    seen = sorted(accession for checksum, accession in tested.items() if is_in(checksum, trained_on))
    return Exposure(tuple(leaks), len(tested), len(seen), tuple(seen[:SHOWN_PROTEINS]))
