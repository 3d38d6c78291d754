"""From a card to the sections of a page, by the shape of its values: any card shows, whoever wrote it.

[{"step": str, "left": n, …}, …]                  what is left after each step
[{"above"|"from": a, "up_to"|"below": b, x: n}]   a histogram
[{…}, …]                                          a table
{name: number, …}                                 counts, the largest first
anything else                                     facts, nested keys joined by dots
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from protein2text.data.report.plots import histogram_svg

MAX_LETTERS = 300
"""Letters of a value that a page shows."""
MAX_ROWS = 40
_LOW, _HIGH = ("above", "from"), ("up_to", "below")
_FIRST = ("counts", "proteins", "records", "funnel", "reasons", "licences", "sources", "overlaps")
"""Keys that come first, in this order; the others follow as the card has them."""


@dataclass(frozen=True)
class Section:
    """A heading, a picture if there is one, and a table of texts; ``bars`` are shares (0-1) drawn in its rows."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bars: tuple[float, ...] = ()
    plot: Markup | None = None
    note: str = ""


def sections_of(card: Mapping[str, Any]) -> list[Section]:
    """All that a card says, in a fixed order; facts that are no table stand together at the end."""
    keys = [key for key in _FIRST if key in card] + [key for key in card if key not in _FIRST]
    facts: dict[str, Any] = {}
    sections = []
    for key in keys:
        section = _section(title_of(key), card[key])
        if section is not None:
            sections.append(section)
        elif isinstance(card[key], Mapping) and isinstance(card[key].get("histogram"), list):
            sections.append(_with_histogram(title_of(key), card[key]))
        else:
            facts[key] = card[key]
    return [*sections, facts_section("Made with", facts)] if facts else sections


def facts_section(title: str, facts: Mapping[str, Any]) -> Section:
    """Name and value, nested names joined by dots."""
    rows = tuple((printable(name), shown(value)) for name, value in _leaves(facts))
    return Section(title, ("", ""), rows)


def counts_section(title: str, counts: Mapping[str, Any], note: str = "") -> Section:
    """Names with their numbers and bars, at most ``MAX_ROWS`` and the sum of the others."""
    items = sorted(counts.items(), key=lambda item: -item[1])
    if len(items) > MAX_ROWS:
        rest = items[MAX_ROWS:]
        items = [*items[:MAX_ROWS], (f"{len(rest)} others", sum(number for _, number in rest))]
    top = max((number for _, number in items), default=0)
    bars = tuple(number / top if top > 0 else 0.0 for _, number in items)
    return Section(title, ("", ""), tuple((shown(name), shown(number)) for name, number in items), bars, note=note)


def title_of(key: str) -> str:
    """``length_histogram`` as ``Length histogram``."""
    words = key.replace("_", " ").strip()
    return shown(words[:1].upper() + words[1:])


def shown(value: Any) -> str:
    """A value as a page shows it: thousands separated, long texts cut and said so, unprintable letters replaced."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping) and value and all(_is_number(number) for number in value.values()):
        value = ", ".join(f"{shown(number)} {name}" for name, number in value.items())
    elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = printable(text)
    return text if len(text) <= MAX_LETTERS else f"{text[:MAX_LETTERS]}… ({len(text):,} letters)"


def printable(text: str) -> str:
    """A text with another letter in place of what no page can show."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)


def _section(title: str, value: Any) -> Section | None:
    """A section of its own where the shape allows one, None for facts."""
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        if all({"step", "left"} <= set(item) and _is_number(item["left"]) for item in value):
            return _funnel(title, value)
        return _histogram(title, value) or _table(title, value)
    if isinstance(value, Mapping) and value and all(_is_number(number) for number in value.values()):
        return counts_section(title, value)
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _funnel(title: str, steps: Sequence[Mapping[str, Any]]) -> Section:
    """What is left after each step, with whatever else the steps say."""
    others = list(dict.fromkeys(key for step in steps for key in step if key not in ("step", "left")))
    top = max(step["left"] for step in steps)
    bars = tuple(step["left"] / top if top > 0 else 0.0 for step in steps)
    columns = ("step", "left", *others)
    rows = tuple(tuple(shown(None if step.get(key) == {} else step.get(key)) for key in columns) for step in steps)
    return Section(title, tuple(map(title_of, columns)), rows, bars)


def _histogram(title: str, bins: Sequence[Mapping[str, Any]]) -> Section | None:
    """Bins with one count each, bounded by numbers; None when these are not such bins."""
    low = next((key for key in _LOW if key in bins[0]), None)
    high = next((key for key in _HIGH if key in bins[0]), None)
    counted = [key for key in bins[0] if key not in (low, high)]
    if low is None or high is None or len(counted) != 1 or any(set(part) != set(bins[0]) for part in bins):
        return None
    bounds = [part[key] for part in bins for key in (low, high)]
    counts = [part[counted[0]] for part in bins]
    if not all(bound is None or _is_number(bound) for bound in bounds) or not all(_is_number(n) for n in counts):
        return None
    names = [_bin_name(part[low], part[high], low == "above") for part in bins]
    rows = tuple((name, shown(count)) for name, count in zip(names, counts, strict=True))
    return Section(title, ("", shown(counted[0])), rows, plot=histogram_svg(names, counts, shown(counted[0])))


def _bin_name(low: int | float | None, high: int | float | None, above: bool) -> str:
    if low is None and high is None:
        return "none"
    if isinstance(low, int) and above:
        low += 1
    if high is None:
        return f"{low} or more"
    return str(low) if low == high else f"{'' if low is None else low}–{high}"


def _with_histogram(title: str, value: Mapping[str, Any]) -> Section:
    """Some numbers and the histogram behind them."""
    facts = {name: number for name, number in value.items() if name != "histogram"}
    inner = _section(title, value["histogram"]) or facts_section(title, {"histogram": value["histogram"]})
    note = ", ".join(f"{name} {shown(number)}" for name, number in _leaves(facts))
    return Section(title, inner.header, inner.rows, inner.bars, inner.plot, note)


def _table(title: str, items: Sequence[Mapping[str, Any]]) -> Section:
    """A row per item, a column per key that any of them has."""
    columns = list(dict.fromkeys(key for item in items for key in item))
    rows = tuple(tuple(shown(item.get(key)) for key in columns) for item in items[:MAX_ROWS])
    note = f"The first {MAX_ROWS} of {len(items)}." if len(items) > MAX_ROWS else ""
    return Section(title, tuple(map(title_of, columns)), rows, note=note)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{shown(str(key))}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value
