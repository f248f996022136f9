"""What the pipeline tells whoever watches: the command line draws it, a test collects it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harness.containment import Event


class Observer(Protocol):
    """Receives the life of a run as it happens."""

    def section(self, title: str, detail: str = "") -> None:
        """Start a part of the run, e.g. one base model."""

    def started(self, label: str) -> None:
        """Say that a piece of work begins."""

    def event(self, event: Event) -> None:
        """Hand on what a worker reports, e.g. progress."""

    def finished(self, label: str, result: str, duration_s: float, *, reused: bool) -> None:
        """Say what a piece of work came to; ``reused`` where it was done in an earlier run."""


def ignore(event: Event) -> None:
    """Take an event of work that nobody watches."""
    del event
