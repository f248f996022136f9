"""What a check is: the rules that it can report, and a pure function from an entry and an edition to findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.rules.edition import Edition
    from harness.rules.finding import Finding
    from harness.validation.entry import Entry


class CheckFunction(Protocol):
    """The form of every check."""

    def __call__(self, entry: Entry, edition: Edition, /) -> Iterable[Finding]:
        """Everything in ``entry`` that breaks the rule; nothing for what cannot be checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of one rule."""

    rule: str
    """Id in the catalogue; the check reports under no other."""
    function: CheckFunction
