"""How long work says how far it is: a value handed down, never a global bar."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called by long work, as often as it likes; the receiver thins it out."""

    def __call__(self, label: str, done: int, total: int, detail: str = "") -> None:
        """Report that ``done`` of ``total`` units of ``label`` are through; ``detail`` is a short remark."""


def silent(label: str, done: int, total: int, detail: str = "") -> None:
    """A ``Progress`` that nobody watches."""
    del label, done, total, detail
