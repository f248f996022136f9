"""Where the data went, as a small graph: data sets on the left, steps in the middle, the submitted model at the end.

c4 ─────┐            base
        ├──────────> 1 compress l1
alpaca ─┴──────────> 2 train lora  ──> final
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from harness.report import figures
from harness.report.chart import label

if TYPE_CHECKING:
    from harness.corpora.ledger import LedgerEntry
    from harness.submission.model_result import ModelResult
    from harness.submission.provenance import LedgerRecord, StepLedger

BOX_WIDTH: Final = 190
BOX_HEIGHT: Final = 42
ROW: Final = 62
LEFT: Final = 4
RIGHT: Final = 346


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One node, in the drawing's own units."""

    x: int
    y: int
    kind: str
    """``data``, ``step`` or ``model``."""
    title: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One arrow."""

    path: str
    """Of an SVG ``path``."""
    kind: str
    """``data`` or ``model``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Boxes and arrows, with the extent of the drawing."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    alternative: str
    """The same in a sentence or two."""


def provenance(model: ModelResult, ledger: LedgerRecord) -> Graph:
    """How data and the base became the final checkpoint of ``model``; the control's reading is in the table."""
    read = {step.step: step for step in ledger.steps if step.model == model.name and step.branch == "student"}
    sources = _sources(read)
    chain = _chain(model)
    height = max(len(chain), len(sources)) * ROW
    left, right = _column(sources, LEFT, height), _column(chain, RIGHT, height)
    place = dict(zip(sources, left, strict=True))
    arrows = [
        Edge(path=_across(place[entry.data, entry.hub_id], right[number + 1]), kind="data")
        for number, step in sorted(read.items())
        if number + 2 < len(chain)
        for entry in _once(step)
    ]
    arrows += [Edge(path=_down(a, b), kind="model") for a, b in pairwise(right)]
    return Graph(
        width=RIGHT + BOX_WIDTH + LEFT,
        height=height,
        boxes=(*left, *right),
        edges=tuple(arrows),
        alternative=_sentences(model, read),
    )


def _sources(read: dict[int, StepLedger]) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Every data set once, with its tokens over all steps."""
    tokens: dict[tuple[str, str], int] = {}
    for step in read.values():
        for entry in step.entries:
            key = (entry.data, entry.hub_id)
            tokens[key] = tokens.get(key, 0) + entry.token_count
    return {key: ("data", key[0], f"{figures.count(total)} tokens read") for key, total in tokens.items()}


def _chain(model: ModelResult) -> dict[object, tuple[str, str, str]]:
    base = model.base.embedded or model.base.hub_id or "initialised"
    chain: dict[object, tuple[str, str, str]] = {"base": ("model", "base", base)}
    for number, step in enumerate(model.steps, start=1):
        chain[number] = (
            "step",
            f"{number} {step.stage} {step.method}",
            f"{figures.count(step.parameter_count)} parameters",
        )
    last = model.result("final")
    chain["final"] = ("model", "final", last.checkpoint.checkpoint_digest[:12] if last else figures.ABSENT)
    return chain


def _column(
    texts: dict[object, tuple[str, str, str]] | dict[tuple[str, str], tuple[str, str, str]], x: int, height: int
) -> list[Box]:
    top = (height - len(texts) * ROW) // 2 + (ROW - BOX_HEIGHT) // 2
    return [
        Box(x=x, y=top + number * ROW, kind=kind, title=label(title), detail=label(detail))
        for number, (kind, title, detail) in enumerate(texts.values())
    ]


def _once(step: StepLedger) -> tuple[LedgerEntry, ...]:
    return tuple({(entry.data, entry.hub_id): entry for entry in step.entries}.values())


def _across(start: Box, end: Box) -> str:
    x, y = start.x + BOX_WIDTH, start.y + BOX_HEIGHT // 2
    to_x, to_y = end.x - 6, end.y + BOX_HEIGHT // 2
    middle = (x + to_x) // 2
    return f"M {x} {y} C {middle} {y} {middle} {to_y} {to_x} {to_y}"


def _down(start: Box, end: Box) -> str:
    x = start.x + BOX_WIDTH // 2
    return f"M {x} {start.y + BOX_HEIGHT} L {x} {end.y - 6}"


def _sentences(model: ModelResult, read: dict[int, StepLedger]) -> str:
    steps = [
        f"step {number + 1} read {', '.join(entry.data for entry in _once(step))}"
        for number, step in sorted(read.items())
    ]
    return f"{model.name}: {'; '.join(steps) or 'no step read data'}."
