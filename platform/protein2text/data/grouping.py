"""Which proteins must stay on one side of a split: pure functions over names, without files or MMseqs2."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

from protein2text.data.mmseqs import Hit


def connected(names: Iterable[str], bundles: Iterable[Iterable[str]]) -> dict[str, str]:
    """Join names that share a bundle, directly or through others.

    Args:
        names: all of them.
        bundles: sets of names that belong together: a cluster, the sequences of one accession, of one text.

    Returns:
        Name to the first name, in alphabetical order, of its group.
    """
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for bundle in bundles:
        for one, other in pairwise(bundle):
            low, high = sorted((root(one), root(other)))
            parent[high] = low
    return {name: root(name) for name in parent}


def draw(groups: Mapping[str, str], share: float, seed: int) -> set[str]:
    """Choose whole groups at random until they hold a share of the names; a group that would exceed it is passed over.

    Args:
        groups: name to group.
        share: of the names, 0-1.
        seed: the same seed and groups give the same choice, in whatever order the names come.

    Returns:
        The chosen groups.
    """
    sizes: dict[str, int] = defaultdict(int)
    for group in groups.values():
        sizes[group] += 1
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    chosen: set[str] = set()
    room = round(share * len(groups))
    for group in order:
        if sizes[group] <= room:
            chosen.add(group)
            room -= sizes[group]
    return chosen


def reached(test: set[str], groups: Mapping[str, str], hits: Iterable[Hit]) -> set[str]:
    """Test groups that a hit ties to the rest, directly or through other test groups.

    Moving a group out of test brings its own neighbors with it: they would hit it there.
    """
    neighbors: dict[str, set[str]] = defaultdict(set)
    for hit in hits:
        one, other = groups[hit.query], groups[hit.target]
        neighbors[one].add(other)
        neighbors[other].add(one)
    moved: set[str] = set()
    waiting = [group for group in sorted(test) if neighbors[group] - test]
    while waiting:
        group = waiting.pop()
        if group not in moved:
            moved.add(group)
            waiting += sorted((neighbors[group] & test) - moved)
    return moved
