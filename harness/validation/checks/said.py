"""Checks whose findings were made when the entry was opened: what reading it had to assume, refuse or doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.validation.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.rules.finding import Finding
    from harness.validation.check import CheckFunction
    from harness.validation.entry import Entry


def said(rule: str) -> CheckFunction:
    """The check that reports what opening the entry found under ``rule``."""

    def findings(entry: Entry, _: Edition, /) -> Iterator[Finding]:
        return (one for one in entry.said if one.rule == rule)

    return findings


RULES: Final = (
    "archive.bounds",
    "archive.duplicate",
    "archive.encrypted",
    "archive.member_kind",
    "archive.member_name",
    "archive.unreadable",
    "foreign.cell",
    "foreign.column_ambiguous",
    "foreign.column_extra",
    "foreign.column_missing",
    "foreign.column_name",
    "foreign.file_name",
    "foreign.kind",
    "foreign.row",
    "foreign.rows",
    "foreign.table_form",
    "foreign.unit",
    "foreign.unreadable",
    "mlc.files",
    "mlc.form",
    "mlc.precision",
    "mlc.records",
    "mlc.tokens",
    "scores.average",
    "scores.permuted",
    "scores.swapped",
    "scores.template",
    "scores.units",
)

CHECKS = tuple(Check(rule=rule, function=said(rule)) for rule in RULES)
