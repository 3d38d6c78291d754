"""Imported by the process that tests' workers are forked from."""

from protein2text.large_imports import large_imports

with large_imports():
    import s3fs  # noqa: F401

    from tests.train import worker_process  # noqa: F401
