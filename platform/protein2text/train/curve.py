"""The loss curve of a stage as a picture."""

from pathlib import Path

from matplotlib.figure import Figure

from protein2text.train.events import Event

SMOOTHING = 0.95


def draw_loss_curve(steps: list[Event], path: Path, title: str) -> None:
    """Loss per step in nats per supervised token, raw and as an exponential mean, with the learning rate beside it."""
    numbers = [event["step"] for event in steps]
    losses = [event["loss"] for event in steps]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(numbers, losses, color="tab:blue", alpha=0.3, linewidth=0.8)
    axes.plot(numbers, exponential_mean(losses), color="tab:blue", label="loss")
    axes.set(title=title, xlabel="optimizer step", ylabel="nats per supervised token", ylim=(0, None))
    rates = axes.twinx()
    rates.plot(numbers, [event["learning_rate"] for event in steps], color="tab:gray", linewidth=0.8)
    rates.set_ylabel("learning rate", color="tab:gray")
    axes.legend()
    figure.savefig(path, dpi=120)


def exponential_mean(values: list[float]) -> list[float]:
    """Exponential moving average without the pull of its start towards zero (Adam's bias correction)."""
    means, mean = [], 0.0
    for count, value in enumerate(values, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        means.append(mean / (1 - SMOOTHING**count))
    return means
