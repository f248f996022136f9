"""The track's own rules: an entry from scratch starts from an initialisation and from no pretrained weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.submission.model_result import ModelResult
    from harness.validation.entry import Entry

SOURCES = ("hub_id", "revision", "embedded")


def scratch(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """In a track without base models, no model's base names pretrained weights."""
    for number, model in _scratch(entry, edition):
        for name in SOURCES:
            found = getattr(model.base, name)
            if found is not None:
                place = Place(file=layout.SUBMISSION, field=f"models.{number}.base.{name}")
                message = f"the lineage of {model.name} begins with pretrained weights"
                yield finding("track.scratch", place, message, found=found, allowed="an initialisation, by its digest")


def lineage(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """In a track without base models, training leads from the initialisation to what is submitted."""
    for number, model in _scratch(entry, edition):
        final = model.result("final")
        if not any(step.stage == "train" for step in model.steps):
            place = Place(file=layout.SUBMISSION, field=f"models.{number}.steps")
            message = f"{model.name} was never trained here, so its weights come from elsewhere"
            found = ", ".join(step.stage for step in model.steps) or "no step"
            yield finding("track.lineage", place, message, found=found, allowed="a train step")
        elif final is not None and final.checkpoint.checkpoint_digest == model.base.checkpoint_digest:
            place = Place(file=layout.SUBMISSION, field=f"models.{number}.base.checkpoint_digest")
            message = f"the initialisation of {model.name} is the model that is submitted"
            found = model.base.checkpoint_digest
            yield finding("track.lineage", place, message, found=found, allowed="another digest than the final one")


def _scratch(entry: Entry, edition: Edition) -> Iterator[tuple[int, ModelResult]]:
    track = edition.tracks.get(entry.submission.track) if entry.submission else None
    if track is not None and not track.from_pretrained:
        yield from enumerate(entry.models)


CHECKS = (
    Check(rule="track.scratch", function=scratch),
    Check(rule="track.lineage", function=lineage),
)
