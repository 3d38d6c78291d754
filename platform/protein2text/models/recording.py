"""Recording the reference: a user's own clone of it, run in its own environment, into a folder that `parity` takes.

The clone's loader unpickles the published weights as torch's version there sees fit. It does so in a process of its
own; this one reads safetensors and JSON only.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from protein2text.errors import ConfigError, MissingFile, RecordingStopped, ResumeMismatch
from protein2text.models.recording_inputs import Checkpoints
from protein2text.models.reference_recorder import PROGRESS, part_of
from protein2text.outputs import refuse_url

SCRIPT = Path(__file__).with_name("reference_recorder.py")
ENTRY = Path("evaluation") / "inference_model.py"
"""The reference's inference program, in a clone."""
ENVIRONMENTS = (".venv", "protein2text_env")
"""Folders in a clone that may hold its environment; its own instructions make the second."""
SETTINGS_FILE = "recording.json"
VERSION = 1
PROBE = """
import importlib.metadata, json, sys
found = {"python": sys.version.split()[0]}
for name in ("torch", "transformers", "peft", "safetensors"):
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
"""Tells the versions of an environment without importing what is slow to import."""
NEEDED = ("torch", "transformers", "safetensors")
PROBE_TIMEOUT_S = 120.0
OWN_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")
"""Variables of this program's environment that would lead the clone's Python astray."""

OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Recorded:
    """What a recording made."""

    output: str
    records: int
    recorded_now: int
    versions: dict[str, str]


def find_clone(clone: Path) -> Path:
    """A clone of the reference.

    Raises:
        MissingFile: no such folder, or no inference program in it.
    """
    if not (clone / ENTRY).is_file():
        remedy = "Clone github.com/alaaj27/Protein2Text whole, and name that folder."
        raise MissingFile(str(clone / ENTRY), "the reference's inference program", remedy)
    return clone.resolve()


def find_python(clone: Path, given: Path | None) -> Path:
    """The Python of the clone's environment; never resolved, since an environment's Python is a link.

    Raises:
        MissingFile: it is not there.
    """
    tried = [given] if given else [clone / name / "bin" / "python" for name in ENVIRONMENTS]
    for python in tried:
        if python.is_file():
            return python.absolute()
    remedy = "Make the clone an environment, and name it with --python ENV/bin/python; docs/first-hour.md says how."
    raise MissingFile(" or ".join(map(str, tried)), "the Python of the clone's environment", remedy)


def versions_of(python: Path) -> dict[str, str]:
    """Versions of an environment's Python and libraries.

    Raises:
        ConfigError: it does not run, or lacks a library.
    """
    try:
        done = subprocess.run(
            [python, "-c", PROBE], capture_output=True, text=True, env=_environment("cpu"), timeout=PROBE_TIMEOUT_S
        )
        problem = f"it ended with status {done.returncode}: {_last_line(done.stderr)}" if done.returncode else ""
        found: dict[str, str] = {} if problem else json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        problem, found = f"{type(error).__name__}: {error}", {}
    if problem:
        raise ConfigError(str(python), "--python", f"does not run as a Python ({problem}); give ENV/bin/python")
    if missing := [name for name in NEEDED if name not in found]:
        message = f"has no {', '.join(missing)}; run `{python} -m pip install -e CLONE` first"
        raise ConfigError(str(python), "--python", message)
    return found


def record(
    clone: Path, checkpoints: Checkpoints, records: list[dict[str, Any]], output: Path, *, python: Path,
    versions: dict[str, str], device: str = "cpu", max_new_tokens: int = 24, copy: bool = False,
    on_event: OnEvent = lambda _: None,
) -> Recorded:  # fmt: skip
    """Have the clone answer every record that is not recorded yet, and leave a folder for `parity`.

    Args:
        clone, python, versions: as `find_clone`, `find_python` and `versions_of` gave them.
        device: ``cpu`` or ``cuda``; the first visible GPU is used, since the reference spreads its encoder over all.

    Raises:
        ConfigError: the output holds something else.
        ResumeMismatch: the output was begun with other settings.
        RecordingStopped: the clone's process ended early; what it had finished is kept.
    """
    refuse_url(output)
    output = output.absolute()
    content = json.dumps(records, ensure_ascii=False, indent=1)
    settings = {
        "version": VERSION, "clone": str(clone), "commit": _commit_of(clone), "python": str(python),
        "versions": versions, "weights": str(checkpoints.weights.resolve()), "base": str(checkpoints.base.resolve()),
        "encoder": str(checkpoints.encoder.resolve()), "device": device, "max_new_tokens": max_new_tokens,
        "input_sha256": hashlib.sha256(content.encode()).hexdigest(),
    }  # fmt: skip
    _begin(output, settings)
    (output / "input.json").write_text(content, encoding="utf-8")
    checkpoints.lay_out(output, copy=copy)
    parts = output / "parts"
    parts.mkdir(exist_ok=True)
    num_done = _count(parts, records)
    if num_done < len(records):
        command = [
            str(python), str(SCRIPT), "--clone", str(clone), "--weights", checkpoints.weights_name, "--base",
            checkpoints.base_name, "--input", "input.json", "--parts", "parts", "--device", device,
            "--max-new-tokens", str(max_new_tokens),
        ]  # fmt: skip
        _run(command, output, device, lambda line: _tell(on_event, line, _count(parts, records), len(records)))
        if (now := _count(parts, records)) < len(records):
            raise _stopped(output, now, len(records), "it ended without an error")
    _assemble(output, parts, records)
    return Recorded(str(output), len(records), len(records) - num_done, versions)


def _begin(output: Path, settings: dict[str, Any]) -> None:
    """Take a new folder, or one begun with the same settings."""
    path = output / SETTINGS_FILE
    if path.is_file():
        saved = json.loads(path.read_text(encoding="utf-8"))
        for key, current in settings.items():
            if saved.get(key) != current:
                raise ResumeMismatch(str(output), key, str(saved.get(key)), str(current))
        return
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise ConfigError(str(output), "--output", "exists and is no recording; choose another folder or remove it")
    output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=1), encoding="utf-8")


def _count(parts: Path, records: list[dict[str, Any]]) -> int:
    return sum(part_of(parts, number).is_file() for number in range(len(records)))


def _tell(on_event: OnEvent, line: str, num_done: int, num_records: int) -> None:
    if line.startswith(PROGRESS):
        on_event({"step": num_done, "num_steps": num_records, "message": line.removeprefix(PROGRESS).strip()})


def _run(command: list[str], output: Path, device: str, on_line: Callable[[str], None]) -> None:
    """Run the clone in the output folder, where the names of its checkpoints lead; keep all that it says."""
    log, last = output / "record.log", ""
    with (
        log.open("a", encoding="utf-8") as file,
        subprocess.Popen(
            command, cwd=output, env=_environment(device), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, encoding="utf-8", errors="replace",
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                file.write(line)
                last = line.strip() or last
                on_line(line)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        records = json.loads((output / "input.json").read_text(encoding="utf-8"))
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"status {process.returncode}"
        raise _stopped(output, _count(output / "parts", records), len(records), f"{how}, {last or 'no message'}")


def _stopped(output: Path, num_recorded: int, num_records: int, problem: str) -> RecordingStopped:
    return RecordingStopped(str(output), num_recorded, num_records, problem)


def _environment(device: str) -> dict[str, str]:
    """Variables for the clone's Python: none of this program's own paths, no model hub, one device."""
    kept = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
    visible = "" if device == "cpu" else os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return {
        **kept, "CUDA_VISIBLE_DEVICES": visible, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8",
    }  # fmt: skip


def _commit_of(clone: Path) -> str:
    try:
        command = ["git", f"--git-dir={clone / '.git'}", "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def _assemble(output: Path, parts: Path, records: list[dict[str, Any]]) -> None:
    """One file of tensors and one of texts from the finished records, in the input's order."""
    recorded: dict[str, Tensor] = {}
    texts = []
    for number, entry in enumerate(records):
        with safe_open(part_of(parts, number), "pt") as file:
            for stage in file.keys():  # noqa: SIM118  the file is no mapping
                recorded[f"{entry['long_format_id']}.{stage}"] = file.get_tensor(stage)
            texts.append(file.metadata())
    (output / "recorded.json").write_text(json.dumps(texts, ensure_ascii=False, indent=1), encoding="utf-8")
    partial = output / "recorded.partial"
    save_file(recorded, partial)
    partial.replace(output / "recorded.safetensors")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
