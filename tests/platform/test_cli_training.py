"""What a stage in training shows, on a terminal and off it."""

import io
import re
import time

from rich.console import Console

from protein2text.cli_training import TrainingView, sparkline, training_at_work
from protein2text.train.events import Event

NUMBERS = {
    "loss": 2.5, "learning_rate": 1e-3, "grad_norm": 0.5, "tokens": 4000, "residues": 10000, "seconds": 2.0,
    "data_wait_s": 0.1, "peak_memory_bytes": 3 * 2**30,
}  # fmt: skip


def step_event(step: int, **changes: float) -> Event:
    return {"stage": "alignment", "time": time.time(), "step": step, "num_steps": 100, **NUMBERS, **changes}


def shown(view: TrainingView) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=160, color_system=None)
    with console.capture() as capture:
        console.print(view)
    return capture.get()


def test_a_terminal_shows_progress_loss_speed_checkpoint_restarts_and_decisions() -> None:
    view = TrainingView("alignment")
    assert "no checkpoint yet" in shown(view)
    view.take({"stage": "alignment", "time": 0.0, "message": "training from the beginning", "num_workers": 2})
    for step in range(1, 26):
        view.take(step_event(step, loss=5.0 - step / 10, mfu=0.5))
    view.take({"stage": "alignment", "time": time.time() - 65, "checkpoint": "step-00000020"})
    view.take({"stage": "alignment", "time": 0.0, "message": "training from step-00000020", "num_workers": 2})
    view.take({"stage": "alignment", "step": 25, "validation": {"loss": 2.0, "loss_shuffled": 2.25, "num_records": 9}})
    text = shown(view)
    for part in (
        "25/100 (25%)", "0:02:30 left", "loss 2.5,", "gradient norm 0.5", "learning rate 0.001", "2,000 positions/s",
        "5,000 residues/s", "MFU 50.0%", "waiting for data 5.0%", "memory 3.0 GiB", "step-00000020 is 0:01:05 old",
        "1 restarts", "validation 2 (shuffled 2.25)", "training from step-00000020", "█",
    ):  # fmt: skip
        assert part in text, part


def test_a_run_that_goes_on_shows_the_checkpoint_it_began_with() -> None:
    view = TrainingView("alignment")
    began = {"message": "training from step-00000020", "num_workers": 2, "resumed_from": "step-00000020"}
    view.take({"stage": "alignment", "time": time.time(), "written": time.time() - 3661, **began})
    assert "step-00000020 is 1:01:01 old · 0 restarts" in shown(view)
    assert "no checkpoint yet" not in shown(view)


def test_utilization_that_nobody_measured_is_called_so() -> None:
    view = TrainingView("alignment")
    view.take(step_event(1))
    assert "MFU not measured" in view.line()


def test_a_slow_step_hardly_moves_what_is_left() -> None:
    view = TrainingView("alignment")
    for step in range(1, 11):
        view.take(step_event(step, seconds=1000.0 if step == 10 else 2.0))
    assert "0:03:00 left" in view.line()


def test_off_a_terminal_decisions_are_lines_and_steps_few_of_them() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=False, width=80)
    with training_at_work("alignment", console) as (row, on_event):
        on_event({"stage": "alignment", "time": 0.0, "message": "training from the beginning", "num_workers": 2})
        on_event({"stage": "alignment", "time": 0.0, "lineage": {}})
        for step in (1, 2, 3):
            on_event(step_event(step))
        row.note = "3 steps"
    started, decision, first, done = stream.getvalue().splitlines()
    assert (started, decision) == ("alignment  started", "alignment  training from the beginning")
    assert first.startswith("alignment  1/100 (1%), loss 2.5, gradient norm 0.5")
    assert re.fullmatch(r"alignment  done in \d+ s: 3 steps", done)


def test_a_sparkline_spans_its_values_and_keeps_its_width() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([3.0, 3.0], 8) == "▁▁"
    assert sparkline([], 8) == ""
    assert len(sparkline(list(range(1001)), 40)) <= 40
