"""Memory: the measured peak of every final model against the edition's limit and against what its shape predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import CheckpointCorrupt, UsageError
from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.surgery.count import weigh
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.checks.measured import finals
from harness.validation.weights import read_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.submission.measurements import Performance
    from harness.validation.checks.measured import Measured
    from harness.validation.entry import Entry
    from harness.validation.weights import Weights

DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""What the weights are held in, as a runtime says it and as safetensors does."""


def limit(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Every measured peak is below the limit; one that was not measured is ``measurement.missing``'s."""
    allowed_bytes = edition.measurement.memory_limit_bytes
    for one in finals(entry):
        performance = one.measurements.performance
        if performance is not None and performance.peak_memory_bytes >= allowed_bytes:
            message = f"inference of {one.model} needs more memory than the edition allows"
            found = f"{performance.peak_memory_bytes} bytes"
            yield finding("memory.limit", _peak(one), message, found=found, allowed=f"below {allowed_bytes} bytes")


def predicted(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """What the final model's shape predicts is below the limit, whatever was measured."""
    allowed_bytes = edition.measurement.memory_limit_bytes
    for one, weights in _finals(entry):
        needed = predicted_bytes(weights, one.measurements.performance, edition)
        if needed >= allowed_bytes:
            place = Place(file=layout.SUBMISSION, field=f"{weights.field}.weights_bytes")
            message = f"the weights and the cache of {one.model} alone need more memory than the edition allows"
            found = f"{needed} bytes predicted"
            yield finding("memory.predicted", place, message, found=found, allowed=f"below {allowed_bytes} bytes")


def implausible(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """No measured peak is below what the weights need: a smaller model, or not the peak, was measured."""
    for one, weights in _finals(entry):
        performance = one.measurements.performance
        if performance is None:
            continue
        needed = predicted_bytes(weights, performance, edition)
        if 0 < performance.peak_memory_bytes < needed:
            message = f"the measured peak of {one.model} is below what its weights and its cache need"
            found = f"{performance.peak_memory_bytes} bytes"
            yield finding("memory.implausible", _peak(one), message, found=found, allowed=f"at least {needed} bytes")


def predicted_bytes(weights: Weights, performance: Performance | None, edition: Edition) -> int:
    """Memory without the runtime: by the shape where the configuration can be read, else the stored weights."""
    stored = weights.record.weights_bytes
    if weights.folder is None:
        return stored
    rule = edition.measurement
    tokens = rule.prefill_tokens + rule.decode_tokens
    dtype = DTYPES.get(performance.dtype, "F16") if performance else "F16"
    try:
        shape = weigh(read_config(weights))
    except (CheckpointCorrupt, UsageError):
        return stored  # no anatomy for it; a broken one is weights.corrupt's
    return shape.inference_bytes(context_tokens=tokens, chunk_tokens=rule.prefill_tokens, dtype=dtype)


def _finals(entry: Entry) -> Iterator[tuple[Measured, Weights]]:
    found = {weights.field: weights for weights in entry.weights}
    for one in finals(entry):
        yield one, found[f"{one.field.removesuffix('measurements')}checkpoint"]


def _peak(one: Measured) -> Place:
    return Place(file=layout.SUBMISSION, field=f"{one.field}.performance.peak_memory_bytes")


CHECKS = (
    Check(rule="memory.limit", function=limit),
    Check(rule="memory.predicted", function=predicted),
    Check(rule="memory.implausible", function=implausible),
)
