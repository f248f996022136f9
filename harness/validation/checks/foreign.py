"""Entries made elsewhere: that they state results at all, once, and that no archive hides in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.foreign.kind import Kind, results_files
from harness.validation.foreign.members import is_archive_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.validation.entry import Entry

_PREFERRED: Final = "one file of results"


def results_missing(entry: Entry, _: Edition) -> Iterator[Finding]:
    """An entry in the competition's layout has a table of results, and a row in it."""
    yield from (one for one in entry.said if one.rule == "foreign.results_missing")
    if entry.kind is Kind.COMPETITION and not results_files(entry.listing.files):
        message = "the entry has no table of results"
        yield finding(
            "foreign.results_missing", Place(file="."), message, found="no such file", allowed=f"a {layout.RESULTS}"
        )


def results_many(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The entry has one table of results, so that nobody may choose."""
    if len(entry.tables) > 1:
        message = "there are several tables of results; each was read, none is chosen"
        found = ", ".join(table.file for table in entry.tables)
        yield finding("foreign.results_many", Place(file="."), message, found=found, allowed=_PREFERRED)


def nested(entry: Entry, _: Edition) -> Iterator[Finding]:
    """No archive stands in the entry: what is packed twice is not looked into."""
    yield from (one for one in entry.said if one.rule == "archive.nested")
    if any(one.rule == "archive.nested" for one in entry.said):
        return  # the archive's own listing names each of them
    for name in entry.listing.files:
        if is_archive_name(name) and not layout.is_items_file(name):
            message = "an archive within the entry is not opened"
            yield finding("archive.nested", Place(file=name), message, found=name, allowed="files, packed once")


CHECKS = (
    Check(rule="foreign.results_missing", function=results_missing),
    Check(rule="foreign.results_many", function=results_many),
    Check(rule="archive.nested", function=nested),
)
