"""MLC packages beside a checkpoint in an entry made elsewhere: is the package one of it, bit for bit?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.validation.check import Check
from harness.validation.foreign.packaged import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.rules.finding import Finding
    from harness.validation.check import CheckFunction
    from harness.validation.entry import Entry


def compared(rule: str) -> CheckFunction:
    """The check that reports what the comparison found under ``rule``."""

    def findings(entry: Entry, _: Edition, /) -> Iterator[Finding]:
        return (one for one in (entry.comparison.findings if entry.comparison else ()) if one.rule == rule)

    return findings


CHECKS = tuple(Check(rule=rule, function=compared(rule)) for rule in RULES)
