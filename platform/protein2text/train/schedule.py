"""The learning rate as a function of the optimizer step."""

import math


def num_warmup_steps(num_steps: int, warmup_ratio: float) -> int:
    """Steps of the linear rise: the ratio of all steps, rounded up as the published trainer (Hugging Face) does."""
    return math.ceil(num_steps * warmup_ratio)


def learning_rate(step: int, *, num_steps: int, peak: float, warmup_ratio: float) -> float:
    """Learning rate of optimizer step ``step``, counted from 0: linear warm-up to ``peak``, then half a cosine to 0.

    A warm-up's first step has rate 0, as in ``transformers.get_cosine_schedule_with_warmup``, the published recipe's.
    """
    warmup = num_warmup_steps(num_steps, warmup_ratio)
    if step < warmup:
        return peak * step / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
