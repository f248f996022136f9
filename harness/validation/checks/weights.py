"""The checkpoints that the record references: reachable, the same bytes, whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.checkpoint.checkpoint import CheckpointFile, files_digest, list_files
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
        listed = list_files(weights.require_folder())
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
            list_files(weights.folder)
            read_config(weights)
            read_layout(weights)
        except CheckpointCorrupt as error:
            message = str(error).replace(f"{weights.folder}/", "").replace(str(weights.folder), "checkpoint")
            place = Place(file=weights.file(_named_file(message)))
            yield finding("weights.corrupt", place, message, found=message, allowed="a whole checkpoint")


def _named_file(message: str) -> str:
    """The file that an error of a checkpoint reader begins with."""
    name = message.partition(":")[0]
    return "" if name == "checkpoint" or " " in name else name


CHECKS = (
    Check(rule="weights.missing", function=missing),
    Check(rule="weights.digest", function=digest),
    Check(rule="weights.corrupt", function=corrupt),
)
