"""Checkpoints in a second place that fsspec reaches: URL/RUN/STAGE/step-00000200/…, each manifest last.

What counts there is what lies under a manifest, and a fetched checkpoint is verified like any other. Everything else of
that name is the rest of an upload that did not end: it is never used, and swept.
"""

import hashlib
import json
import logging
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from protein2text.data.patient_http import Patience
from protein2text.data.sources import store_of, unreachable
from protein2text.errors import CorruptCheckpoint, ServiceError
from protein2text.models.checkpoints import MANIFEST, sha256_of
from protein2text.train import checkpoints
from protein2text.train.checkpoints import FOREIGN, PARTIAL, TRAINER, Found, name_of, step_in
from protein2text.train.events import Tell, read_steps
from protein2text.train.settings import SETTINGS, Settings, first_difference, refuse_others
from protein2text.train.stage_config import CheckpointStoreConfig, Stage
from protein2text.train.task import EVENTS, StageTask

logger = logging.getLogger(__name__)

READ_BACK_BYTES = 16 * 2**20
"""Read at once when an uploaded file is compared with its sum."""

QUICK_S = 30.0
"""Limit of an attempt that moves no checkpoint: workers may be waiting for it."""

Result = TypeVar("Result")


class CheckpointStore:
    """One stage's checkpoints in the store; used by one thread at a time.

    Every method tries again, with growing waits, and then raises ``ServiceError``. An attempt that takes longer than
    the limit is cancelled; on a local or network disk, which cannot be cancelled, that is seen between two files.
    """

    def __init__(self, config: CheckpointStoreConfig, run: str, stage: Stage, *, first_wait_s: float = 1.0) -> None:
        assert config.url is not None
        self.url = f"{config.url.rstrip('/')}/{run}/{stage}"
        self._files, self._root = store_of(self.url, key="checkpoint_store.url")
        self._patience = Patience(config.attempts, first_wait_s, timeout_s=config.timeout_s)
        self._deadline = 0.0
        self._losses: dict[int, float | None] = {}

    @property
    def longest_s(self) -> float:
        """The most that an upload can take before it is given up, on a store that can be given up."""
        return self._patience.attempts * (self._patience.timeout_s + self._patience.longest_wait_s)

    def begin(self, settings: Settings) -> None:
        """Make sure that the place can be written to, and is this run's.

        Raises:
            ResumeMismatch: it was begun with other settings; where it has lost them, its checkpoints' are compared.
            ServiceError: it cannot be reached or written to.
        """
        path = f"{self._root}/{SETTINGS}"
        saved = self._patiently(lambda: self._json_dict(path), QUICK_S)
        if saved is not None:
            refuse_others(self.url, saved, settings)
            return
        others = self._patiently(self._checkpoints_settings, QUICK_S)  # lost, or the half of one, from a killed driver
        if others and all(first_difference(other, settings) for other in others):
            refuse_others(self.url, others[0], {key: settings[key] for key in settings if key in others[0]})

        def write() -> None:
            self._make_folder(self._root)
            self._call("pipe_file", path, json.dumps(settings, indent=1, sort_keys=True).encode())

        self._patiently(write, QUICK_S)

    def steps(self) -> list[int]:
        """Steps of finished checkpoints, oldest first."""
        return sorted(step for step, names in self._patiently(self._folders, QUICK_S).items() if MANIFEST in names)

    def upload(self, folder: Path) -> None:
        """Copy a finished checkpoint. Each file is read back and compared; those that are there already stay."""
        step = step_in(folder.name)
        assert step is not None
        compared: set[str] = set()
        self._patiently(lambda: self._upload_missing(folder, step, compared))

    def fetch(self, step: int, folder: Path, task: StageTask | None = None) -> Path:
        """Copy a checkpoint of the store into a folder of checkpoints, where it appears once it is verified.

        Raises:
            CorruptCheckpoint: what arrived is damaged, or not the stage's own; it is gone again.
        """
        partial = folder / f"{PARTIAL}{step:08}"
        self._patiently(lambda: self._download(step, partial))
        try:
            trainer = checkpoints.verify(partial)
            if task is not None:
                checkpoints.refuse_other_runs(partial, trainer, task.settings, task.num_steps)
        except CorruptCheckpoint as error:
            shutil.rmtree(partial, ignore_errors=True)
            unused = "It is not used; the one before it may be good."
            remedy = error.remedy if isinstance(error, FOREIGN) else unused
            raise type(error)(f"{self.url}/{name_of(step)}", error.file, error.problem, remedy) from None
        shutil.rmtree(folder / name_of(step), ignore_errors=True)
        return partial.rename(folder / name_of(step))

    def put_events(self, path: Path) -> None:
        """Copy the stage's events, so that a new machine's loss curve begins where training began."""
        self._patiently(lambda: self._call("put_file", str(path), f"{self._root}/{EVENTS}"))

    def fetch_events(self, path: Path) -> None:
        """Copy the events of the store to a file, if it has any."""

        def download() -> None:
            partial = path.with_name(f".{path.name}.partial")
            try:
                self._call("get_file", f"{self._root}/{EVENTS}", str(partial))
            except FileNotFoundError:
                partial.unlink(missing_ok=True)
            else:
                partial.replace(path)

        path.parent.mkdir(parents=True, exist_ok=True)
        self._patiently(download, QUICK_S)

    def sweep(self, newest: int, best: int) -> list[str]:
        """Delete unfinished checkpoints, and finished ones that are not ``checkpoints.kept``.

        Returns:
            Names of the unfinished ones.
        """
        return self._patiently(lambda: self._delete_others(newest, best))

    def _json_dict(self, path: str) -> dict[str, Any] | None:
        """None where there is no such file, or nothing in it that could be used."""
        try:
            values = json.loads(self._call("cat_file", path))
        except (FileNotFoundError, ValueError):
            return None
        return values if isinstance(values, dict) else None

    def _checkpoints_settings(self) -> list[Settings]:
        """What finished checkpoints say that they were made with, newest first."""
        steps = [step for step, names in self._folders().items() if MANIFEST in names]
        places = [f"{self._root}/{name_of(step)}/{TRAINER}" for step in sorted(steps, reverse=True)]
        trainers = [trainer for place in places if (trainer := self._json_dict(place))]
        return [trainer["settings"] for trainer in trainers if isinstance(trainer.get("settings"), dict)]

    def _upload_missing(self, folder: Path, step: int, compared: set[str]) -> None:
        target = f"{self._root}/{folder.name}"
        there = self._folders().get(step, set())
        if MANIFEST in there:  # the step was done again: until all files are the new ones, it is no checkpoint
            self._call("rm_file", f"{target}/{MANIFEST}")
        self._make_folder(target)
        sums = {name: entry["sha256"] for name, entry in json.loads((folder / MANIFEST).read_text())["files"].items()}
        for name, digest in sums.items():
            if name not in compared and not (name in there and self._holds(f"{target}/{name}", digest)):
                self._put(folder / name, f"{target}/{name}", digest)
            compared.add(name)
        self._put(folder / MANIFEST, f"{target}/{MANIFEST}", sha256_of(folder / MANIFEST))
        self._losses[step] = checkpoints.loss_in((folder / TRAINER).read_text())

    def _put(self, path: Path, target: str, digest: str) -> None:
        self._call("put_file", str(path), target)
        if self._digest(target) != digest:
            raise OSError(f"{target} is not what was sent: its SHA-256 differs")

    def _holds(self, target: str, digest: str) -> bool:
        """Whether a file that is there need not be sent again."""
        try:
            return self._digest(target) == digest
        except Exception:  # noqa: BLE001  whatever it is, the file is sent again, and that may fail
            return False

    def _digest(self, target: str) -> str:
        digest, begin = hashlib.sha256(), 0
        while True:
            block = self._call("cat_file", target, start=begin, end=begin + READ_BACK_BYTES)
            digest.update(block)
            begin += len(block)
            if len(block) < READ_BACK_BYTES:
                return digest.hexdigest()

    def _download(self, step: int, partial: Path) -> None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name in sorted(self._folders().get(step, set())):
            self._call("get_file", f"{self._root}/{name_of(step)}/{name}", str(partial / name))

    def _delete_others(self, newest: int, best: int) -> list[str]:
        folders = self._folders()
        finished = [step for step, names in folders.items() if MANIFEST in names]
        keep = checkpoints.kept({step: self._loss(step) for step in finished}, newest, best)
        for step in sorted(set(folders) - keep):
            place = f"{self._root}/{name_of(step)}"
            if step in finished:  # its manifest first: a kill leaves no checkpoint with files missing
                self._call("rm_file", f"{place}/{MANIFEST}")
            self._call("rm", place, recursive=True)
        return [name_of(step) for step in sorted(set(folders) - set(finished))]

    def _loss(self, step: int) -> float | None:
        if step not in self._losses:
            trainer = self._call("cat_file", f"{self._root}/{name_of(step)}/{TRAINER}")
            self._losses[step] = checkpoints.loss_in(trainer)
        return self._losses[step]

    def _folders(self) -> dict[int, set[str]]:
        """Names of the files of every checkpoint, finished or not, by step."""
        self._files.invalidate_cache()
        found: dict[int, set[str]] = {}
        for path in self._call("find", self._root):
            folder, _, name = path.removeprefix(f"{self._root}/").partition("/")
            step = step_in(folder)
            if step is not None and name and "/" not in name:
                found.setdefault(step, set()).add(name)
        return found

    def _make_folder(self, place: str) -> None:
        if "file" in self._files.protocol:  # a bucket has no folders
            self._call("makedirs", place, exist_ok=True)

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Call the store within what is left of the attempt's time."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        limit = {"timeout": left_s} if self._files.async_impl else {}
        return getattr(self._files, method)(*arguments, **named, **limit)

    def _patiently(self, attempt: Callable[[], Result], longest_s: float = math.inf) -> Result:
        limit_s = min(longest_s, self._patience.timeout_s)
        for number in range(self._patience.attempts):
            self._deadline = time.monotonic() + limit_s
            try:
                return attempt()
            except Exception as error:  # noqa: BLE001  each store has errors of its own
                late = isinstance(error, TimeoutError) and not str(error)
                problem = TimeoutError(f"not done within {limit_s:g} s") if late else error
            if number + 1 < self._patience.attempts:
                logger.warning("%s: %r; attempt %d of %d", self.url, problem, number + 1, self._patience.attempts)
                time.sleep(self._patience.wait_s(number, None))
        raise unreachable(self.url, problem) from problem


