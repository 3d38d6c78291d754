"""`data.grouping`: who stays together, against brute force."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from protein2text.data.grouping import connected, draw, reached
from protein2text.data.mmseqs import Hit

NAMES = [f"s{number:02d}" for number in range(12)]
bundles_of_names = st.lists(st.sets(st.sampled_from(NAMES), max_size=4), max_size=12)
pairs_of_names = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=15)


def reachable(start: str, bundles: list[set[str]]) -> set[str]:
    """Oracle: grow a set until no bundle adds to it."""
    found = {start}
    while True:
        grown = found.union(*(bundle for bundle in bundles if bundle & found))
        if grown == found:
            return found
        found = grown


@settings(deadline=None)
@given(bundles_of_names)
def test_groups_are_what_can_be_reached_through_bundles(bundles: list[set[str]]) -> None:
    groups = connected(NAMES, [sorted(bundle) for bundle in bundles])
    for name in NAMES:
        assert {other for other in NAMES if groups[other] == groups[name]} == reachable(name, bundles)
        assert groups[name] == min(reachable(name, bundles))


@settings(deadline=None)
@given(bundles_of_names, st.floats(0, 1), st.integers(0, 99), st.randoms())
def test_a_draw_takes_whole_groups_up_to_the_share_in_any_order(
    bundles: list[set[str]], share: float, seed: int, rng: random.Random
) -> None:
    groups = connected(NAMES, bundles)
    chosen = draw(groups, share, seed)
    drawn = [name for name in NAMES if groups[name] in chosen]
    assert len(drawn) <= round(share * len(NAMES))
    left_out = [sum(other == group for other in groups.values()) for group in set(groups.values()) - chosen]
    assert all(len(drawn) + size > round(share * len(NAMES)) for size in left_out), "a group that fits is not left out"
    shuffled = list(groups.items())
    rng.shuffle(shuffled)
    assert draw(dict(shuffled), share, seed) == chosen


@settings(deadline=None)
@given(bundles_of_names, pairs_of_names, st.integers(0, 9))
def test_after_moving_no_test_group_touches_the_rest(
    bundles: list[set[str]], pairs: list[tuple[str, str]], seed: int
) -> None:
    groups = connected(NAMES, bundles)
    test = draw(groups, 0.5, seed)
    hits = [Hit(query, target, 0.9, 1.0, 1.0) for query, target in pairs]
    moved = reached(test, groups, hits)
    kept = test - moved
    assert moved <= test
    for hit in hits:
        assert (groups[hit.query] in kept) == (groups[hit.target] in kept)
    links = [{groups[hit.query], groups[hit.target]} for hit in hits]
    for group in moved:
        assert reachable(group, links) - test, "only what is tied to the rest moves"
