"""Documents that say the same again and again: the repetition rules of Gopher (arXiv 2112.11446, table A1).

    share of ...                                              more than
    lines, paragraphs that were there before                  0.30, 0.30
    characters in such lines, paragraphs                      0.20, 0.20
    characters in the most frequent n-gram, n = 2, 3, 4       0.20, 0.18, 0.16
    characters in n-grams that occur twice, n = 5 ... 10      0.15, 0.14, 0.13, 0.12, 0.11, 0.10

Words are runs of characters between spaces, and of Chinese each character by itself. Characters are counted without
the spaces; one that several n-grams cover counts once.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.corpora.filters.hashing import gram_hashes, word_hashes
from harness.corpora.filters.verdict import Verdict, dropped, kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

LARGEST_UNIT_SHARE: Final = 0.30
LARGEST_UNIT_CHARACTERS: Final = 0.20
LARGEST_TOP: Final = {2: 0.20, 3: 0.18, 4: 0.16}
LARGEST_DUPLICATE: Final = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
WORD: Final = re.compile(r"[\u3400-\u9fff]|[^\s\u3400-\u9fff]+")
_PARAGRAPHS: Final = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """Drops a document that breaks one of the rules; the reason names the first that it breaks."""

    factor: float = 1.0
    """Of all bounds: more than 1 lets more pass."""

    name = "repetition"

    def __call__(self, text: str) -> Verdict:
        """Keep or drop."""
        for reason, share, bound in measures(text):
            if share > self.factor * bound:
                return dropped(reason, f"{share:.2f}, at most {self.factor * bound:.2f}")
        return kept(text)


def measures(text: str) -> Iterator[tuple[str, float, float]]:
    """Each rule's name, the document's share and the bound, the cheap ones first."""
    for unit, parts in (("lines", text.split("\n")), ("paragraphs", _PARAGRAPHS.split(text))):
        count_share, character_share = repeated_shares([part for raw in parts if (part := raw.strip())])
        yield f"repeated {unit}", count_share, LARGEST_UNIT_SHARE
        yield f"characters in repeated {unit}", character_share, LARGEST_UNIT_CHARACTERS
    words = WORD.findall(text)
    lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
    hashes = word_hashes(words)
    for size, bound in LARGEST_TOP.items():
        yield f"most frequent {size}-gram", top_share(gram_hashes(hashes, size), lengths, size), bound
    for size, bound in LARGEST_DUPLICATE.items():
        yield f"repeated {size}-grams", duplicate_share(gram_hashes(hashes, size), lengths, size), bound


def repeated_shares(parts: Sequence[str]) -> tuple[float, float]:
    """Of the parts, and of their characters, those in parts that were there before; 0 where there are none."""
    counts = Counter(parts)
    again = {part: count - 1 for part, count in counts.items() if count > 1}
    characters = sum(map(len, parts))
    if not again or not characters:
        return 0.0, 0.0
    repeated = sum(len(part) * count for part, count in again.items())
    return sum(again.values()) / len(parts), repeated / characters


def top_share(grams: NDArray[np.uint64], lengths: NDArray[np.int64], size: int) -> float:
    """Characters that the most frequent n-gram covers, as a share; 0 where none occurs twice."""
    if not len(grams):
        return 0.0
    _, first, counts = np.unique(grams, return_index=True, return_counts=True)
    most = int(counts.max())
    if most < 2:  # noqa: PLR2004 - once is no repetition
        return 0.0
    # Of those that are equally frequent the longest counts, whatever its hash.
    longest = max(first[counts == most], key=lambda start: int(lengths[start : start + size].sum()))
    return _covered(np.flatnonzero(grams == grams[longest]), lengths, size)


def duplicate_share(grams: NDArray[np.uint64], lengths: NDArray[np.int64], size: int) -> float:
    """Characters in n-grams that occur more than once, as a share."""
    if not len(grams):
        return 0.0
    _, inverse, counts = np.unique(grams, return_inverse=True, return_counts=True)
    return _covered(np.flatnonzero(counts[inverse] > 1), lengths, size)


def _covered(starts: NDArray[np.int64], lengths: NDArray[np.int64], size: int) -> float:
    """Share of the characters of words that lie in an n-gram that begins at one of ``starts``."""
    edges = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.add.at(edges, starts, 1)
    np.add.at(edges, starts + size, -1)
    inside = np.cumsum(edges)[:-1] > 0
    return float(lengths[inside].sum() / lengths.sum())
