"""Memory: the measured peak of every final model against the edition's limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.checks.measured import finals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.validation.entry import Entry


def limit(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Every measured peak is below the limit; one that was not measured is ``measurement.missing``'s."""
    allowed_bytes = edition.measurement.memory_limit_bytes
    for one in finals(entry):
        performance = one.measurements.performance
        if performance is not None and performance.peak_memory_bytes >= allowed_bytes:
            place = Place(file=layout.SUBMISSION, field=f"{one.field}.performance.peak_memory_bytes")
            message = f"inference of {one.model} needs more memory than the edition allows"
            found = f"{performance.peak_memory_bytes} bytes"
            yield finding("memory.limit", place, message, found=found, allowed=f"below {allowed_bytes} bytes")


CHECKS = (Check(rule="memory.limit", function=limit),)
