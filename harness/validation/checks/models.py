"""The base models: those of the track, all of them, and each with a final checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.rules.finding import Finding, Place, Severity
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import BaseModelRule, Edition
    from harness.submission.model_result import ModelResult
    from harness.validation.entry import Entry


def base_named(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Every base model is one of the track, named as the edition names it, and the one that was measured."""
    track = edition.tracks.get(entry.submission.track) if entry.submission else None
    if track is None:
        return  # edition.track says so
    for number, model in enumerate(entry.models):
        if model.name not in track.models:
            place = Place(file=layout.SUBMISSION, field=f"models.{number}.name")
            allowed = ", ".join(track.models)
            yield finding("models.base_named", place, "the track has no such model", found=model.name, allowed=allowed)
        elif model.name in edition.models:
            yield from _base(model, edition.models[model.name], f"models.{number}.base")


def _base(model: ModelResult, rule: BaseModelRule, field: str) -> Iterator[Finding]:
    stated = {"hub_id": rule.hub_id, "embedded": rule.embedded}
    if rule.revision is not None:
        stated["revision"] = rule.revision
    for name, allowed in stated.items():
        found = getattr(model.base, name)
        if found != allowed:
            place = Place(file=layout.SUBMISSION, field=f"{field}.{name}")
            message = "the base model is not the one that the edition names"
            yield finding("models.base_named", place, message, found=found or "none", allowed=allowed or "none")
    measured = model.result("base")
    if measured is not None and measured.checkpoint.checkpoint_digest != model.base.checkpoint_digest:
        place = Place(file=layout.SUBMISSION, field=f"{field}.checkpoint_digest")
        message = "the base that was measured is another checkpoint than the base that was compressed"
        allowed = measured.checkpoint.checkpoint_digest
        yield finding("models.base_named", place, message, found=model.base.checkpoint_digest, allowed=allowed)


def complete(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Each model of the track has one result with one final checkpoint.

    An entry that cannot compete may show a part of the track: there a missing model is a warning.
    """
    if entry.submission is None or entry.submission.track not in edition.tracks:
        return
    names = [model.name for model in entry.models]
    place = Place(file=layout.SUBMISSION, field="models")
    expected = edition.tracks[entry.submission.track].models
    missing = [name for name in expected if name not in names]
    if missing or not names:
        severity = Severity.ERROR if edition.eligible or not names else Severity.WARNING
        yield finding(
            "models.complete",
            place,
            f"the means are over {len(names)} of the track's {len(expected)} models",
            found=", ".join(names) or "no model",
            allowed=", ".join(expected),
            severity=severity,
        )
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield finding(
            "models.complete", place, "a model has two results", found=name, allowed="one result for each model"
        )
    yield from _final(entry)


def _final(entry: Entry) -> Iterator[Finding]:
    for number, model in enumerate(entry.models):
        roles = [result.role for result in model.checkpoints]
        if roles.count("final") != 1 or len(set(roles)) != len(roles):
            place = Place(file=layout.SUBMISSION, field=f"models.{number}.checkpoints")
            message = "the model has no final checkpoint, or two in one role"
            found = ", ".join(roles) or "none"
            yield finding("models.complete", place, message, found=found, allowed="each role once, final always")


CHECKS = (
    Check(rule="models.base_named", function=base_named),
    Check(rule="models.complete", function=complete),
)
