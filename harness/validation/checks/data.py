"""What was read: only data sets of the edition, at a revision that cannot move, and something in every train step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.rules.edition import COMMIT
from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.corpora.ledger import LedgerEntry
    from harness.rules.edition import DataRule, Edition
    from harness.submission.model_result import ModelResult, StepRecord
    from harness.validation.entry import Entry


def allowed(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Every entry of the ledger is a data set of the edition, at its hub id and revision; derived ones apart."""
    for field, read in entries(entry):
        if read.parents:
            continue  # data.derived says so
        rule = edition.data.get(read.data)
        if rule is None:
            place = Place(file=layout.LEDGER, field=f"{field}.data")
            names = ", ".join(edition.data)
            yield finding("data.allowed", place, "the edition has no such data set", found=read.data, allowed=names)
        else:
            yield from _provenance(field, read, rule)


def entries(entry: Entry) -> Iterator[tuple[str, LedgerEntry]]:
    """Every entry of the ledger with its field."""
    for s, step in enumerate(entry.ledger.steps if entry.ledger else ()):
        for e, read in enumerate(step.entries):
            yield f"steps.{s}.entries.{e}", read


def _provenance(field: str, read: LedgerEntry, rule: DataRule) -> Iterator[Finding]:
    # The embedded corpus has a revision of its own, and a branch stands for whichever commit it was.
    free = read.origin == "embedded" or (not rule.is_pinned and COMMIT.fullmatch(read.revision) is not None)
    revision = read.revision if free else rule.revision
    for name, found, wanted in (("hub_id", read.hub_id, rule.hub_id), ("revision", read.revision, revision)):
        if found != wanted:
            place = Place(file=layout.LEDGER, field=f"{field}.{name}")
            message = f"what was read as {read.data} is not the edition's data set"
            yield finding("data.allowed", place, message, found=found, allowed=wanted)
    if read.origin == "embedded" and not rule.embedded:
        place = Place(file=layout.LEDGER, field=f"{field}.origin")
        message = f"the embedded corpus does not stand in for {read.data} in this edition"
        yield finding("data.allowed", place, message, found=read.origin, allowed="hub, local")


def pinned(entry: Entry, _: Edition) -> Iterator[Finding]:
    """What came from the hub names a commit, what came from a local copy the digest of its files."""
    for field, read in entries(entry):
        if read.origin == "hub" and COMMIT.fullmatch(read.revision) is None:
            place = Place(file=layout.LEDGER, field=f"{field}.revision")
            message = f"what was read as {read.data} may be other rows tomorrow"
            allowed = "a commit, 40 hexadecimal digits"
            yield finding("data.pinned", place, message, found=read.revision, allowed=allowed)
        if read.origin == "local" and read.file_sha256 is None:
            place = Place(file=layout.LEDGER, field=f"{field}.file_sha256")
            message = f"nothing says which copy of {read.data} was read"
            yield finding("data.pinned", place, message, found="no digest", allowed="the SHA-256 of the local copy")


def ledger(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Every train step has entries, every entry counts something, and every step of the ledger is one of the record."""
    if entry.ledger is None:
        return  # bundle.required_files or bundle.schema says so
    read = {(step.model, step.branch, step.step) for step in entry.ledger.steps if step.entries}
    known = {}
    for m, model in enumerate(entry.models):
        for branch, number, step in _steps(model):
            known[model.name, branch, number] = step
            if step.stage == "train" and (model.name, branch, number) not in read:
                name = "steps" if branch == "student" else "control_steps"
                place = Place(file=layout.SUBMISSION, field=f"models.{m}.{name}.{number}")
                message = f"the train step {number} of {model.name} has read nothing through the data door"
                yield finding("data.ledger", place, message, found="no entry in ledger.json", allowed="an entry")
    for s, kept in enumerate(entry.ledger.steps):
        if entry.submission is not None and (kept.model, kept.branch, kept.step) not in known:
            place = Place(file=layout.LEDGER, field=f"steps.{s}")
            found = f"step {kept.step} of {kept.model}, {kept.branch}"
            yield finding("data.ledger", place, "the record has no such step", found=found, allowed="a recorded step")
    yield from _counts(entry)


def _steps(model: ModelResult) -> Iterator[tuple[str, int, StepRecord]]:
    yield from (("student", number, step) for number, step in enumerate(model.steps))
    yield from (("control", number, step) for number, step in enumerate(model.control_steps))


def _counts(entry: Entry) -> Iterator[Finding]:
    for field, read in entries(entry):
        for name, found in (("sample_count", read.sample_count), ("token_count", read.token_count)):
            if found <= 0:
                place = Place(file=layout.LEDGER, field=f"{field}.{name}")
                message = "an entry of the ledger counts nothing"
                yield finding("data.ledger", place, message, found=found, allowed="above 0")
        if not 0 <= read.first_row <= read.last_row:
            place = Place(file=layout.LEDGER, field=f"{field}.first_row")
            rows = f"rows {read.first_row} to {read.last_row}"
            message = "an entry of the ledger names impossible rows"
            yield finding("data.ledger", place, message, found=rows, allowed="0 <= first <= last")


CHECKS = (
    Check(rule="data.allowed", function=allowed),
    Check(rule="data.pinned", function=pinned),
    Check(rule="data.ledger", function=ledger),
)
