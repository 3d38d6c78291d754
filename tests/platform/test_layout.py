"""The tree stays as drawn: places are not packages, nothing imports to its right, the model stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("platform", "kernels", "serve", "jobs")
TEST_DATA_FOLDER = "../" + "shared"
MAY_NAME_TEST_DATA = {".ci/run", "tests/conftest.py"}

ROOMS = ("protein2text_kernels", "protein2text.models", "workshop", "service")
"""From left to right; a room imports itself and rooms to its left."""
WORKSHOP = (
    "protein2text.train",
    "protein2text.evaluate",
    "protein2text.generate",
    "protein2text.data",
    "protein2text.neighbours",
    "protein2text.answerers",
    "protein2text.registry",
    "protein2text.pages",
    "protein2text.resources",
    "protein2text.ray_at_hand",
    "protein2text.ending_ray",
    "protein2text.memory",
)
ENTRY_POINTS = ("protein2text.__main__", "protein2text.cli", "protein2text.demo", "protein2text.rehearsal")
"""Command line, demo and rehearsal stand above all rooms: they may import any, and no room imports them."""
FOUNDATION = {
    "protein2text",
    *(
        f"protein2text.{name}"
        for name in ("base_config", "errors", "large_imports", "memory", "outputs", "proteins", "termination")
    ),
}
CONFIGURATION = ("protein2text.config", "protein2text.doctor")


def modules() -> dict[str, Path]:
    found = {}
    for place in ("platform", "kernels", "serve"):
        for path in sorted((ROOT / place).rglob("*.py")):
            parts = path.relative_to(ROOT / place).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> set[str]:
    """Modules of ours that a file imports anywhere in it, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; the whole name says where it comes from"
            names |= {node.module or ""}
    return {name for name in names if name.split(".")[0].startswith("protein2text")}


def starts_with(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith((f"{package}.", f"{package}_")) for package in packages)


def room(name: str) -> int | None:
    """Which room a module is in, counted from the left; None for what belongs to all or stands above all."""
    if name in FOUNDATION or starts_with(name, (*ENTRY_POINTS, *CONFIGURATION)):
        return None
    if name.startswith("protein2text_kernels"):
        return 0
    if name.startswith("protein2text_serve"):
        return 3
    if starts_with(name, ("protein2text.models",)):
        return 1
    assert starts_with(name, WORKSHOP), f"{name} is in no room that ARCHITECTURE.md knows"
    return 2


def test_places_are_not_packages() -> None:
    for place in PLACES:
        assert (ROOT / place).is_dir()
        assert not (ROOT / place / "__init__.py").exists()


def test_python_still_finds_its_own_platform_module() -> None:
    code = "import platform, sys; assert platform.python_version(); print(platform.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).parent != ROOT / "platform"


@pytest.mark.parametrize("name", sorted(modules()))
def test_nothing_imports_to_its_right(name: str) -> None:
    imported = imports(modules()[name])
    own = room(name)
    if own is None:
        return
    for other in imported:
        assert not starts_with(other, ENTRY_POINTS), f"{name} imports {other}, an entry point"
        theirs = room(other)
        assert theirs is None or theirs <= own, f"{name} ({ROOMS[own]}) imports {other} ({ROOMS[theirs]})"
    if own <= 1:
        assert not [other for other in imported if starts_with(other, CONFIGURATION)], (
            f"{name} imports the run configuration"
        )
    if own == 3:
        assert not [other for other in imported if starts_with(other, ("protein2text.train",))], f"{name} imports train"


def test_jobs_are_imported_by_nothing() -> None:
    jobs = {path.stem for path in (ROOT / "jobs").glob("*.py")}
    assert jobs
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in {"jobs", "_bootstrap", "_training"}, name


BLOCKED_IMPORT = """
import sys
for name in ("ray", "deepspeed", "mlflow", "esm", "typer"):
    sys.modules[name] = None  # absent: importing it raises, find_spec finds nothing
import pkgutil
import protein2text.models
for module in pkgutil.walk_packages(protein2text.models.__path__, "protein2text.models."):
    __import__(module.name)
print("imported")
"""


def test_the_model_imports_without_ray_deepspeed_mlflow_esm_typer() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED_IMPORT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "imported", done.stderr


HELP_IMPORTS = """
import sys
from protein2text.cli import app
heavy = {"torch", "ray", "mlflow", "transformers", "deepspeed", "pyarrow", "matplotlib"} & set(sys.modules)
print(sorted(heavy))
"""


def test_the_command_line_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", HELP_IMPORTS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: the tracked files cannot be listed")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_only_ci_and_conftest_know_where_test_data_lies() -> None:
    for path in tracked_files():
        name = path.relative_to(ROOT).as_posix()
        if name not in MAY_NAME_TEST_DATA and TEST_DATA_FOLDER.encode() in path.read_bytes():
            pytest.fail(f"{name} names {TEST_DATA_FOLDER}; tests take the fixtures of tests/conftest.py")


def test_one_place_reads_the_test_data_variable() -> None:
    names = {
        path.relative_to(ROOT).as_posix() for path in tracked_files() if b"PROTEIN2TEXT_TEST_DATA" in path.read_bytes()
    }
    code = {name for name in names if not name.endswith(".md") and not name.startswith("tests/platform/")}
    assert code == MAY_NAME_TEST_DATA
