"""Imports of large libraries, such as torch, in two thirds of their time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from protein2text.memory import without_collector
from protein2text.termination import no_signal_lost


@contextmanager
def large_imports() -> Iterator[None]:
    """No garbage collection in the block, nor later of what is there at its end.

    The modules of torch, transformers and DeepSpeed are a million objects that all stay until the process ends.
    Python's collector walks them again and again while they come to be, later whenever much else was made, and at last
    when the process ends. A signal that one of them swallowed ends the command after the block.
    """
    with no_signal_lost(), without_collector():
        yield
        gc.freeze()
