"""Documents that are nearly like one before: MinHash and locality-sensitive hashing (Broder 1997; Indyk and Motwani).

    words -> n-grams -> for each of bands * rows hash functions the smallest value -> bands keys of rows values each

Two documents share the smallest value of a hash function as often as their sets of n-grams overlap (Jaccard's s). They
count as near duplicates when one of their band keys is the same, with probability 1 - (1 - s^rows)^bands: with 14 bands
of 8 rows that is 0.92 at s = 0.8, 0.77 at 0.75 and 0.05 at 0.5. A document shorter than an n-gram is its own n-gram.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.corpora.filters.hashing import gram_hashes, word_hashes
from harness.corpora.filters.repetition import WORD
from harness.corpora.filters.verdict import Verdict, dropped, kept

if TYPE_CHECKING:
    from numpy.typing import NDArray


class NearDuplicates:
    """Drops a document that is nearly like one before it.

    The first ``capacity`` documents that were kept are remembered, ``bands`` numbers of each; what comes after is held
    against these.
    """

    name = "near duplicates"

    def __init__(
        self, *, bands: int = 14, rows: int = 8, gram_words: int = 5, capacity: int = 1_000_000, seed: int = 0
    ) -> None:
        self.bands, self.rows, self.gram_words, self.capacity = bands, rows, gram_words, capacity
        rng = np.random.default_rng(seed)
        self._factors = rng.integers(1, 1 << 63, (bands * rows, 1), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        self._offsets = rng.integers(0, 1 << 63, (bands * rows, 1), dtype=np.uint64)
        self._seen: list[set[int]] = [set() for _ in range(bands)]
        self._remembered = 0

    def __call__(self, text: str) -> Verdict:
        """Keep the first, drop what is like it."""
        keys = self.keys(text)
        if any(key in seen for key, seen in zip(keys, self._seen, strict=True)):
            return dropped("like one before")
        if self._remembered < self.capacity:
            self._remembered += 1
            for key, seen in zip(keys, self._seen, strict=True):
                seen.add(key)
        return kept(text)

    def keys(self, text: str) -> list[int]:
        """One number a band."""
        signature = self.signature(text).reshape(self.bands, self.rows)
        return [int(gram_hashes(row, self.rows)[0]) for row in signature]

    def signature(self, text: str) -> NDArray[np.uint64]:
        """``[bands * rows]``: the smallest value of each hash function over the document's n-grams."""
        hashes = word_hashes(WORD.findall(text.lower()))
        grams = np.unique(gram_hashes(hashes, max(1, min(self.gram_words, len(hashes)))))
        if not len(grams):
            grams = np.zeros(1, dtype=np.uint64)
        smallest = np.full(len(self._factors), np.iinfo(np.uint64).max, dtype=np.uint64)
        for chunk in np.array_split(grams, -(-len(grams) // CHUNK_GRAMS)):
            smallest = np.minimum(
                smallest, ((chunk[None] * self._factors + self._offsets) >> np.uint64(16)).min(axis=1)
            )
        return smallest


CHUNK_GRAMS = 4096
"""N-grams that are hashed at once: bounds the memory that a long document takes."""
