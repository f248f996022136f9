"""Which column of a stranger's table is which: ``columns.toml`` as typed data."""

from __future__ import annotations

import functools
import re
import tomllib
from importlib import resources
from typing import Final, Literal

from harness.document import Document

Quantity = Literal[
    "commonsense_qa",
    "bbh",
    "gsm8k",
    "humaneval",
    "chid",
    "truthful_qa",
    "throughput",
    "memory",
    "model",
    "average",
]

_PARENTHESES: Final = re.compile(r"[(\[](.*?)[)\]]?$")


class Column(Document):
    """One column that a table of results can have."""

    quantity: Quantity
    heading: str
    """As the competition's final form spells it."""
    aliases: tuple[str, ...] = ()
    """As real tables spelt it."""
    metrics: tuple[str, ...] = ()
    """Data set and metric that it has in a summary of OpenCompass, the first that is there."""
    item_counts: tuple[int, ...] = ()
    scale: Literal[1, 100] = 100
    """The score of a perfect model."""

    @property
    def is_task(self) -> bool:
        """Whether it is a task's score."""
        return bool(self.metrics)


class Columns(Document):
    """The file."""

    column: tuple[Column, ...]


@functools.cache
def columns() -> dict[Quantity, Column]:
    """Every column by its quantity, in the competition's order."""
    text = (resources.files("harness.validation.foreign") / "columns.toml").read_text(encoding="utf-8")
    return {column.quantity: column for column in Columns.model_validate(tomllib.loads(text)).column}


def match(heading: str) -> Quantity | None:
    """The quantity that ``heading`` names, whatever its case, marks and unit; None for an unknown one."""
    return _by_key().get(_key(_PARENTHESES.sub("", heading))) or _by_key().get(_key(heading))


def unit_of(heading: str) -> str | None:
    """The unit in parentheses at the end of ``heading``, e.g. ``GB``."""
    found = _PARENTHESES.search(heading)
    return found.group(1).strip() if found else None


@functools.cache
def _by_key() -> dict[str, Quantity]:
    return {_key(name): column.quantity for column in columns().values() for name in (column.heading, *column.aliases)}


def _key(heading: str) -> str:
    return "".join(mark for mark in heading.casefold() if mark.isalnum())
