"""What is on trial in an evaluation: a model, or an index of neighbours."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from protein2text.answerers import NEIGHBOURS, Reply, index_folder, locate, open_answerer
from protein2text.config import RunConfig
from protein2text.evaluate.answer import OnEvent, answer_here, answer_on_ray, decoding_of
from protein2text.evaluate.controls import Request
from protein2text.evaluate.exposure import Exposure, Held, exposure, held
from protein2text.models.checkpoints import MANIFEST, sha256_of, verify_manifest
from protein2text.models.encoders import reading_of
from protein2text.models.model_config import ModelConfig
from protein2text.neighbours.index_answerer import open_index
from protein2text.proteins import Protein


class Subject(Protocol):
    """What is on trial."""

    description: dict[str, Any]
    """For the report: name, folder and hashes."""
    noun: str
    """What the report calls it."""
    decodes: bool
    """Whether the settings of decoding mean anything to it."""

    def refuse(self, requests: Sequence[Request]) -> None:
        """Name a protein that it would not read before the first answer. Raises RecordError."""

    def answer(self, requests: Sequence[Request], on_event: OnEvent) -> list[Reply]:
        """In the order of the requests."""

    def seen(self, proteins: Iterable[Protein]) -> Exposure | Held:
        """What it knows of the test proteins."""


def open_subject(uri: str, config: RunConfig) -> Subject:
    """Whatever a user names: a model folder, ``models:/NAME@ALIAS``, or ``neighbours:DIR``."""
    folder = index_folder(uri)
    return _Model(uri, config) if folder is None else _Neighbours(folder)


class _Model:
    """A model on trial; loaded where it answers, so that no actor shares a processor with an idle copy."""

    def __init__(self, uri: str, config: RunConfig) -> None:
        located = locate(uri, config.tracking.uri)
        self._folder, self._settings = located.folder, config.evaluation
        self.description = _describe(self._folder) | {"name": config.tracking.model_name, "version": located.version}
        self.noun, self.decodes = "model", True

    def refuse(self, requests: Sequence[Request]) -> None:
        """Nothing is cut: a protein that the model refuses for its length is named before the first answer."""
        reading = reading_of(ModelConfig.stored_in(self._folder))
        for request in requests:
            for accession, sequence in zip(request.accessions, request.sequences, strict=True):
                reading.check(accession, len(sequence))

    def answer(self, requests: Sequence[Request], on_event: OnEvent) -> list[Reply]:
        """In this process, or on Ray's actors."""
        if self._settings.num_actors:
            return answer_on_ray(str(self._folder), requests, self._settings, on_event)
        return answer_here(open_answerer(str(self._folder), decoding_of(self._settings)), requests, on_event)

    def seen(self, proteins: Iterable[Protein]) -> Exposure:
        """Those that it was trained on."""
        return exposure(self._folder, proteins)


class _Neighbours:
    """An index on trial. It answers in this process: one search for all requests, on all processors."""

    def __init__(self, folder: Path) -> None:
        self._answerer = open_index(folder)
        identity = self._answerer.identity
        self.description = {"folder": str(folder.resolve()), **identity, "name": f"{NEIGHBOURS}{identity['name']}"}
        self.noun, self.decodes = "index", False

    def refuse(self, requests: Sequence[Request]) -> None:
        """It reads every length."""

    def answer(self, requests: Sequence[Request], on_event: OnEvent) -> list[Reply]:
        """With nothing taken from the own entry of a protein that is shown."""
        return answer_here(self._answerer, requests, on_event)

    def seen(self, proteins: Iterable[Protein]) -> Held:
        """Those whose own entry it holds."""
        return held(self._answerer.entries(), proteins)


def _describe(folder: Path) -> dict[str, Any]:
    """Where the model lies, the checksums of its bases, and that of its manifest: one hash that names the weights."""
    verify_manifest(folder)
    bases = json.loads((folder / "bases.json").read_text(encoding="utf-8"))
    return {"folder": str(folder), "manifest_sha256": sha256_of(folder / MANIFEST), "bases": bases}
