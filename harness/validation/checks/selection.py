"""Selection: how often the scored tasks were looked at, where the entry keeps its ledger of looks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.submission.looks import first_break, look_after
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.checks.measured import measured

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.rules.edition import Edition
    from harness.submission.looks import Look
    from harness.validation.entry import Entry


def chain(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Every look follows from the one before it."""
    looks = _looks(entry)
    broken = first_break(looks)
    if broken is not None:
        look = looks[broken]
        expected = look_after(
            looks[:broken],
            model=look.model,
            task=look.task,
            checkpoint_digest=look.checkpoint_digest,
            item_limit=look.item_limit,
        )
        place = Place(file=layout.LEDGER, field=f"looks.{broken}.digest")
        message = "a look was changed, moved or taken out before this one"
        yield finding("selection.chain", place, message, found=look.digest, allowed=expected.digest)


def complete(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Every score of the record was a look."""
    looks = _looks(entry)
    seen = {(look.model, look.task, look.checkpoint_digest) for look in looks}
    for one in measured(entry) if looks else ():
        evaluation = one.measurements.evaluation
        for number, score in enumerate(evaluation.tasks if evaluation else ()):
            if (one.model, score.task, one.checkpoint_digest) not in seen:
                place = Place(file=layout.SUBMISSION, field=f"{one.field}.evaluation.tasks.{number}")
                message = f"{score.task} was scored on {one.model}.{one.role}, and the ledger of looks does not say so"
                yield finding("selection.complete", place, message, found="no look", allowed="a look for every score")


def count(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Few looks were at checkpoints that the entry does not report: those are what a choice is made by."""
    if edition.selection is None:
        return
    reported = {one.checkpoint_digest for one in measured(entry)}
    looks = Counter((look.model, look.task) for look in _looks(entry) if look.checkpoint_digest not in reported)
    for (model, task), found in sorted(looks.items()):
        if found > edition.selection.max_looks:
            place = Place(file=layout.LEDGER, field=f"looks.{model}.{task}")
            message = f"{task} was looked at on checkpoints of {model} that the entry does not report"
            allowed = f"at most {edition.selection.max_looks}"
            yield finding("selection.looks", place, message, found=f"{found} looks", allowed=allowed)


def _looks(entry: Entry) -> Sequence[Look]:
    return entry.ledger.looks if entry.ledger else ()


CHECKS = (
    Check(rule="selection.chain", function=chain),
    Check(rule="selection.complete", function=complete),
    Check(rule="selection.looks", function=count),
)
