"""Size as the files decide it: parameters, bytes, dtypes, and the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import CheckpointCorrupt
from harness.rules.finding import Finding, Place
from harness.submission import describe, layout
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.weights import read_config, read_layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.validation.entry import Entry
    from harness.validation.weights import Weights


def parameter_count(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The record's parameters, bytes and dtypes recompute from the headers of every checkpoint that was found."""
    for weights in entry.weights:
        if weights.folder is not None:
            yield from _recomputed(weights)
    for number, model in enumerate(entry.models):
        base = model.result("base")
        if base is not None and base.checkpoint.parameter_count != model.base.parameter_count:
            place = Place(file=layout.SUBMISSION, field=f"models.{number}.base.parameter_count")
            message = "the base has two parameter counts"
            allowed = str(base.checkpoint.parameter_count)
            yield finding(
                "structure.parameter_count", place, message, found=model.base.parameter_count, allowed=allowed
            )


def _recomputed(weights: Weights) -> Iterator[Finding]:
    try:
        read, config = read_layout(weights), read_config(weights)
    except CheckpointCorrupt:
        return  # weights.corrupt says so
    record = weights.record
    pairs: dict[str, tuple[object, object]] = {
        "parameter_count": (record.parameter_count, describe.parameter_count(read, config)),
        "weights_bytes": (record.weights_bytes, describe.weights_bytes(read)),
        "dtypes": (", ".join(record.dtypes), ", ".join(describe.dtypes(read))),
    }
    for name, (found, recomputed) in pairs.items():
        if found != recomputed:
            place = Place(file=layout.SUBMISSION, field=f"{weights.field}.{name}")
            message = f"the tensors of {weights.model}.{weights.role} say otherwise"
            yield finding("structure.parameter_count", place, message, found=found, allowed=str(recomputed))


def budget(entry: Entry, _: Edition) -> Iterator[Finding]:
    """No final checkpoint has more parameters than the budget."""
    for number, model in enumerate(entry.models):
        final = model.result("final")
        if final is not None and final.checkpoint.parameter_count > model.parameter_budget:
            place = Place(file=layout.SUBMISSION, field=f"models.{number}.parameter_budget")
            message = f"the final checkpoint of {model.name} has more parameters than its budget"
            found = final.checkpoint.parameter_count
            yield finding("structure.budget", place, message, found=found, allowed=f"at most {model.parameter_budget}")


CHECKS = (
    Check(rule="structure.parameter_count", function=parameter_count),
    Check(rule="structure.budget", function=budget),
)