def open_store(task: StageTask) -> CheckpointStore | None:
    """The store of a stage, if its run has one.

    Raises:
        ConfigError: its library is not installed, or nobody knows its protocol.
    """
    config = task.config
    return CheckpointStore(config.checkpoint_store, config.name, task.stage) if config.checkpoint_store.url else None


def restore_events(task: StageTask) -> None:
    """Give a new machine's folder the events that were told elsewhere; what is wrong with the store, `prepare` says.

    Raises:
        ResumeMismatch: the store holds another run of this name.
    """
    store = open_store(task)
    if store is None or read_steps(task.events):
        return
    try:
        store.begin(task.settings)
        store.fetch_events(task.events)
    except ServiceError as error:
        logger.warning("no earlier events: %s", error)


def prepare(task: StageTask, tell: Tell) -> None:
    """Before the workers start: the store can be used, and what it has that is newer than the run's folder is fetched.

    Raises:
        ResumeMismatch: the store holds another run of this name.
        ServiceError: it does not answer, and the folder has no good checkpoint to go on from.
    """
    store = open_store(task)
    if store is None:
        return
    local = checkpoints.newest_good(task.checkpoints, task)
    for problem in local.problems:
        tell(f"checkpoint set aside: {problem}", level="warning")
    try:
        store.begin(task.settings)
        found = fetch_newer(task.checkpoints, store, local.folder, task)
    except ServiceError as error:
        if local.folder is None:
            raise
        tell(f"training goes on from {local.folder.name} without the store: {error}", level="warning")
        return
    for problem in found.problems:
        tell(f"checkpoint in the store not used: {problem}", level="warning")
    if found.folder:
        tell(f"fetched {found.folder.name} from {store.url}")


