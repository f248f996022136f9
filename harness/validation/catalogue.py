"""The catalogue of rules: ``rules/<family>.toml`` as typed data, and findings made from it.

A rule's id is ``family.name`` and never changes. Severity, rationale and fix are the catalogue's; a check adds the
place, what was found and what is allowed.
"""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from typing import TYPE_CHECKING

from harness.document import Document
from harness.rules.finding import Finding, Place, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SHOWN_CHARACTERS = 240


class Example(Document):
    """What one finding of a rule looks like."""

    place: Place
    message: str
    found: str
    allowed: str


class Rule(Document):
    """One rule that an entry can break."""

    id: str
    """``family.name``."""
    severity: Severity
    title: str
    """What must hold, one sentence."""
    rationale: str
    """Why the rule is there."""
    fix: str
    """What to do when it is broken."""
    example: Example | None = None
    """A finding of it, for ``harness explain``."""

    @property
    def family(self) -> str:
        """The part before the dot."""
        return self.id.partition(".")[0]

    def example_finding(self) -> Finding | None:
        """The example with the rule's severity and fix."""
        if self.example is None:
            return None
        shown = self.example
        return Finding(
            rule=self.id,
            severity=self.severity,
            place=shown.place,
            message=shown.message,
            found=shown.found,
            allowed=shown.allowed,
            fix=self.fix,
        )


class Family(Document):
    """One file of rules."""

    rule: tuple[Rule, ...]


@functools.cache
def rules() -> Mapping[str, Rule]:
    """Every rule by its id, family by family."""
    folder = resources.files("harness.validation") / "rules"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name)
    families = [Family.model_validate(tomllib.loads(entry.read_text(encoding="utf-8"))) for entry in files]
    return {rule.id: rule for family in families for rule in family.rule}


def finding(  # noqa: PLR0913 - a finding is these facts, named at the call
    rule_id: str, place: Place, message: str, *, found: object, allowed: str, severity: Severity | None = None
) -> Finding:
    """A finding of the rule ``rule_id``; ``severity`` only where the edition makes it weigh otherwise."""
    rule = rules()[rule_id]
    return Finding(
        rule=rule.id,
        severity=severity or rule.severity,
        place=_printable(place),
        message=show(message),
        found=show(found),
        allowed=show(allowed),
        fix=rule.fix,
    )


def _printable(place: Place) -> Place:
    """The place as it can be shown: names of files, tensors and fields may be a stranger's."""
    names = {"file": place.file, "tensor": place.tensor, "field": place.field}
    return place.model_copy(update={key: name if name is None else show(name) for key, name in names.items()})


def show(value: object) -> str:
    """``value`` on one short printable line, whatever a stranger put into it."""
    text = value if isinstance(value, str) else repr(value)
    clean = "".join(mark if mark.isprintable() else _escape(mark) for mark in text[: 2 * MAX_SHOWN_CHARACTERS])
    return clean if len(clean) <= MAX_SHOWN_CHARACTERS else clean[: MAX_SHOWN_CHARACTERS - 3] + "..."


def _escape(mark: str) -> str:
    return mark.encode("unicode_escape").decode("ascii")
