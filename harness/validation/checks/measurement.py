"""The measurements: all there, possible, of the checkpoint that they stand beside, and on all items."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.checks.measured import Measured, finals, measured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.validation.entry import Entry

KINDS = ("bits_per_byte", "evaluation", "performance")


def missing(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Nothing that is measured is absent from a final checkpoint."""
    for one in finals(entry):
        for kind in KINDS:
            if getattr(one.measurements, kind) is None:
                place = Place(file=layout.SUBMISSION, field=f"{one.field}.{kind}")
                message = f"the final checkpoint of {one.model} was not measured"
                yield finding("measurement.missing", place, message, found="no measurement", allowed=f"a {kind}")


def same_weights(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Every measurement loaded the checkpoint that it stands beside."""
    for one in measured(entry):
        for kind in KINDS:
            measurement = getattr(one.measurements, kind)
            if measurement is not None and measurement.checkpoint_digest != one.checkpoint_digest:
                place = Place(file=layout.SUBMISSION, field=f"{one.field}.{kind}.checkpoint_digest")
                message = f"the {kind} of {one.model}.{one.role} was measured on another checkpoint"
                found = measurement.checkpoint_digest
                yield finding("measurement.same_weights", place, message, found=found, allowed=one.checkpoint_digest)


def value_range(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Bits per byte, times, speeds and memory are finite and above zero, errors not below it."""
    for one in measured(entry):
        for field, value, at_least_zero in _values(one):
            possible = math.isfinite(value) and (value > 0 or (at_least_zero and value == 0))
            if not possible:
                place = Place(file=layout.SUBMISSION, field=f"{one.field}.{field}")
                message = f"the value of {one.model}.{one.role} is no result of a measurement"
                allowed = "finite, at least 0" if at_least_zero else "finite, above 0"
                yield finding("measurement.range", place, message, found=value, allowed=allowed)


def _values(one: Measured) -> Iterator[tuple[str, float, bool]]:
    """Field, value, and whether zero is possible."""
    if (bits := one.measurements.bits_per_byte) is not None:
        yield "bits_per_byte.value", bits.value, False
        yield "bits_per_byte.standard_error", bits.standard_error, True
        yield "bits_per_byte.byte_count", bits.byte_count, False
    if (performance := one.measurements.performance) is not None:
        for name in ("prefill_tokens_per_s", "decode_tokens_per_s", "time_to_first_token_s", "peak_memory_bytes"):
            yield f"performance.{name}", getattr(performance, name), False


def protocol(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Speed and memory were measured on as many tokens, as often, as the edition says."""
    rule = edition.measurement
    for one in measured(entry):
        if (performance := one.measurements.performance) is None:
            continue
        for name in ("prefill_tokens", "decode_tokens", "repeats"):
            found, allowed = getattr(performance, name), getattr(rule, name)
            if found != allowed:
                place = Place(file=layout.SUBMISSION, field=f"{one.field}.performance.{name}")
                message = f"{one.model}.{one.role} was timed by another protocol than the edition's"
                yield finding("measurement.protocol", place, message, found=found, allowed=str(allowed))


def item_limit(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The tasks of every final checkpoint ran without a limit on items."""
    for one in finals(entry):
        evaluation = one.measurements.evaluation
        if evaluation is not None and evaluation.item_limit is not None:
            place = Place(file=layout.SUBMISSION, field=f"{one.field}.evaluation.item_limit")
            message = f"the tasks of {one.model} ran on a part of their items"
            yield finding("measurement.item_limit", place, message, found=evaluation.item_limit, allowed="no limit")


CHECKS = (
    Check(rule="measurement.missing", function=missing),
    Check(rule="measurement.same_weights", function=same_weights),
    Check(rule="measurement.range", function=value_range),
    Check(rule="measurement.protocol", function=protocol),
    Check(rule="measurement.item_limit", function=item_limit),
)
