"""Filters one after the other, and what each of them dropped."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from pydantic import NonNegativeInt

from harness.document import Document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.corpora.filters.verdict import Filter, Verdict
    from harness.corpora.rows import Sample

EXAMPLES: Final = 3
"""Of each reason."""
EXAMPLE_CHARACTERS: Final = 160


class Reason(Document):
    """One reason of one filter."""

    filter: str
    reason: str
    dropped: NonNegativeInt = 0
    shortened: NonNegativeInt = 0
    examples: tuple[str, ...] = ()
    """The evidence and the beginning of the first documents."""


class FilterReport(Document):
    """What a cascade did."""

    seen: NonNegativeInt = 0
    """Documents that came in."""
    kept: NonNegativeInt = 0
    """Documents of which something came out."""
    characters_seen: NonNegativeInt = 0
    characters_kept: NonNegativeInt = 0
    reasons: tuple[Reason, ...] = ()
    """By filter, in their order, and by how often."""


@dataclass(slots=True)
class _Tally:
    dropped: int = 0
    shortened: int = 0
    examples: list[str] = field(default_factory=list)


class Counts:
    """A report in the making; several cascades may add to one."""

    def __init__(self) -> None:
        self.seen = self.kept = self.characters_seen = self.characters_kept = 0
        self._tallies: dict[tuple[str, str], _Tally] = {}

    def enter(self, name: str, verdict: Verdict, text: str) -> None:
        """A verdict that leaves something out of ``text``."""
        tally = self._tallies.setdefault((name, str(verdict.reason)), _Tally())
        if verdict.text is None:
            tally.dropped += 1
        else:
            tally.shortened += 1
        if len(tally.examples) < EXAMPLES:
            beginning = " ".join(text[: 4 * EXAMPLE_CHARACTERS].split())[:EXAMPLE_CHARACTERS]
            tally.examples.append(f"[{verdict.evidence}] {beginning}" if verdict.evidence else beginning)

    def report(self) -> FilterReport:
        """What was counted so far."""
        order = list(dict.fromkeys(name for name, _ in self._tallies))
        entries = sorted(
            self._tallies.items(),
            key=lambda item: (order.index(item[0][0]), -item[1].dropped - item[1].shortened, item[0][1]),
        )
        return FilterReport(
            seen=self.seen,
            kept=self.kept,
            characters_seen=self.characters_seen,
            characters_kept=self.characters_kept,
            reasons=tuple(
                Reason(
                    filter=name,
                    reason=reason,
                    dropped=tally.dropped,
                    shortened=tally.shortened,
                    examples=tuple(tally.examples),
                )
                for (name, reason), tally in entries
            ),
        )


class Cascade:
    """Gives a document to each filter in turn, what the one before left of it, until one drops it."""

    def __init__(self, filters: Sequence[Filter], counts: Counts) -> None:
        self._filters, self._counts = tuple(filters), counts

    def __call__(self, sample: Sample) -> Sample | None:
        """What stays of ``sample``; None for nothing."""
        text, counts = sample.text, self._counts
        counts.seen += 1
        counts.characters_seen += len(text)
        for each in self._filters:
            verdict = each(text)
            if verdict.reason is not None:
                counts.enter(each.name, verdict, text)
            if verdict.text is None:
                return None
            text = verdict.text
        counts.kept += 1
        counts.characters_kept += len(text)
        return sample if text is sample.text else replace(sample, text=text)
