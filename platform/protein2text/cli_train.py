"""``protein2text train``: a run's stages, or what they would be."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import yaml
from rich.table import Column, Table

from protein2text.cli_common import (
    EXIT_RUNTIME,
    Json,
    RunFile,
    at_work,
    plain,
    print_json,
    print_result,
    stderr,
    stdout,
)
from protein2text.large_imports import large_imports

if TYPE_CHECKING:
    from protein2text.config import RunConfig
    from protein2text.train.dry_run import DryRun, StageRehearsal
    from protein2text.train.stage_config import Stage


def train(
    run_file: RunFile,
    stage: Annotated[Literal["alignment", "instruction", "both"], typer.Option(help="Which stage to train.")] = "both",
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Train in spite of a leak into a test set; model and reports say so.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count everything and do the longest step; leave nothing behind.")
    ] = False,
    resolve: Annotated[
        bool, typer.Option("--resolve", help="Print what Ray, NCCL and DeepSpeed would be told, and the memory needed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a run's stages on Ray; the same run again resumes it.

    Training records that share a sequence, accession or text with a registered test set (the run's own test side, and
    data.test_sets) are refused before the first step.

    [bold]Examples[/bold]

    protein2text train my-run.yaml --dry-run

    protein2text train my-run.yaml

    protein2text train my-run.yaml --stage instruction

    protein2text train protein2text-8b --resolve
    """
    from protein2text.config import STAGES, load_run

    config = load_run(run_file, {"data": {"allow_leak": True}} if allow_leak else None)
    stages = STAGES if stage == "both" else (stage,)
    if resolve:
        _resolve(config, as_json)
    elif dry_run:
        _rehearse(config, stages, as_json)
    else:
        _train(config, stages, as_json)


def _train(config: "RunConfig", stages: "Sequence[Stage]", as_json: bool) -> None:
    with large_imports():
        from protein2text.cli_display import quiet_libraries
        from protein2text.cli_training import training_at_work
        from protein2text.train.before_start import refuse_early
        from protein2text.train.run import train_stage

    with quiet_libraries():
        refuse_early(config, stages)
    results = {}
    for name in stages:
        with training_at_work(name, stderr()) as (row, on_event):
            results[name] = train_stage(config, name, on_event=on_event)
            row.note = f"{results[name].steps} steps, loss {results[name].final_loss:.3f}"
    config.save(config.folder / "run.yaml")
    print_result({name: plain(result) for name, result in results.items()}, as_json)


def _resolve(config: "RunConfig", as_json: bool) -> None:
    from protein2text.cli_display import quiet_libraries
    from protein2text.train.resolve import resolved

    with quiet_libraries():
        values = resolved(config)
    if as_json:
        print_json(values)
    else:
        typer.echo(yaml.safe_dump(values, sort_keys=False), nl=False)


def _rehearse(config: "RunConfig", stages: "Sequence[Stage]", as_json: bool) -> None:
    with large_imports():
        from protein2text.train.dry_run import dry_run

    with at_work("dry run") as (row, on_event):
        found = dry_run(config, stages, on_event)
        row.note = "two steps of each stage done, nothing left behind"
    if as_json:
        print_json(plain(found))
    else:
        stdout().print(overview(found), highlight=False)
        stdout().print(_parameters(found), highlight=False)
        for part, where in found.bases.items():
            typer.echo(f"{part}: {where}")
        typer.echo(f"leak check: {found.leak_check}")
        for problem in found.problems:
            typer.echo(f"problem: {problem}")
    if found.problems:
        raise typer.Exit(EXIT_RUNTIME)


def overview(found: "DryRun") -> Table:
    """A dry run as a table with a column per stage."""
    from protein2text.train.memory_estimate import size
    from protein2text.train.page import duration

    table = Table(f"run {found.run}", *(stage.stage for stage in found.stages), box=None, pad_edge=False)

    def row(name: str, tell: Any) -> None:
        table.add_row(name, *(tell(stage) for stage in found.stages))

    row("begins with", lambda stage: stage.begins_with)
    row("records", lambda stage: f"{stage.num_records:,}")
    row("steps", lambda stage: f"{stage.num_steps:,} of {stage.global_batch} records, {stage.num_dropped} left over")
    row("longest step", _longest)
    row("seconds for it", lambda stage: f"{stage.step_s:.3g} (the first time {stage.warm_up_s:.3g})")
    row("expected time", lambda stage: duration(stage.expected_s))
    row("first loss", lambda stage: f"{stage.loss:.4f}")
    row("memory per worker", lambda stage: f"{size(stage.memory.needed)} of {size(stage.device_bytes)}, estimated")
    for name in {name: None for stage in found.stages for name, needed in stage.memory.parts.items() if needed}:
        row(f"  {name}", lambda stage, name=name: size(stage.memory.parts.get(name, 0)))
    row("  measured", lambda stage: f"{size(stage.peak_bytes)}, on a CPU with the program itself")
    row("disk", lambda stage: size(stage.disk.needed))
    row("  checkpoints", lambda stage: f"{stage.disk.num_checkpoints} of {size(stage.disk.checkpoint)}")
    row("  model", lambda stage: size(stage.disk.model))
    row("  state cache", lambda stage: f"up to {size(stage.disk.state_cache)}" if stage.disk.state_cache else "none")
    row("free disk", lambda stage: size(found.free_disk_bytes))
    return table


def _longest(stage: "StageRehearsal") -> str:
    longest = stage.longest
    return f"number {longest.step + 1}, {longest.num_tokens:,} positions, {longest.num_residues:,} residues"


def _parameters(found: "DryRun") -> Table:
    right = [
        Column(f"{stage.stage}: {kind}", justify="right") for stage in found.stages for kind in ("trained", "frozen")
    ]
    table = Table("parameters", *right, box=None, pad_edge=False)
    for part in {part: None for stage in found.stages for part in stage.parameters}:
        cells = []
        for stage in found.stages:
            count = stage.parameters.get(part)
            cells += [f"{count.trained:,}", f"{count.frozen:,}"] if count else ["", ""]
        table.add_row(part, *cells)
    totals = [
        f"{sum(getattr(count, kind) for count in stage.parameters.values()):,}"
        for stage in found.stages for kind in ("trained", "frozen")
    ]  # fmt: skip
    table.add_row("all", *totals)
    return table
