"""Documents that hold the text of a scored task.

ScoredText    the grams that runs are counted by (``contamination``): 13 words, or short questions whole
SharedGrams   any grams of n words that stand in texts given; 10 for what a model generated
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.corpora.filters.hashing import gram_hashes, word_hashes
from harness.corpora.filters.verdict import Verdict, dropped, kept
from harness.document import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.corpora.contamination import Lookup

_WORD: Final = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")


class ScoredText:
    """Drops a document that shares a gram with an item of a scored task."""

    name = "scored tasks"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def __call__(self, text: str) -> Verdict:
        """Keep or drop."""
        found = self._lookup.found(text)
        if not found:
            return kept(text)
        task, item = self._lookup.sketch.items[found[0][0]]
        return dropped(task, item)


class SharedGrams:
    """Drops a document with as many words in a row as a gram has that stand in one of the texts; signs do not count."""

    name = "shared grams"

    def __init__(self, texts: Iterable[str], *, gram_words: int = 10) -> None:
        self.gram_words = gram_words
        grams = [self._grams(text) for text in texts]
        self._known = np.unique(np.concatenate([*grams, np.empty(0, dtype=np.uint64)]))
        self.key = digest_of([gram_words, hashlib.sha256(self._known.tobytes()).hexdigest()])
        """Digest of what decides the verdicts."""

    def __call__(self, text: str) -> Verdict:
        """Keep or drop."""
        grams = self._grams(text)
        shared = np.flatnonzero(np.isin(grams, self._known))
        if not len(shared):
            return kept(text)
        start = int(shared[0])
        return dropped("shares a gram", " ".join(_WORD.findall(text.lower())[start : start + self.gram_words]))

    def _grams(self, text: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
        return gram_hashes(word_hashes(_WORD.findall(text.lower())), self.gram_words)
