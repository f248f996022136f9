"""Words and n-grams of words as numbers of 64 bits, the same in every process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
"""Odd, of the golden ratio: spreads what it multiplies over all bits."""


def word_hashes(words: Sequence[str]) -> NDArray[np.uint64]:
    """One number a word; 32 bits of it come from the word, and two different words share them once in 4 billion."""
    raw = np.fromiter((crc32(word.encode()) for word in words), dtype=np.uint64, count=len(words))
    return _mixed(raw + np.uint64(1))


def gram_hashes(hashes: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    """One number for every ``size`` words that follow each other, in order; none where there are fewer words."""
    count = max(0, len(hashes) - size + 1)
    total = np.zeros(count, dtype=np.uint64)
    for place in range(size):
        total = total * MULTIPLIER + hashes[place : place + count]
    return _mixed(total)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(31))) * MULTIPLIER
    return values ^ (values >> np.uint64(29))
