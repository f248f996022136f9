"""Under which rules the entry was made, and whether it says so in their words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.rules.finding import Finding, Place
from harness.submission import layout
from harness.validation.catalogue import finding
from harness.validation.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.validation.entry import Entry


def mismatch(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Id, version and digest of the edition are those that the entry states."""
    if entry.submission is None:
        return
    stated = entry.submission.edition
    pairs = {
        "id": (stated.id, edition.id),
        "version": (stated.version, edition.version),
        "rules_digest": (stated.rules_digest, edition.content_digest()),
    }
    for field, (found, allowed) in pairs.items():
        if found != allowed:
            place = Place(file=layout.SUBMISSION, field=f"edition.{field}")
            message = f"the entry was made under other rules than {edition.id} {edition.version}"
            yield finding("edition.mismatch", place, message, found=found, allowed=allowed)
            return  # another id has another version and digest too


def track(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """The track is one of the edition."""
    if entry.submission is not None and entry.submission.track not in edition.tracks:
        place = Place(file=layout.SUBMISSION, field="track")
        allowed = ", ".join(edition.tracks)
        yield finding(
            "edition.track", place, "the edition has no such track", found=entry.submission.track, allowed=allowed
        )


def notice(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Eligibility and notice are the edition's."""
    if entry.submission is None:
        return
    submission = entry.submission
    for field, found, allowed in (
        ("eligible", str(submission.eligible).lower(), str(edition.eligible).lower()),
        ("notice", submission.notice, edition.notice),
    ):
        if found != allowed:
            place = Place(file=layout.SUBMISSION, field=field)
            message = "the entry says something else about its eligibility than the edition"
            yield finding("edition.notice", place, message, found=found or "nothing", allowed=allowed or "nothing")


def forbidden_method(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """No step's method is of a family that the edition forbids."""
    families = {word: name for name, rule in edition.forbidden.items() for word in rule.methods}
    for m, model in enumerate(entry.models):
        for branch, steps in (("steps", model.steps), ("control_steps", model.control_steps)):
            for s, step in enumerate(steps):
                family = next((families[word] for word in families if word in step.method.lower()), None)
                if family is not None:
                    place = Place(file=layout.SUBMISSION, field=f"models.{m}.{branch}.{s}.method")
                    message = f"the edition forbids {family}: {edition.forbidden[family].why}"
                    allowed = f"methods without {family}"
                    yield finding("edition.forbidden_method", place, message, found=step.method, allowed=allowed)


CHECKS = (
    Check(rule="edition.mismatch", function=mismatch),
    Check(rule="edition.track", function=track),
    Check(rule="edition.notice", function=notice),
    Check(rule="edition.forbidden_method", function=forbidden_method),
)
