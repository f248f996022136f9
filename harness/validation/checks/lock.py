"""The lock file: enough to run again, and of the same run as the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.submission.provenance import Lock
    from harness.submission.schema import Submission
    from harness.validation.entry import Entry

PACKAGES = ("numpy", "safetensors", "tokenizers", "torch", "transformers")
"""Distributions whose version can change a number."""
SEED = "submission"


def complete(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Versions, seed, digests and the evaluating toolchain are all there."""
    if entry.lock is None:
        return  # bundle.required_files or bundle.schema says so
    for field, name in _missing(entry.lock, entry.submission):
        place = Place(file=layout.LOCK, field=field)
        yield finding("lock.complete", place, f"the lock file does not name {name}", found="nothing", allowed=name)


def _missing(lock: Lock, submission: Submission | None) -> Iterator[tuple[str, str]]:
    """Field and what it should have named."""
    for package in PACKAGES:
        if not lock.packages.get(package):
            yield f"packages.{package}", f"the version of {package}"
    for name, value in (("python", lock.platform.python), ("cpu", lock.platform.cpu), ("system", lock.platform.system)):
        if not value:
            yield f"platform.{name}", f"the {name} of the machine"
    if SEED not in lock.seeds:
        yield f"seeds.{SEED}", "the seed of the submission"
    for label in digest_labels(submission):
        if label not in lock.digests:
            yield f"digests.{label}", f"the digest of {label}"
    named = {toolchain.name for toolchain in lock.toolchains}
    for engine in sorted(_engines(submission) - named):
        yield "toolchains", f"the toolchain {engine}"


def digest_labels(submission: Submission | None) -> dict[str, str]:
    """The digest of every checkpoint of ``submission`` by its label, e.g. ``llama.final``."""
    models = submission.models if submission else ()
    return {
        f"{model.name}.{result.role}": result.checkpoint.checkpoint_digest
        for model in models
        for result in model.checkpoints
    }


def _engines(submission: Submission | None) -> set[str]:
    models = submission.models if submission else ()
    measured = [result.measurements.evaluation for model in models for result in model.checkpoints]
    return {evaluation.engine for evaluation in measured if evaluation is not None}


def agrees(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Edition, plugin, seed, digests and recipe are the manifest's."""
    if entry.lock is None or entry.submission is None:
        return
    for field, found, wanted in _pairs(entry.lock, entry.submission):
        if found != wanted:
            place = Place(file=layout.LOCK, field=field)
            message = "the lock file and the manifest disagree"
            yield finding("lock.agrees", place, message, found=found, allowed=str(wanted))
    if entry.recipe is not None and entry.recipe != entry.lock.recipe:
        place = Place(file=layout.LOCK, field="recipe")
        message = "the recipe of the lock file is not that of recipe.json"
        yield finding("lock.agrees", place, message, found="another recipe", allowed="the recipe of recipe.json")


def _pairs(lock: Lock, submission: Submission) -> Iterator[tuple[str, object, object]]:
    """Field of the lock file, its value, the manifest's."""
    yield "edition.rules_digest", lock.edition.rules_digest, submission.edition.rules_digest
    yield "plugin.name", lock.plugin.name, submission.plugin.distribution.name
    yield "plugin.code_digest", lock.plugin.code_digest, submission.plugin.distribution.code_digest
    yield f"seeds.{SEED}", lock.seeds.get(SEED, submission.seed), submission.seed
    for label, digest in digest_labels(submission).items():
        yield f"digests.{label}", lock.digests.get(label, digest), digest


CHECKS = (
    Check(rule="lock.complete", function=complete),
    Check(rule="lock.agrees", function=agrees),
)
