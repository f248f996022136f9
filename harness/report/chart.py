"""A chart for a page: drawn by matplotlib, coloured by the page, with the table that it was drawn from.

    numbers ──matplotlib──> SVG with stand-in colours ──themed──> <svg> with var(--series-1), currentColor
        └──────────────────────────────────────────────────────> table under the chart, for who cannot see it

The same numbers give the same bytes: no date, ids by the chart's own name.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

INK: Final = "#010101"
MUTED: Final = "#020202"
GRID: Final = "#030303"
SERIES: Final = tuple(f"#0a00{number:02x}" for number in range(1, 7))
"""Stand-ins for the page's colours, in the order of the palette."""
MARKERS: Final = ("o", "s", "D", "^", "v", "P")
"""Colour alone tells nothing apart: every series has a shape as well."""
THEME: Final = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    **{stand_in: f"var(--series-{number})" for number, stand_in in enumerate(SERIES, start=1)},
}
WIDTH_INCHES: Final = 4.8
LABEL_CHARACTERS: Final = 26
SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "axes.formatter.use_mathtext": False,
}
_HEAD = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", re.DOTALL)
_FAMILY = re.compile(r"font-family: [^;\"]*; ?")
_EXTENT = re.compile(r'(<svg\b[^>]*?) (?:width|height)="[^"]*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing, what it is called, and the same in a table."""

    name: str
    """Unique on its page."""
    title: str
    caption: str
    svg: Markup
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def draw(name: str, height_inches: float, paint: Callable[[Axes], None]) -> Markup:
    """What ``paint`` puts on the axes, as SVG for the middle of a page.

    Args:
        name: prefix of every id, unique on its page.
        height_inches: of the whole drawing; its width is ``WIDTH_INCHES``.
        paint: draws, in the stand-in colours of this module.
    """
    with mpl.rc_context({**SETTINGS, "svg.hashsalt": name}), warnings.catch_warnings():
        # The page's own font draws the text; that matplotlib's has not every glyph of a team's name changes nothing.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        paint(figure.add_subplot())
        content = io.StringIO()
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    return Markup(_themed(content.getvalue(), name))  # noqa: S704 - matplotlib escapes every text


def label(text: str) -> str:
    """``text`` as it fits beside an axis: one line, printable, cut where it is long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LABEL_CHARACTERS else f"{line[: LABEL_CHARACTERS - 1]}…"


def _themed(svg: str, name: str) -> str:
    svg = _HEAD.sub("", svg).strip()
    svg = _EXTENT.sub(r"\1", _EXTENT.sub(r"\1", svg))
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = _FAMILY.sub("", svg)
    for stand_in, colour in THEME.items():
        svg = svg.replace(stand_in, colour)
    return svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
