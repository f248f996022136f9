"""How good a document is, and the best of them kept.

    FILE.bin, fastText's format, the user's ──┐
    answers | web documents ── stand-in ──────┴─> Rater ── text ──> P(high quality), 0 ... 1
                                                    └ a sample's scores, sorted ──> threshold that keeps the top p

DCLM (arXiv 2406.11794) rates with a fastText classifier; its file can be given (``quality_fasttext``). Where it is not
to be had, a small linear rater is trained on the spot (``quality_stand_in``), and every record says so. A threshold
belongs to a pool of documents: DCLM's own is of no use for C4, so that ours is a percentile of a sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, Protocol

from harness.corpora.filters.verdict import Verdict, dropped, kept
from harness.document import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class RaterRecord(Document):
    """What rated the documents, for a step's notes."""

    kind: Literal["file", "stand-in"]
    """The user's own, or one that was trained here for want of it."""
    sha256: str
    """Of the user's file, or of the stand-in's weights."""
    trained_on: str = ""
    """What a stand-in learnt from; it knows no more of quality than these show."""


class Rater(Protocol):
    """Rates documents. It can be pickled, so that other processes rate, too."""

    @property
    def record(self) -> RaterRecord:
        """What it is."""

    def __call__(self, text: str) -> float:
        """The probability that ``text`` is of high quality."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Drops documents that are rated below ``threshold``."""

    rate: Callable[[str], float]
    threshold: float
    name: str = "quality"

    def __call__(self, text: str) -> Verdict:
        """Keep or drop."""
        score = self.rate(text)
        return kept(text) if score >= self.threshold else dropped("rated low", f"{score:.3f} < {self.threshold:.3f}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityBand:
    """Keeps the documents of one chunk of quality: rated at least ``lowest`` and below ``highest``."""

    rate: Callable[[str], float]
    lowest: float = -math.inf
    highest: float = math.inf
    name: str = "quality chunk"

    def __call__(self, text: str) -> Verdict:
        """Keep or drop."""
        score = self.rate(text)
        if self.lowest <= score < self.highest:
            return kept(text)
        return dropped("another chunk", f"{score:.3f}")


def threshold_of(scores: Sequence[float], *, keep_fraction: float) -> float:
    """The score from which on the best ``keep_fraction`` of a sample is kept; a tie at the edge is kept whole.

    Raises:
        ValueError: an empty sample, or a fraction outside 0 (excluded) to 1.
    """
    if not scores or not 0 < keep_fraction <= 1:
        raise ValueError(f"keep_fraction must be > 0 and <= 1 of scores, got {keep_fraction} of {len(scores)}")
    # A tolerance, so that 0.1 of 30 documents is 3 of them and not 4.
    count = max(1, math.ceil(keep_fraction * len(scores) - 1e-9))
    return sorted(scores, reverse=True)[count - 1]


def quality_bands(
    rate: Callable[[str], float], scores: Sequence[float], *, edges: Sequence[float]
) -> tuple[QualityBand, ...]:
    """The chunks of quality between the quantiles ``edges`` of a sample, the worst first.

    Raises:
        ValueError: ``edges`` do not ascend between 0 and 1, or the sample is empty.
    """
    if not all(low < high for low, high in pairwise([0.0, *edges, 1.0])):
        raise ValueError(f"edges must ascend between 0 and 1, got {list(edges)}")
    bounds = [-math.inf, *(threshold_of(scores, keep_fraction=1 - edge) for edge in edges), math.inf]
    return tuple(
        QualityBand(rate=rate, lowest=low, highest=high, name=f"quality chunk {number}")
        for number, (low, high) in enumerate(pairwise(bounds))
    )
