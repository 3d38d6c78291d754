"""``data report``: one self-contained page about a corpus, a QA corpus, a literature folder or a split folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protein2text.data.output_folder import REPORT
from protein2text.data.records import read_card
from protein2text.data.report.sections import sections_of, shown
from protein2text.data.report.shards import question_sections, refused_sections, split_sections
from protein2text.errors import ConfigError, MissingFile
from protein2text.outputs import refuse_url
from protein2text.pages import render, write_page

CARDS = {"split.json": "split", "card.json": "corpus"}
"""Files that say what a folder holds; both are written last."""
TEMPLATE = Path(__file__).with_name("data_page.html.jinja")
_SHOWN_APART = ("note", "kind", "shards")


@dataclass(frozen=True)
class DataReport:
    """Where the page lies and what it is about."""

    report: str
    kind: str
    sections: list[str]


def write_report(folder: str | Path, output: str | Path | None = None) -> DataReport:
    """Write the page about a folder.

    Args:
        folder: of a finished corpus, split or literature search.
        output: the page; ``report.html`` in the folder when None.

    Raises:
        MissingFile: no card in the folder: nothing finished lies there.
        CorruptCheckpoint: a card or shard that cannot be read.
        DiskFull: the page does not fit.
    """
    folder = Path(folder).resolve()
    path = Path(output).resolve() if output is not None else folder / REPORT
    refuse_url(path)
    if path.suffix != ".html":
        raise ConfigError(str(path), "output", "is no page; give it a name that ends in .html")
    name = next((name for name in CARDS if (folder / name).is_file()), None)
    if name is None:
        remedy = "Name a folder that `protein2text data ingest`, `split`, `literature` or `qa` has finished."
        raise MissingFile(str(folder / "card.json"), "the card of finished data", remedy)
    card = read_card(folder / name)
    kind = _kind(folder, name, card)
    sections = sections_of({key: value for key, value in card.items() if key not in _SHOWN_APART})
    sections += split_sections(folder) if name == "split.json" else []
    sections += question_sections(folder) if not card.get("questions_per_protein") else []
    sections += refused_sections(folder)
    page = render(
        TEMPLATE, kind=kind, folder=str(folder), sections=sections, notices=_notices(name, card),
        shards=_num_shards(card),
    )  # fmt: skip
    write_page(page, path)
    return DataReport(str(path), kind, [section.title for section in sections])


def _kind(folder: Path, name: str, card: dict[str, Any]) -> str:
    if name == "split.json":
        return f"split, {shown(card.get('kind'))}"
    if (folder / "passages").is_dir():
        return "literature"
    return shown(card.get("kind") or "corpus")


def _notices(name: str, card: dict[str, Any]) -> list[str]:
    """What a reader must know before the numbers."""
    told = [shown(card["note"])] if card.get("note") else []
    claims = {
        "by_cluster": "Kind by_cluster: whole clusters are held out, and what still was too much like training was "
        "moved or dropped. Scores on it claim generalization as far as the identities below allow.",
        "by_member": "Kind by_member: families of test proteins were seen in training. Scores on it claim recall only.",
        "temporal": "Kind temporal: test entries were created later than training entries. Scores on it claim nothing "
        "more; the identities below say how near they lie.",
    }
    return [*told, claims[card["kind"]]] if name == "split.json" and card.get("kind") in claims else told


def _num_shards(card: dict[str, Any]) -> str:
    shards = card.get("shards")
    if not isinstance(shards, dict):
        return ""
    return ", ".join(f"{len(names)} of {kind}" for kind, names in shards.items() if isinstance(names, list))
