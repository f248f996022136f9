"""The checkpoints that the record references: reachable, the same bytes, whole, and with values that compute."""

from __future__ import annotations

import re
from math import prod
from typing import TYPE_CHECKING, Final

from harness.checkpoint.checkpoint import CheckpointFile, files_digest, list_files
from harness.checkpoint.header import LENGTH_BYTES, parse_header
from harness.checkpoint.tree_digest import plain_files
from harness.errors import CheckpointCorrupt
from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.foreign.kind import Kind
from harness.validation.value_scan import begin, scanned
from harness.validation.weights import read_config, read_layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.checkpoint.header import TensorEntry
    from harness.checkpoint.scan import Occurrence, TensorScan
    from harness.rules.edition import Edition
    from harness.validation.entry import Entry
    from harness.validation.weights import Weights

_TENSOR: Final = re.compile(r": tensor '([^']*)':")
_BYTE: Final = re.compile(r"begins at byte (\d+)")
_ENDS: Final = re.compile(r"tensors end at byte (\d+), the file at (\d+)")
"""Where the readers of checkpoints say that something is wrong."""
VALUE_RULES: Final = frozenset(("weights.nonfinite", "weights.saturated", "weights.zero"))
"""Rules whose checks need every value read."""


def missing(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Every final checkpoint was found."""
    for weights in entry.weights:
        if weights.role == "final" and weights.folder is None:
            place = Place(file=layout.SUBMISSION, field=weights.field)
            message = f"the final checkpoint of {weights.model} was not found, so only the claims about it were checked"
            found = f"no checkpoint with digest {weights.record.checkpoint_digest}"
            yield finding("weights.missing", place, message, found=found, allowed="a folder with its files")


def digest(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The record's file digests make its digest, and every checkpoint that was found has exactly those files."""
    for weights in entry.weights:
        yield from _record_digest(weights)
        if weights.folder is not None:
            yield from _files(weights)


def _record_digest(weights: Weights) -> Iterator[Finding]:
    record = weights.record
    named = tuple(CheckpointFile(name=f.name, size_bytes=f.size_bytes, sha256=f.sha256) for f in record.files)
    if files_digest(named) != record.checkpoint_digest:
        place = Place(file=layout.SUBMISSION, field=f"{weights.field}.checkpoint_digest")
        message = "the digest is not that of the files that the record lists"
        yield finding("weights.digest", place, message, found=record.checkpoint_digest, allowed=files_digest(named))


def _files(weights: Weights) -> Iterator[Finding]:
    recorded = {file.name: f"{file.size_bytes} bytes, SHA-256 {file.sha256}" for file in weights.record.files}
    try:
        listed = _listed(weights)
    except CheckpointCorrupt:
        return  # weights.corrupt says so
    present = {file.name: f"{file.size_bytes} bytes, SHA-256 {file.sha256}" for file in listed}
    for name in sorted(recorded.keys() | present.keys()):
        found, allowed = present.get(name, "no such file"), recorded.get(name, "no such file")
        if found != allowed:
            place = Place(file=weights.file(name))
            message = f"the file is not the one that was measured as {weights.role} of {weights.model}"
            yield finding("weights.digest", place, message, found=found, allowed=allowed)


def corrupt(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Every checkpoint that was found can be read: configuration, headers, index."""
    for weights in entry.weights:
        if weights.folder is None:
            continue
        try:
            plain_files(weights.folder)
            read_config(weights)
            read_layout(weights)
        except CheckpointCorrupt as error:
            message = str(error).replace(f"{weights.folder}/", "").replace(str(weights.folder), "checkpoint")
            place = _place(weights, weights.folder, message)
            yield finding("weights.corrupt", place, message, found=message, allowed="a whole checkpoint")


def _place(weights: Weights, folder: Path, message: str) -> Place:
    """File, and where the message has them tensor and byte; of a truncated file the first tensor that lost bytes."""
    name = _named_file(message)
    ends = _ENDS.search(message)
    if ends is not None:
        end, size_bytes = int(ends[1]), int(ends[2])
        lost = _first_lost(folder / name, end, size_bytes)
        return Place(file=weights.file(name), tensor=lost, byte_offset=min(end, size_bytes))
    tensor, byte = _TENSOR.search(message), _BYTE.search(message)
    return Place(
        file=weights.file(name), tensor=tensor[1] if tensor else None, byte_offset=int(byte[1]) if byte else None
    )


def _first_lost(file: Path, end: int, size_bytes: int) -> str | None:
    """The first tensor that does not end in a file of ``size_bytes``, of tensors that should end at ``end``."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
        text = stream.read(length)
    entries = parse_header(text, path=file, data_start=LENGTH_BYTES + length, size_bytes=end).tensors
    return next((entry.name for entry in entries if entry.stop > size_bytes), None)


def _named_file(message: str) -> str:
    """The file that an error of a checkpoint reader begins with."""
    name = message.partition(":")[0]
    return "" if name == "checkpoint" or " " in name else name


def _listed(weights: Weights) -> tuple[CheckpointFile, ...]:
    """Its files with their digests; of a final checkpoint, whose values are looked at, from the same read."""
    folder = weights.require_folder()
    if weights.role == "final" and _has_layout(weights):
        return scanned(folder, with_digests=True)[1]
    return list_files(folder)


def _has_layout(weights: Weights) -> bool:
    try:
        read_layout(weights)
    except CheckpointCorrupt:
        return False  # weights.corrupt says so; its files have digests all the same
    return True


def _scanned(entry: Entry) -> Iterator[tuple[Weights, TensorEntry, TensorScan]]:
    """Every tensor of the final checkpoints; the checks that look at values share one read of them."""
    for weights in entry.weights:
        if weights.role == "final" and weights.folder is not None:
            try:
                read = read_layout(weights)
                found = scanned(weights.folder, with_digests=_wants_digests(entry))[0].tensors
            except CheckpointCorrupt:
                continue  # weights.corrupt says so
            yield from ((weights, one, seen) for one, seen in zip(read.tensors, found, strict=True))


def begin_reading(entry: Entry) -> None:
    """Start reading the values of the final checkpoints, for the checks that will ask for them."""
    for weights in entry.weights:
        if weights.role == "final" and weights.folder is not None and _has_layout(weights):
            begin(weights.folder, with_digests=_wants_digests(entry))


def _wants_digests(entry: Entry) -> bool:
    """A bundle's weights are digested, too, from the same read; of others nobody asks for a digest."""
    return entry.kind is Kind.BUNDLE


def nonfinite(entry: Entry, _: Edition) -> Iterator[Finding]:
    """No value of a final checkpoint is NaN or infinite."""
    for weights, _stored, tensor in _scanned(entry):
        kinds = {"NaN": tensor.nan, "inf": tensor.positive_infinity, "-inf": tensor.negative_infinity}
        firsts = [(one.first.byte_offset, name, one) for name, one in kinds.items() if one.first is not None]
        if firsts:
            name, first = min(firsts, key=lambda item: item[0])[1:]
            counted = ", ".join(f"{one.count} {kind}" for kind, one in kinds.items() if one.count)
            message = f"the tensor holds values that are no numbers, the first is {name}"
            place = _element(weights, tensor, first)
            yield finding("weights.nonfinite", place, message, found=counted, allowed="finite values")


def saturated(entry: Entry, _: Edition) -> Iterator[Finding]:
    """No value has the largest magnitude of its dtype, which is where a cast that clips leaves an overflow."""
    for weights, _stored, tensor in _scanned(entry):
        if tensor.saturated.count:
            message = f"values have the largest magnitude of {tensor.dtype}, as a cast leaves them that overflows"
            found = f"{tensor.saturated.count} of magnitude {tensor.largest_magnitude:g}"
            place = _element(weights, tensor, tensor.saturated)
            yield finding("weights.saturated", place, message, found=found, allowed="values within the range")


def _element(weights: Weights, tensor: TensorScan, occurrence: Occurrence) -> Place:
    if occurrence.first is None:
        return Place(file=weights.file(tensor.shard), tensor=tensor.name)
    index = 0
    for size, position in zip(tensor.shape, occurrence.first.index, strict=True):
        index = index * size + position
    offset = occurrence.first.byte_offset
    return Place(file=weights.file(tensor.shard), tensor=tensor.name, index=index, byte_offset=offset)


def zero(entry: Entry, _: Edition) -> Iterator[Finding]:
    """No weight of a final checkpoint is zero throughout; a bias may be."""
    for weights, stored, tensor in _scanned(entry):
        if tensor.is_zero and not tensor.name.endswith("bias"):
            place = Place(file=weights.file(tensor.shard), tensor=tensor.name, index=0, byte_offset=stored.start)
            message = "every value of the tensor is zero"
            found = f"{prod(tensor.shape)} zeros"
            yield finding("weights.zero", place, message, found=found, allowed="a value that is not zero")


CHECKS = (
    Check(rule="weights.missing", function=missing),
    Check(rule="weights.digest", function=digest),
    Check(rule="weights.corrupt", function=corrupt),
    Check(rule="weights.nonfinite", function=nonfinite),
    Check(rule="weights.saturated", function=saturated),
    Check(rule="weights.zero", function=zero),
)