def newest_good(folder: Path, store: CheckpointStore | None, task: StageTask | None = None) -> Found:
    """The newest good checkpoint of the run's folder; where that has none, of the store.

    Raises:
        ServiceError: the folder has none, and the store does not answer.
        OtherVersion, OtherRun: none is good, and at least one is of another version, or not the task's own.
    """
    local = checkpoints.newest_good(folder, task)
    if local.folder is not None or store is None:
        return local
    fetched = fetch_newer(folder, store, None, task)
    return Found(fetched.folder, (*local.problems, *fetched.problems))


def fetch_newer(folder: Path, store: CheckpointStore, local: Path | None, task: StageTask | None = None) -> Found:
    """Fetch the newest good checkpoint of the store, if it is newer than the local one; raises like ``newest_good``."""
    local_step = step_in(local.name) if local else None
    problems: list[CorruptCheckpoint] = []
    for step in reversed(store.steps()):
        if local_step is not None and step <= local_step:
            break
        try:
            return Found(store.fetch(step, folder, task), tuple(map(str, problems)))
        except CorruptCheckpoint as error:
            problems.append(error)
    if local is None and (foreign := [problem for problem in problems if isinstance(problem, FOREIGN)]):
        raise foreign[0]
    return Found(None, tuple(map(str, problems)))
