"""No quantisation: the dtype of every tensor, and what the configuration asks a loader to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import CheckpointCorrupt
from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.weights import read_config, read_layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.validation.entry import Entry
    from harness.validation.weights import Weights


def dtype(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Every tensor has an allowed dtype; where the files are out of reach, every dtype of the record."""
    for weights in entry.weights:
        if weights.role == "final":
            yield from _tensors(weights, edition) if weights.folder else _claimed(weights, edition)


def _tensors(weights: Weights, edition: Edition) -> Iterator[Finding]:
    try:
        shards = read_layout(weights).shards
    except CheckpointCorrupt:
        return  # weights.corrupt says so
    for shard in shards:
        for tensor in shard.tensors:
            if tensor.dtype not in edition.dtypes:
                place = Place(file=weights.file(shard.path.name), tensor=tensor.name, index=0, byte_offset=tensor.start)
                message = f"the tensor is stored as {tensor.dtype}"
                allowed = ", ".join(edition.dtypes)
                yield finding("precision.dtype", place, message, found=tensor.dtype, allowed=allowed)


def _claimed(weights: Weights, edition: Edition) -> Iterator[Finding]:
    for number, name in enumerate(weights.record.dtypes):
        if name not in edition.dtypes:
            place = Place(file=layout.SUBMISSION, field=f"{weights.field}.dtypes.{number}")
            message = f"the record states tensors of dtype {name}"
            yield finding("precision.dtype", place, message, found=name, allowed=", ".join(edition.dtypes))


def quantization_config(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The configuration of the final checkpoint has no ``quantization_config``."""
    for weights in entry.weights:
        if weights.role != "final" or weights.folder is None:
            continue
        try:
            config = read_config(weights)
        except CheckpointCorrupt:
            continue  # weights.corrupt says so
        if config.get("quantization_config"):
            place = Place(file=weights.file("config.json"), field="quantization_config")
            found = config["quantization_config"]
            message = "the configuration asks a loader to quantise"
            yield finding("precision.quantization_config", place, message, found=found, allowed="no such field")


CHECKS = (
    Check(rule="precision.dtype", function=dtype),
    Check(rule="precision.quantization_config", function=quantization_config),
)
