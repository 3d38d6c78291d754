"""An SQLite database with MLflow's tables, made without waiting for the disk at each of them."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from mlflow.store.db.utils import _initialize_tables
from sqlalchemy import create_engine, event


def make_database(path: Path) -> None:
    """Make a database that MLflow finds in order; it appears whole, and one that is there by then is left alone.

    MLflow 3.17's migrations wait for the disk 1,400 times, for seconds. Here they write into a file that nobody knows
    yet, which is waited for once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as scratch:
        made = Path(scratch, path.name)
        engine = create_engine(f"sqlite:///{made}")
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        _initialize_tables(engine)
        engine.dispose()
        with made.open("rb") as file:
            os.fsync(file.fileno())
        with suppress(OSError):  # it is there, or the file system knows no links: MLflow then makes its tables itself
            path.hardlink_to(made)
