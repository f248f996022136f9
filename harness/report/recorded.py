"""What a step's notes hold that can be drawn: a plugin writes what it likes, and what has a known form is shown.

notes ─┬─ "history": {"loss": [...], ...}     curves of a training run, one number for each recorded update
       ├─ loss_first, loss_last               the two ends of it, where nothing more was kept
       ├─ a table of numbers [[...], ...]     a heat map, e.g. sensitivity [layers, levels]
       ├─ a list or names with numbers        bars, e.g. ranks of the linears
       └─ anything else                       a line of text
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from harness.submission.model_result import StepRecord

HISTORY: Final = "history"
UPDATES: Final = "optimizer_step"
"""The series of a history that says which updates were recorded; 1, 2, 3, … where it is absent."""
ENDS: Final = ("loss_first", "loss_last")
FEWEST_BARS: Final = 3
MOST_CELLS: Final = 4096
MOST_CHARACTERS: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One recorded quantity over the updates of a training run."""

    updates: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Named numbers in their order."""

    title: str
    names: tuple[str, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table of numbers, ``[rows, columns]``."""

    title: str
    values: tuple[tuple[float, ...], ...]


def curves(step: StepRecord) -> dict[str, Curve]:
    """The curves of a training step by their names; empty where none were kept, or where they do not fit together."""
    history = step.notes.get(HISTORY)
    if not isinstance(history, dict):
        return {}
    series = {name: found for name, value in history.items() if len(found := _numbers(value)) > 1}
    given = series.pop(UPDATES, ())
    if any(later <= earlier for earlier, later in pairwise(given)):
        given = ()
    return {
        name: Curve(updates=given if len(given) == len(values) else _counted(values), values=values)
        for name, values in series.items()
    }


def ends(step: StepRecord) -> tuple[float, float] | None:
    """The first and the last loss of a training step."""
    first, last = _numbers([step.notes.get(name) for name in ENDS]) or (None, None)
    return None if first is None or last is None else (first, last)


def bars(step: StepRecord) -> tuple[Bars, ...]:
    """Lists and named numbers among the notes, long enough to be drawn."""
    return tuple(found for name, value in step.notes.items() if (found := _bars(name, value)) is not None)


def grids(step: StepRecord) -> tuple[Grid, ...]:
    """Tables of numbers among the notes."""
    return tuple(found for name, value in step.notes.items() if (found := _grid(name, value)) is not None)


def plain(step: StepRecord) -> tuple[tuple[str, str], ...]:
    """Every other note, as text."""
    drawn = {found.title for found in bars(step)} | {found.title for found in grids(step)}
    drawn |= {HISTORY} if curves(step) else set()
    return tuple((name, _text(value)) for name, value in step.notes.items() if name not in drawn)


def flat(options: Mapping[str, JsonValue]) -> tuple[tuple[str, str], ...]:
    """Options of a step as text, without what its heading says."""
    return tuple((name, _text(value)) for name, value in options.items() if name not in {"stage", "method"})


def _bars(name: str, value: JsonValue) -> Bars | None:
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    values = _numbers([number for _, number in pairs])
    if name == HISTORY or len(values) < FEWEST_BARS:
        return None
    return Bars(title=name, names=tuple(str(label) for label, _ in pairs), values=values)


def _grid(name: str, value: JsonValue) -> Grid | None:
    if name == HISTORY or not isinstance(value, list) or not value:
        return None
    rows = tuple(_numbers(row) for row in value)
    width = len(rows[0])
    if width == 0 or any(len(row) != width for row in rows) or width * len(rows) > MOST_CELLS:
        return None
    return Grid(title=name, values=rows)


def _numbers(value: JsonValue) -> tuple[float, ...]:
    """The numbers of a list that holds nothing else; empty for everything else."""
    if not isinstance(value, list):
        return ()
    found = [float(one) for one in value if isinstance(one, int | float) and not isinstance(one, bool)]
    return tuple(found) if len(found) == len(value) and all(abs(one) < float("inf") for one in found) else ()


def _counted(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(float(number) for number in range(1, len(values) + 1))


def _text(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    text = value if isinstance(value, str) else "none" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
