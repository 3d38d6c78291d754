"""What a newcomer reads and installs: README, dependencies, constraints, Makefile and CI say the same as the code."""

import csv
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

from protein2text.cli import app
from protein2text.evaluate.scores import LABELS

ROOT = Path(__file__).resolve().parents[2]
IMPORT_NAMES = {
    "liger-kernel": "liger_kernel",
    "biopython": "Bio",
    "fair-esm": "esm",
    "faiss-cpu": "faiss",
    "pyyaml": "yaml",
    "rouge-score": "rouge_score",
}
"""Where the name to import is not the distribution's."""
TOOLS = {"mypy", "ruff", "types-pyyaml", "pytest", "pytest-xdist", "gcsfs", "s3fs"}
"""Used from the Makefile, or loaded by name, not imported."""
AHEAD = {"triton"}
"""Part of every CUDA environment; here so that CPU environments, which check the same code, are alike."""


def project() -> dict[str, list[str]]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"library": table["dependencies"], **table["optional-dependencies"]}


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_the_readme_fits_its_first_screens() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert lines[0] == "# Protein2Text"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".ci/run"])
def test_make_commands_in_prose_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|\$ |^)make (?:--[a-z-]+ )?([a-z][a-z-]*)", text, flags=re.MULTILINE))
    assert named
    assert named <= make_targets(), f"{name} names targets that the Makefile lacks"


@pytest.mark.parametrize(
    ("document", "name", "subject"),
    [("README.md", "protein2text-tiny", "model"), ("docs/neighbours.md", "neighbours:microbiome", "index")],
)
def test_scores_in_prose_are_the_newest_rows_of_their_csv(document: str, name: str, subject: str) -> None:
    with (ROOT / "benchmarks" / "results" / "evaluation.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["row"]: row for row in csv.DictReader(file) if row["name"] == name}
    text = (ROOT / document).read_text(encoding="utf-8")
    num_scores = 0
    for row, label in LABELS.items():
        for line in re.findall(rf"^ *{label.replace('model', subject)} .*", text, flags=re.MULTILINE):
            for shown in re.findall(r"(-?\d\.\d+) \[(-?\d\.\d+), (-?\d\.\d+)\]", line):
                measured = [
                    tuple(rows[row][f"{metric}{end}"] for end in ("", "_low", "_high"))
                    for metric in ("facts", "rouge_l", "true_minus_row")
                ]
                assert tuple(map(float, shown)) in [tuple(map(float, one)) for one in measured if all(one)], line
                num_scores += 1
    assert num_scores >= 8
    assert "benchmarks/results/evaluation.csv" in text


def test_protein2text_commands_in_prose_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for line in re.findall(r"`(?:\.venv/bin/)?protein2text ([^`]+)`|\$ \.venv/bin/protein2text (.+)", text):
        words = "".join(line).split()
        command = words[:2] if words[0] in {group.name for group in app.registered_groups} else words[:1]
        result = CliRunner().invoke(app, [*command, "--help"])
        assert result.exit_code == 0, f"README names `protein2text {' '.join(command)}`"
        for option in re.findall(r"--[a-z-]+", " ".join(words)):
            assert option in result.stdout, f"README gives `{' '.join(command)}` the option {option}"


def test_files_named_in_prose_exist() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{name} links to {target}"


def test_constraints_hold_for_cpu_and_cuda_builds_alike() -> None:
    pins = constraints()
    assert pins["torch"] == "2.13.0"
    assert pins["triton"] == "3.7.1"  # CUDA builds of torch 2.13 pin it
    assert not [version for version in pins.values() if "+" in version]
    assert not [name for name in pins if name.startswith("nvidia")]


@pytest.mark.parametrize("requirement", [item for part in project().values() for item in part])
def test_every_dependency_is_pinned_bounded_explained_and_used(requirement: str) -> None:
    wanted = Requirement(requirement)
    name = canonicalize_name(wanted.name)
    pinned = constraints()[name]
    assert wanted.specifier.contains(pinned), f"constraints.txt pins {pinned}"
    assert [clause.operator for clause in wanted.specifier] == [">="]
    explained = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    assert re.search(rf"\| (?:[\w-]+, )?{re.escape(name)}(?:\[[\w,]+\])?(?:, [\w-]+)? \|", explained), (
        f"{name} has no row"
    )
    if name in TOOLS | AHEAD:
        return
    module = IMPORT_NAMES.get(name, name)
    places = ["platform", "kernels", "serve", "jobs"] + (["tests"] if requirement in project()["dev"] else [])
    pattern = re.compile(rf"^\s*(?:import|from) {module}\b|find_spec\(.{module}.\)", flags=re.MULTILINE)
    files = [path for place in places for path in (ROOT / place).rglob("*.py")]
    assert any(pattern.search(path.read_text(encoding="utf-8")) for path in files), (
        f"{name} is imported nowhere in {places}"
    )


def test_ci_fails_when_the_named_test_data_is_not_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(ROOT / ".ci" / "run")],
        env={"PATH": "/usr/bin:/bin", "PROTEIN2TEXT_TEST_DATA": str(tmp_path / "absent")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert str(tmp_path / "absent") in done.stderr
    assert done.stdout == ""


def test_set_up_names_what_is_missing(tmp_path: Path) -> None:
    """A machine with an old Python only, then one whose Python has no venv module."""
    for name in ("sed", "sh"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    for told, script in {
        "Python 3.11 or 3.12 is needed": '[ "$1" = --version ] && echo "Python 3.9.2" && exit 0; exit 1',
        "has no venv module": '[ "$1" = --version ] && echo "Python 3.11.2" && exit; case "$2" in *venv*) exit 1; esac',
    }.items():
        python = tmp_path / "python3"
        python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        python.chmod(0o755)
        done = subprocess.run(
            ["/usr/bin/make", "setup", f"VENV={tmp_path / 'venv'}"],
            cwd=ROOT,
            env={"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert told in done.stderr
        assert "apt install" in done.stderr


def test_finished_set_up_is_not_repeated(tmp_path: Path) -> None:
    """``make -n`` on a finished environment plans no installation; a newer constraints.txt plans one."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").touch()
    (venv / ".installed").touch()
    command = ["make", "-n", "demo", f"VENV={venv}"]
    planned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "pip install" not in planned
    assert f"{venv}/bin/protein2text demo" in planned
    renewed = subprocess.run([*command, "-W", "constraints.txt"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pip install" in renewed.stdout
