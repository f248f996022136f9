"""The filters of a recipe, in the order in which they run: the cheap before the dear, duplicates last."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from harness.corpora.filters.exact import ExactDuplicates
from harness.corpora.filters.near import NearDuplicates
from harness.corpora.filters.repetition import Repetition
from harness.corpora.filters.urls import UrlLines
from harness.corpora.filters.words import SensitiveWords, default_words, parse_words
from harness.document import Document, digest_of
from harness.errors import UsageError

if TYPE_CHECKING:
    from pydantic import JsonValue

    from harness.corpora.filters.verdict import Filter


class FilterSettings(Document):
    """Which filters, and how strict."""

    urls: bool = True
    """Whether lines with a URL go, and documents that are mostly such lines."""
    words: bool = True
    """Whether documents with sensitive words go."""
    words_file: str | None = None
    """Path of a list, one word a line; ours if absent."""
    largest_word_count: int = Field(default=0, ge=0)
    """Sensitive words that a document may have."""
    repetition: bool = True
    """Whether documents that repeat themselves go."""
    repetition_factor: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Of the bounds of Gopher: more than 1 lets more pass."""
    exact_duplicates: bool = True
    """Whether a document goes that was there before."""
    near_duplicates: bool = True
    """Whether a document goes that is nearly like one before."""
    capacity: int = Field(default=1_000_000, gt=0)
    """Documents that are remembered to find duplicates: 0.1 kB each for exact ones, about 2 kB for near ones."""


def filters_of(settings: FilterSettings) -> tuple[Filter, ...]:
    """New filters, which have seen no document.

    Raises:
        UsageError: the list of words cannot be read, or is empty.
    """
    chosen: list[Filter] = []
    if settings.urls:
        chosen.append(UrlLines())
    if settings.words:
        chosen.append(SensitiveWords(_words(settings), largest_count=settings.largest_word_count))
    if settings.repetition:
        chosen.append(Repetition(factor=settings.repetition_factor))
    if settings.exact_duplicates:
        chosen.append(ExactDuplicates(capacity=settings.capacity))
    if settings.near_duplicates:
        chosen.append(NearDuplicates(capacity=settings.capacity))
    return tuple(chosen)


def settings_key(settings: FilterSettings) -> str:
    """A digest of everything that decides the verdicts, the words themselves included."""
    words: list[JsonValue] = [*_words(settings)] if settings.words else []
    return digest_of([settings.model_dump(mode="json", exclude={"words_file"}), words])


def _words(settings: FilterSettings) -> tuple[str, ...]:
    if settings.words_file is None:
        return default_words()
    try:
        words = parse_words(Path(settings.words_file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"filters.words_file: {settings.words_file}: cannot be read: {error}") from error
    if not words:
        raise UsageError(f"filters.words_file: {settings.words_file}: has no word; or set filters.words to false")
    return words
