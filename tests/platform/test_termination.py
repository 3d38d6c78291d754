"""A signal ends a command whatever runs at that moment: imports, and C code that forgets what its handler raised."""

import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from protein2text import cli
from protein2text.__main__ import main
from protein2text.termination import EXIT_INTERRUPTED, EXIT_TERMINATED, leave_on_termination, no_signal_lost

AT_IMPORT = """
import signal, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "{module}":
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
"""


def interrupted_at_import(module: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", AT_IMPORT.format(module=module) + code], capture_output=True, text=True
    )


def test_an_interrupt_while_the_command_is_imported_is_quiet() -> None:
    ended = interrupted_at_import("typer", "from protein2text.__main__ import main; main()")
    assert (ended.returncode, ended.stdout, ended.stderr) == (EXIT_INTERRUPTED, "", "")


def test_an_interrupt_that_torch_swallows_ends_the_command_all_the_same() -> None:
    """Its C code imports numpy, and goes on without where that raises."""
    code = "from protein2text.large_imports import large_imports\nwith large_imports(): import torch\nprint('went on')"
    ended = interrupted_at_import("numpy", code)
    assert (ended.returncode, ended.stdout) == (-signal.SIGINT, "")


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_that_is_lost_comes_again_once(number: signal.Signals, raised: type[BaseException]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    leave_on_termination()
    own = signal.getsignal(number)
    try:
        with pytest.raises(raised), no_signal_lost(), suppress(raised):
            signal.raise_signal(number)
        assert signal.getsignal(number) is own
        with no_signal_lost():
            pass
    finally:
        leave_on_termination()  # what came is forgotten
        signal.signal(signal.SIGTERM, before)


def test_a_termination_before_a_command_is_chosen_has_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "main", lambda: sys.exit(signal.SIGTERM))
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == EXIT_TERMINATED


def test_exit_codes_are_those_of_shells() -> None:
    assert (EXIT_INTERRUPTED, EXIT_TERMINATED) == (130, 143)
