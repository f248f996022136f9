"""Documents that were there before, to the letter: case, spaces and line ends aside."""

from __future__ import annotations

from hashlib import blake2b

from harness.corpora.filters.verdict import Verdict, dropped, kept

BYTES_PER_DOCUMENT = 100
"""About what one remembered document costs."""


class ExactDuplicates:
    """Drops a document that equals one before it.

    The first ``capacity`` different documents are remembered; what comes after is held against these.
    """

    name = "exact duplicates"

    def __init__(self, *, capacity: int = 10_000_000) -> None:
        self.capacity = capacity
        self._seen: set[int] = set()

    def __call__(self, text: str) -> Verdict:
        """Keep the first, drop the others."""
        digest = int.from_bytes(blake2b(" ".join(text.lower().split()).encode(), digest_size=8).digest(), "big")
        if digest in self._seen:
            return dropped("seen before")
        if len(self._seen) < self.capacity:
            self._seen.add(digest)
        return kept(text)
