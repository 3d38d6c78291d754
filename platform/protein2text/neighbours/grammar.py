"""Which facts a question asks for: a small table of wordings, and None for everything else."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """The kinds of facts that a question asks for, in the order of the answer."""

    kinds: tuple[str, ...]
    value: str | None = None
    """What a closed question names: ``zinc`` in "Does it bind zinc?"; None for an open one."""
