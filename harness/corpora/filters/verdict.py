"""What a filter says of a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What stays of a document, and why not all of it."""

    text: str | None
    """None where the document goes."""
    reason: str | None = None
    """One of the filter's own few words; None where all of the document stays."""
    evidence: str = ""
    """What gave the reason: a word, a line, a measure. For people."""


class Filter(Protocol):
    """One reason to leave documents out. The same documents in the same order get the same verdicts."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def __call__(self, text: str) -> Verdict:
        """The verdict on a document; but for those that look for duplicates, a function of ``text`` alone."""


def kept(text: str) -> Verdict:
    """All of it stays."""
    return Verdict(text=text)


def dropped(reason: str, evidence: object = "") -> Verdict:
    """It goes."""
    return Verdict(text=None, reason=reason, evidence=str(evidence))


def shortened(text: str, reason: str, evidence: object = "") -> Verdict:
    """A part of it stays, or, where that has no letter in it, nothing."""
    return Verdict(text=text if text.strip() else None, reason=reason, evidence=str(evidence))
