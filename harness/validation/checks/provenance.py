"""Provenance: the steps lead to what is submitted, digests recompute, and a signature that is there is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.checkpoint.checkpoint import CheckpointFile, files_digest
from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.submission.signature import SIGNATURE, Signature, is_genuine, tampered
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.checks.data import entries
from harness.validation.listing import Unreadable, read_plain
from harness.validation.record import MAX_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.corpora.ledger import LedgerEntry
    from harness.rules.edition import Edition
    from harness.submission.model_result import CheckpointRole, ModelResult, StepRecord
    from harness.validation.entry import Entry


def chain(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The checkpoint in each role is the one that the last step on the way to it wrote."""
    for m, model in enumerate(entry.models):
        for role, steps, field in _ways(model):
            for c, result in enumerate(model.checkpoints):
                digest = result.checkpoint.checkpoint_digest
                if steps and result.role == role and digest != steps[-1].checkpoint_digest:
                    place = Place(file=layout.SUBMISSION, field=f"models.{m}.checkpoints.{c}.checkpoint")
                    message = f"the {role} checkpoint of {model.name} is not what the last of its {field} wrote"
                    allowed = steps[-1].checkpoint_digest
                    yield finding("provenance.chain", place, message, found=digest, allowed=allowed)


def _ways(model: ModelResult) -> Iterator[tuple[CheckpointRole, tuple[StepRecord, ...], str]]:
    """Role, the steps that lead to it, and what they are called."""
    yield "compressed", tuple(step for step in model.steps if step.stage == "compress"), "compress steps"
    yield "final", model.steps, "steps"
    yield "control", model.control_steps, "control steps"


def locked_steps(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Where the lock file names a step's checkpoint, it is the one of the record."""
    for model in entry.models if entry.lock else ():
        for number, step in enumerate(model.steps):
            label = f"{model.name}.step.{number}"
            found = entry.lock.digests.get(label, step.checkpoint_digest) if entry.lock else step.checkpoint_digest
            if found != step.checkpoint_digest:
                place = Place(file=layout.LOCK, field=f"digests.{label}")
                message = "the lock file names another checkpoint than the record for this step"
                yield finding("provenance.steps", place, message, found=found, allowed=step.checkpoint_digest)


def data_files(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The digest of a local copy recomputes from the files that were read."""
    for field, read in entries(entry):
        expected = _digest(read)
        if read.files and read.file_sha256 != expected:
            place = Place(file=layout.LEDGER, field=f"{field}.file_sha256")
            message = f"the files that were read as {read.data} have another digest"
            yield finding("provenance.data_files", place, message, found=read.file_sha256, allowed=expected)


def _digest(read: LedgerEntry) -> str:
    """As the door makes it: of the one file, or over names, sizes and digests of several."""
    if len(read.files) == 1:
        return read.files[0].sha256
    return files_digest(
        tuple(CheckpointFile(name=file.name, size_bytes=file.size_bytes, sha256=file.sha256) for file in read.files)
    )


def signature(entry: Entry, _: Edition) -> Iterator[Finding]:
    """A signature that is in the bundle is of exactly its files; whose it is, ``harness verify`` says."""
    if SIGNATURE not in entry.listing.files:
        return
    place = Place(file=SIGNATURE)
    try:
        signed = Signature.model_validate_json(read_plain(entry.path / SIGNATURE, max_bytes=MAX_FILE_BYTES))
    except (Unreadable, ValidationError) as error:
        message = "the signature cannot be read"
        yield finding("provenance.signature", place, message, found=str(error), allowed="what `harness sign` writes")
        return
    if not is_genuine(signed):
        message = "the signature is not one of its own list of files by its own key"
        yield finding("provenance.signature", place, message, found="a false signature", allowed="a true one")
    names = [name for name in entry.listing.files if name != SIGNATURE]
    for change in tampered(signed, names, lambda name: _content(entry, name)):
        place = Place(file=change.name, byte_offset=change.first_byte)
        message = f"the file {change.words}"
        yield finding("provenance.signature", place, message, found=change.change, allowed="the file that was signed")


def _content(entry: Entry, name: str) -> bytes | None:
    try:
        return read_plain(entry.path / name, max_bytes=MAX_FILE_BYTES)
    except Unreadable:
        return None


CHECKS = (
    Check(rule="provenance.chain", function=chain),
    Check(rule="provenance.steps", function=locked_steps),
    Check(rule="provenance.data_files", function=data_files),
    Check(rule="provenance.signature", function=signature),
)
