"""Fixtures shared by the whole suite; the only place that reads the environment variable of the test data."""

import logging
import os
import resource
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from protein2text.large_imports import large_imports

TEST_DATA_VARIABLE = "PROTEIN2TEXT_TEST_DATA"
"""Names a folder with ``data/`` (real files) and ``golden/`` (recorded results of the reference implementation)."""

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may need a model hub
os.environ.setdefault("OMP_NUM_THREADS", "1")  # Ray's workers inherit it; two of them share two cores
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels run on the CPU; Triton reads this when it is first imported


STARTS_PROCESSES = {"local_ray", "cluster", "service", "two_workers", "network"}
"""Fixtures whose files take longest, or wait longest."""


FOLDERS_WITH_ONE_SERVICE = ("tests/serve/", "tests/jobs/")
"""All their files stay in one test process, which starts the service or the cluster that they share."""

FILES_WITH_ONE_RAY = tuple(f"tests/train/test_{name}.py" for name in ("dry_run", "embed", "out_of_memory", "run"))
"""These too: what training does on Ray takes both processors, as a second Ray would; another process has the rest."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``--dist loadfile``, but for some folders."""
    from xdist.scheduler import LoadFileScheduling

    class LoadFilesAndFolders(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = next((name for name in FOLDERS_WITH_ONE_SERVICE if nodeid.startswith(name)), None)
            on_ray = "training on Ray" if nodeid.startswith(FILES_WITH_ONE_RAY) else None
            return folder or on_ray or str(super()._split_scope(nodeid))

    return LoadFilesAndFolders(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Test modules import most of what there is."""
    with large_imports():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that the processes which share the suite end together; before them those that would end
    the Ray of their process."""

    def files_with(fixtures: set[str]) -> set[Path]:
        return {item.path for item in items if fixtures & set(getattr(item, "fixturenames", ()))}

    long, ending_ray = files_with(STARTS_PROCESSES), files_with({"without_ray"})
    on_ray = files_with({"local_ray"})
    items.sort(key=lambda item: (item.path not in ending_ray, item.path not in on_ray, item.path not in long))


@contextmanager
def no_file_above(num_bytes: int) -> Iterator[None]:
    """The system refuses to write more into any file, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _test_data(folder: str) -> Path:
    root = os.environ.get(TEST_DATA_VARIABLE)
    if not root:
        pytest.skip(f"{TEST_DATA_VARIABLE} is not set: this test reads real files that are not part of the repository")
    path = Path(root).resolve() / folder
    assert path.is_dir(), f"{TEST_DATA_VARIABLE}={root} has no folder {folder!r}"
    return path


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands set up logging for their process, which here goes on with other tests."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith(("protein2text", "ray"))]
    loggers = [logging.root, *map(logging.getLogger, names)]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    filters = [(handler, handler.filters[:]) for _, handlers, *_ in before for handler in handlers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate
    for handler, kept in filters:
        handler.filters[:] = kept
    logging.root.manager._clear_cache()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real UniProt, QA and PMC files; the test is skipped where there is none."""
    return _test_data("data")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of results recorded from the reference implementation; the test is skipped where there is none."""
    return _test_data("golden")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return Path(__file__).resolve().parents[1]


def start_ray() -> str:
    """The address of a Ray of four logical CPUs that a test process starts once, for the modules that need no other.

    Its start takes seconds of both processors, and its idle workers keep what they once imported.
    """
    import ray

    from protein2text.resources import start_local_ray

    if not ray.is_initialized():
        start_local_ray(num_cpus=4)
        ray.data.DataContext.get_current().enable_progress_bars = False
    return str(ray.get_runtime_context().gcs_address)


@pytest.fixture(scope="module")
def local_ray() -> str:
    """The address of this process's Ray."""
    return start_ray()


@pytest.fixture(scope="module")
def without_ray() -> Iterator[None]:
    """For modules that start a Ray of their own; it, too, ends before the next module."""
    import ray

    ray.shutdown()
    yield
    ray.shutdown()


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh working directory, so that relative outputs (``runs/``) never land in the checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
