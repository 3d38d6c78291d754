"""What the commands share: exit codes, options, and how results and progress are shown."""

import json
import resource
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Column, Table
from typer.core import TyperGroup

from protein2text.errors import ConfigError, MissingFile, ProteinToTextError, RecordError, ResourcesUnavailable, chain
from protein2text.termination import EXIT_INTERRUPTED, EXIT_TERMINATED, is_termination

if TYPE_CHECKING:
    from protein2text.cli_display import OnEvent, StageDisplay

EXIT_RUNTIME = 1
EXIT_USAGE = 2
USAGE_ERRORS = (ConfigError, MissingFile, RecordError)
"""Errors that another command line or another file would have avoided."""

RAY_TIMED_OUT = "node timed out during startup"
"""Part of what Ray 2.60 raises, as a bare ``Exception``, when its processes do not come up in its fixed 30 seconds."""

PLAIN_WIDTH = 120
"""Columns of a table when stdout is no terminal."""

Device = Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to run.")]

RunFile = Annotated[str, typer.Argument(metavar="RUN.yaml", help="A run file, or the name of a preset.")]

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


class OneLineErrors(TyperGroup):
    """Turns the product's own errors into one line on stderr and an exit code; anything else is a bug and is shown."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, SystemExit) as end:
            if is_termination(end):
                raise _ended("terminated", EXIT_TERMINATED) from None
            if isinstance(end, SystemExit):
                raise
            raise _ended("interrupted", EXIT_INTERRUPTED) from None
        except Exception as error:
            known = _known(error)
            if known is None:
                raise
            if ctx.params.get("verbose"):
                traceback.print_exception(error)
            typer.echo(f"protein2text: {known}", err=True)
            raise typer.Exit(EXIT_USAGE if isinstance(known, USAGE_ERRORS) else EXIT_RUNTIME) from None


def _ended(how: str, code: int) -> typer.Exit:
    typer.echo(f"protein2text: {how}; give the same command again to finish", err=True)
    return typer.Exit(code)


def _known(error: BaseException) -> ProteinToTextError | None:
    """The product's own error in an exception: itself, or wrapped by Ray on its way; or a path that cannot be used; or
    Ray's own failure to start."""
    for inner in chain(error):
        is_rays_double = hasattr(inner, "cause")  # an instance of our class too, with Ray's trace as its text
        if isinstance(inner, ProteinToTextError) and not is_rays_double:
            return inner
        if isinstance(inner, OSError) and inner.filename is not None:
            remedy = "Check the path and the rights on it, or name another."
            return ConfigError(str(inner.filename), "path", f"{inner.strerror or inner}. {remedy}")
    if RAY_TIMED_OUT in str(error):
        remedy = "Let other work end, then give the same command; what is finished is kept."
        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        if limit != resource.RLIM_INFINITY:
            remedy = f"Its shared memory is one large file: raise `ulimit -f`, now {limit} bytes. {remedy}"
        return ResourcesUnavailable("a Ray that starts within 30 s", "too little free processor time or memory", remedy)
    return None


def stdout() -> Console:
    """Where results go; as wide as tables need when it is no terminal."""
    console = Console()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def stderr() -> Console:
    """Where progress and messages go."""
    return Console(stderr=True)


@contextmanager
def at_work(stage: str, *, on_ray: bool = True) -> Iterator[tuple["StageDisplay", "OnEvent"]]:
    """A progress display around one stage; yields its row and the callback for its events."""
    from protein2text.cli_display import Display, quiet_libraries

    with quiet_libraries(on_ray=on_ray), Display(stderr(), (stage,)) as display, display.stage(stage) as row:
        yield row


def usable_device(device: str) -> str:
    """The device that was asked for.

    Raises:
        ResourcesUnavailable: it is not in this machine, or torch was built without it.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        remedy = "Use --device cpu; `protein2text doctor` says what this machine has."
        raise ResourcesUnavailable("a GPU that torch can use", f"none (torch {torch.__version__})", remedy)
    return device


def plain(result: Any) -> dict[str, Any]:
    """A result object as a mapping."""
    return dict(asdict(result))


def print_json(result: Any) -> None:
    """One JSON object on stdout."""
    typer.echo(json.dumps(result, ensure_ascii=False, default=str))


def print_result(result: dict[str, Any], as_json: bool) -> None:
    """A result on stdout, as JSON or one line per value."""
    if as_json:
        print_json(result)
        return
    for key, value in result.items():
        typer.echo(f"{key}: {json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict) else value}")


def print_funnel(funnel: list[dict[str, Any]]) -> None:
    """What was left after each stage, on stdout, with the reasons of what was lost."""
    table = Table("stage", Column("left", justify="right"), "lost, by reason", box=None, pad_edge=False)
    for step in funnel:
        lost = ", ".join(f"{count} {reason}" for reason, count in step.get("reasons", {}).items())
        table.add_row(step["step"], str(step["left"]), lost)
    stdout().print(table)


def wait_for_interrupt() -> None:
    """Return on Ctrl-C or a termination signal."""
    signalled = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: signalled.set())
    while not signalled.wait(1.0):
        pass
