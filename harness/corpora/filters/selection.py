"""A recipe's choice of documents as a part of a data set: what reads like prose, is about code, is rated high.

    SelectionSettings ──> filters of the text, then duplicates ──> Part, for ``pack(named=...)``
         └ top share ──> rater: the user's file, or a stand-in of the door's own answers and documents
                           └ scores of the first documents that pass the filters so far ──> threshold

What the door gives out to train a stand-in and to find a threshold is in its ledger, without tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from harness.corpora.feeds import Part
from harness.corpora.filters.cascade import Cascade, Counts
from harness.corpora.filters.chinese import ChineseProse
from harness.corpora.filters.code_relevance import CodeRelevant
from harness.corpora.filters.heuristics import Prose
from harness.corpora.filters.pipeline import judge
from harness.corpora.filters.quality import Quality, QualityBand, threshold_of
from harness.corpora.filters.quality_fasttext import FastTextRater
from harness.corpora.filters.quality_stand_in import train_stand_in
from harness.corpora.filters.settings import FilterSettings, filters_of, settings_key
from harness.document import Document, digest_of
from harness.errors import DataNotAllowed

if TYPE_CHECKING:
    from harness.corpora.door import DataDoor
    from harness.corpora.filters.quality import Rater, RaterRecord
    from harness.corpora.filters.verdict import Filter


class SelectionSettings(Document):
    """Which documents of a data set."""

    data: str = "c4"
    """Short name in the edition."""
    language: Literal["en", "zh", "any"] = "en"
    """Whose rules of prose hold; ``any``: none."""
    fewest_words: int = Field(default=50, ge=0)
    """Of English prose, as Gopher has it."""
    code: bool = False
    """Whether only documents about programming are kept."""
    keep_fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the documents, the best by quality; absent: not rated."""
    skip_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Share of the documents, the best of all, that another chunk has; what lies between the two is kept."""
    rater: str | None = None
    """Path of a classifier in fastText's format; absent: a stand-in is trained."""
    answers: str = "alpaca"
    """Data set whose answers a stand-in takes for quality."""
    sample: int = Field(default=2_000, gt=0)
    """Answers and documents that a stand-in learns from, and documents that a threshold is found with."""
    shared_gram_words: int | None = Field(default=10, gt=0)
    """Words in a row that a document may not have in common with a scored task; absent: any number."""
    filters: FilterSettings = FilterSettings()
    """The other filters, duplicates among them."""

    @model_validator(mode="after")
    def _is_a_band(self) -> Self:
        if self.skip_fraction and (self.keep_fraction is None or self.keep_fraction <= self.skip_fraction):
            raise ValueError(
                f"keep_fraction must be above skip_fraction ({self.skip_fraction}), got {self.keep_fraction}"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A part of a data set, and what made it."""

    part: Part
    counts: Counts
    """What the passes over it have kept and dropped so far."""
    rater: RaterRecord | None
    threshold: float | None
    ceiling: float | None
    """Documents rated so or better belong to another chunk."""


def selection(door: DataDoor, settings: SelectionSettings, *, seed: int = 0) -> Selection:
    """The documents that ``settings`` choose, for a mixture.

    Raises:
        UsageError: a list of words or the classifier cannot be read.
        DataNotAllowed: from the door, or where no document is left to find a threshold with.
    """
    first = _filters(settings)
    rater = _rater(door, settings, seed) if settings.keep_fraction is not None else None
    threshold, ceiling = _bounds(door, settings, first, rater) if rater is not None else (None, None)
    shared = [door.shared_grams(gram_words=settings.shared_gram_words)] if settings.shared_gram_words else []
    counts = Counts()

    def sieve() -> Cascade:
        rated: list[Filter] = []
        if rater is not None and threshold is not None:
            rated = [Quality(rate=rater, threshold=threshold)]
            if ceiling is not None:
                rated = [QualityBand(rate=rater, lowest=threshold, highest=ceiling)]
        return Cascade([*first, *rated, *shared, *filters_of(settings.filters)], counts)

    record = rater.record if rater is not None else None
    said = settings.model_dump(mode="json", exclude={"filters", "rater"})
    key = digest_of(
        [
            said,
            settings_key(settings.filters),
            record.sha256 if record else None,
            threshold,
            ceiling,
            *(one.key for one in shared),
        ]
    )
    part = Part(data=settings.data, make_sieve=sieve, key=key)
    return Selection(part=part, counts=counts, rater=record, threshold=threshold, ceiling=ceiling)


def _filters(settings: SelectionSettings) -> list[Filter]:
    filters: list[Filter] = []
    if settings.language == "en":
        filters.append(Prose(fewest_words=settings.fewest_words))
    elif settings.language == "zh":
        filters.append(ChineseProse())
    return [*filters, CodeRelevant()] if settings.code else filters


def _rater(door: DataDoor, settings: SelectionSettings, seed: int) -> Rater:
    if settings.rater is not None:
        return FastTextRater.of(Path(settings.rater))
    answers, documents = (
        [sample.text for sample in islice(door.open(name), settings.sample)]
        for name in (settings.answers, settings.data)
    )
    return train_stand_in(answers, documents, seed=seed)


def _bounds(
    door: DataDoor, settings: SelectionSettings, first: list[Filter], rater: Rater
) -> tuple[float, float | None]:
    """The lowest score that is kept, and the one from which on another chunk begins, if one does."""
    assert settings.keep_fraction is not None  # noqa: S101 - there is no rater without it
    texts = (sample.text for sample in islice(door.open(settings.data), settings.sample))
    scores = [rater(left) for text in texts if (left := judge(text, first).text) is not None]
    if not scores:
        raise DataNotAllowed(
            f"data set {settings.data!r}: the filters leave nothing of the first {settings.sample} documents, so that "
            "no threshold of quality can be found; loosen them"
        )
    ceiling = threshold_of(scores, keep_fraction=settings.skip_fraction) if settings.skip_fraction else None
    return threshold_of(scores, keep_fraction=settings.keep_fraction), ceiling
