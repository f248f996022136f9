"""Two bundles or checkpoints side by side, as a document.

Comparison ─┬─ first, second
            ├─ models ──┬─ quantities     parameters, bytes, memory, speed
            │           ├─ shapes         the sizes of every axis
            │           ├─ tasks          scores with paired tests
            │           └─ bits_per_byte
            ├─ mean_tasks                 scores averaged over the models that both have
            ├─ options                    what was typed or chosen otherwise
            └─ notes                      what could not be compared, and why
"""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from harness.document import Document
from harness.ranking.pairs import TaskPair


class SideRecord(Document):
    """One of the two."""

    name: str
    kind: Literal["bundle", "checkpoint"]
    team: str | None = None
    plugin: str | None = None
    edition: str | None = None


class Quantity(Document):
    """One number of each."""

    name: str
    unit: str
    first: float | None
    second: float | None
    ratio: float | None
    """First over second."""


class Shape(Document):
    """The size of one axis; a range where layers differ."""

    axis: str
    first: str | None
    second: str | None


class BitsPair(Document):
    """Bits per byte of held-out text, lower is better."""

    first: float
    second: float
    difference: float
    """First minus second; negative: the first predicts better."""
    standard_error: float
    low: float
    high: float
    test: Literal["unpaired"] = "unpaired"
    """A bundle files no windows, so the texts' own scatter is in the interval: it is wider than a paired one.
    ``harness evaluate A B --texts FILE`` pairs them."""


class ModelComparison(Document):
    """One base model's final checkpoints, or the two checkpoints."""

    model: str
    quantities: tuple[Quantity, ...]
    shapes: tuple[Shape, ...]
    tasks: tuple[TaskPair, ...] = ()
    bits_per_byte: BitsPair | None = None


class Option(Document):
    """Something that was chosen otherwise."""

    field: str
    first: JsonValue
    """None where it is absent."""
    second: JsonValue


class Comparison(Document):
    """The answer of ``harness compare``."""

    first: SideRecord
    second: SideRecord
    models: tuple[ModelComparison, ...]
    mean_tasks: tuple[TaskPair, ...] = ()
    options: tuple[Option, ...] = ()
    notes: tuple[str, ...] = ()
