"""The files of items: each is named by its score, whole, and gives that score."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.submission.items import ROUNDING, NotItems, share_of, unpack
from harness.submission.naming import is_safe
from harness.validation.catalogue import finding
from harness.validation.checks.measured import measured
from harness.validation.listing import Unreadable, read_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.submission.measurements import ItemRecord, TaskScore
    from harness.validation.checks.measured import Measured
    from harness.validation.entry import Entry

RULE = "scores.items"


def items(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The items of every score that has a file of them are as many as it says, and their mean is the score."""
    named = set()
    for one, field, score in _scores(entry):
        if score.items_file is not None:
            named.add(score.items_file)
            yield from _of_score(entry, one, field, score)
    for name in entry.listing.files:
        if layout.is_items_file(name) and name not in named and entry.submission is not None:
            message = "no score names the file of items"
            yield finding(RULE, Place(file=name), message, found=name, allowed="the items_file of a score")


def _scores(entry: Entry) -> Iterator[tuple[Measured, str, TaskScore]]:
    for one in measured(entry):
        evaluation = one.measurements.evaluation
        for number, score in enumerate(evaluation.tasks if evaluation else ()):
            yield one, f"{one.field}.evaluation.tasks.{number}.items_file", score


def _of_score(entry: Entry, one: Measured, field: str, score: TaskScore) -> Iterator[Finding]:
    name, place = str(score.items_file), Place(file=layout.SUBMISSION, field=field)
    parts = (one.model, one.role, score.task)
    allowed = layout.items_file(*parts) if all(map(is_safe, parts)) else "items/<model>-<role>-<task>.jsonl.gz"
    if name != allowed:
        message = f"the items of {score.task} have another name than model, role and task give"
        yield finding(RULE, place, message, found=name, allowed=allowed)
    elif name not in entry.listing.files:
        yield finding(
            RULE, place, f"the file of items of {score.task} is not there", found="no such file", allowed=name
        )
    else:
        yield from _of_file(entry, name, score)


def _of_file(entry: Entry, name: str, score: TaskScore) -> Iterator[Finding]:
    try:
        records = unpack(read_plain(entry.path / name, max_bytes=layout.MAX_ITEMS_BYTES))
    except Unreadable:
        return  # bundle.too_large says so
    except NotItems as error:
        yield finding(RULE, Place(file=name), f"the file {error}", found="no items", allowed="a line of JSON an item")
        return
    yield from _compare(name, records, score)


def _compare(name: str, records: tuple[ItemRecord, ...], score: TaskScore) -> Iterator[Finding]:
    distinct = len({(record.subset, record.index) for record in records})
    if len(records) != score.item_count or distinct != len(records):
        found = f"{len(records)} items, {distinct} of them different"
        message = f"the file has not one line for each item of {score.task}"
        yield finding(RULE, Place(file=name), message, found=found, allowed=f"{score.item_count} items")
        return
    found_share, scored = share_of(records), score.score / score.scale if score.scale else math.nan
    if not abs(found_share - scored) <= ROUNDING:
        place, message = Place(file=name, field="correct"), f"the right answers of {score.task} do not make its score"
        found = f"{found_share * score.scale:.6g} of {score.scale:g}"
        yield finding(RULE, place, message, found=found, allowed=f"{score.score:.6g} of {score.scale:g}")
