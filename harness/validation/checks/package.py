"""Packages: of the model that was scored, whole, and the files that the record names."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from harness.checkpoint.checkpoint import CheckpointFile, files_digest
from harness.rules.finding import Finding, Place, Severity
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.submission.model_result import CheckpointRecord, PackageRecord
    from harness.validation.entry import Entry

REQUIRED = {
    "transformers": (("package.json",), ("config.json",), ("tokenizer.json",), ("*.safetensors",)),
    "mlc": (
        ("mlc-chat-config.json",),
        ("ndarray-cache.json", "tensor-cache.json"),
        ("params_shard_0.bin",),
        ("tokenizer.json", "tokenizer.model"),
        ("tokenizer_config.json",),
    ),
    "executorch": (("package.json",), ("*.pte",), ("tokenizer.json", "tokenizer.model")),
}
"""Files of each format that a runtime cannot do without, each by the names that it may have."""


def missing(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Every model has a package."""
    for number, model in enumerate(entry.models):
        if model.package is None:
            place = Place(file=layout.SUBMISSION, field=f"models.{number}.package")
            message = f"the final checkpoint of {model.name} was not packaged"
            yield finding(
                "package.missing", place, message, found="no package", allowed=f"one of {', '.join(REQUIRED)}"
            )


def complete(entry: Entry, _: Edition) -> Iterator[Finding]:
    """A package of a known format has the files that its runtime needs."""
    for field, package, _final in _packages(entry):
        names = [file.name for file in package.files]
        for choices in REQUIRED.get(package.format, ()):
            if not any(fnmatchcase(name, choice) for name in names for choice in choices):
                place, allowed = Place(file=layout.SUBMISSION, field=f"{field}.files"), " or ".join(choices)
                message = f"the package lacks a file that {package.format} needs"
                yield finding("package.complete", place, message, found=", ".join(names) or "none", allowed=allowed)


def digest(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Digest and size of a package recompute from its files."""
    for field, package, _final in _packages(entry):
        files = tuple(CheckpointFile(name=f.name, size_bytes=f.size_bytes, sha256=f.sha256) for f in package.files)
        pairs: tuple[tuple[str, object, object], ...] = (
            ("package_digest", package.package_digest, files_digest(files)),
            ("size_bytes", package.size_bytes, sum(file.size_bytes for file in files)),
        )
        for name, found, allowed in pairs:
            if found != allowed:
                place = Place(file=layout.SUBMISSION, field=f"{field}.{name}")
                message = "the files of the package say otherwise"
                yield finding("package.digest", place, message, found=found, allowed=str(allowed))


def same_weights(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The package is of the final checkpoint, and one for ``transformers`` holds its very shards."""
    for field, package, final in _packages(entry):
        if final is not None and package.checkpoint_digest != final.checkpoint_digest:
            place = Place(file=layout.SUBMISSION, field=f"{field}.checkpoint_digest")
            message = "the package was made from another checkpoint than the one that was scored"
            found, allowed = package.checkpoint_digest, final.checkpoint_digest
            yield finding("package.same_weights", place, message, found=found, allowed=allowed)
        elif final is not None and package.format == "transformers":
            yield from _shards(field, package, final)


def _shards(field: str, package: PackageRecord, final: CheckpointRecord) -> Iterator[Finding]:
    packaged = {file.sha256 for file in package.files}
    for shard in final.files:
        if shard.name.endswith(".safetensors") and shard.sha256 not in packaged:
            place = Place(file=layout.SUBMISSION, field=f"{field}.files")
            message = (
                f"no file of the package has the bytes of {shard.name}; only its logits can say that it is the same"
            )
            yield finding(
                "package.same_weights",
                place,
                message,
                found="other files",
                allowed=f"SHA-256 {shard.sha256}",
                severity=Severity.WARNING,
            )


def _packages(entry: Entry) -> Iterator[tuple[str, PackageRecord, CheckpointRecord | None]]:
    """Field, package and the final checkpoint beside it."""
    for number, model in enumerate(entry.models):
        if model.package is not None:
            final = model.result("final")
            yield f"models.{number}.package", model.package, final.checkpoint if final else None


CHECKS = (
    Check(rule="package.missing", function=missing),
    Check(rule="package.complete", function=complete),
    Check(rule="package.digest", function=digest),
    Check(rule="package.same_weights", function=same_weights),
)
