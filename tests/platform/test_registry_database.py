"""A database made at once holds what MLflow would make, and never takes the place of another."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from protein2text.registry import connect
from protein2text.registry_database import make_database


def everything_in(path: Path) -> tuple[list[Any], list[Any]]:
    """Definitions of all tables and indices, and the version of MLflow's schema.

    A definition's lines are sorted: MLflow's migrations keep a table's constraints in a set, and write them in another
    order each time.
    """
    with sqlite3.connect(path) as database:
        rows = database.execute("select type, name, sql from sqlite_master order by type, name").fetchall()
        version = database.execute("select version_num from alembic_version").fetchall()
    return [
        (kind, name, sorted(line.strip(", ") for line in (sql or "").split("\n"))) for kind, name, sql in rows
    ], version


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow's own
def test_it_is_the_one_that_mlflow_makes(tmp_path: Path) -> None:
    make_database(tmp_path / "deep" / "ours.db")
    MlflowClient(f"sqlite:///{tmp_path}/theirs.db").search_experiments()
    assert everything_in(tmp_path / "deep" / "ours.db") == everything_in(tmp_path / "theirs.db")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["ours.db"]


def test_one_that_is_there_by_then_is_left_alone(tmp_path: Path) -> None:
    client = connect(f"sqlite:///{tmp_path}/mlflow.db")
    client.create_experiment("mine")
    make_database(tmp_path / "mlflow.db")
    assert client.get_experiment_by_name("mine") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
