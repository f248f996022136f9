"""Contamination: what of the scored tasks stands in the training text, as the run counted it when it read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.corpora.overlap import TaskOverlap
    from harness.rules.edition import Edition
    from harness.validation.entry import Entry


def overlap(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """No step's text holds more of a task's items than the edition's clause; silent where nobody counted.

    A task is named once, at the step whose text holds most of it.
    """
    if edition.contamination is None:
        return
    most = edition.contamination.max_item_share
    worst: dict[str, tuple[str, TaskOverlap]] = {}
    for field, counted in _overlaps(entry):
        too_much = counted.held_count > most * counted.item_count
        if too_much and (counted.task not in worst or counted.held_count > worst[counted.task][1].held_count):
            worst[counted.task] = (field, counted)
    for field, counted in worst.values():
        place = Place(file=layout.LEDGER, field=f"{field}.held_count")
        first = counted.examples[0] if counted.examples else None
        where = f", first {first.item} in sample {first.sample}" if first else ""
        message = f"the training text holds items of {counted.task}{where}"
        found = f"{counted.held_count} of {counted.item_count} items"
        yield finding("contamination.overlap", place, message, found=found, allowed=f"at most {most:.2%}")


def counts(entry: Entry, _: Edition) -> Iterator[Finding]:
    """What was counted is possible: as many items held as touched, as many touched as there are."""
    for field, counted in _overlaps(entry):
        if not counted.held_count <= counted.touched_count <= counted.item_count:
            place = Place(file=layout.LEDGER, field=f"{field}.touched_count")
            found = f"{counted.held_count} held, {counted.touched_count} touched, {counted.item_count} items"
            message = f"the overlap with {counted.task} was not counted by the scanner"
            yield finding("contamination.counts", place, message, found=found, allowed="held <= touched <= items")


def _overlaps(entry: Entry) -> Iterator[tuple[str, TaskOverlap]]:
    for s, step in enumerate(entry.ledger.steps if entry.ledger else ()):
        for number, counted in enumerate(step.overlaps):
            yield f"steps.{s}.overlaps.{number}", counted


CHECKS = (
    Check(rule="contamination.overlap", function=overlap),
    Check(rule="contamination.counts", function=counts),
)
