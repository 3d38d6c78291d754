"""Self-contained HTML pages: one style, escaped text, pictures as SVG inside; nothing outside is asked for."""

import io
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from protein2text.outputs import naming_a_full_disk

_HERE = Path(__file__).parent


def render(template: Path, **values: Any) -> str:
    """Fill a template, which may extend ``page.html.jinja``; text of records is data and is escaped everywhere."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, _HERE]), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(template.name).render(**values)


def write_page(text: str, path: Path) -> None:
    """Write a page; letters that no UTF-8 file can hold become question marks.

    Raises:
        DiskFull: it does not fit; what stood there before still does.
    """
    part = path.with_name(path.name + ".tmp")
    with naming_a_full_disk(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8", errors="replace")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def figure_svg(figure: Figure) -> Markup:
    """A figure as an ``<svg>`` element without outside links; the same figure gives the same text."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "protein2text", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return Markup(text[text.index("<svg") :])
