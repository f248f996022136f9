"""A rater that is trained on the spot, where DCLM's classifier is not to be had: answers against web documents.

    text -> words -> hashes of words and of pairs of words -> mean of their weights + bias -> logistic function

That is fastText with vectors of one dimension: linear in a bag of 1- and 2-grams. Each answer is set against a passage
as long as itself, out of a document drawn at random, so that length does not tell the two apart. Trained one example
after the other by AdaGrad (Duchi et al. 2011), in float64, without threads: the same texts give the same weights.

It is a stand-in: it has seen how answers differ from web pages and nothing else, and its record says so.
"""

from __future__ import annotations

import math
import re
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.corpora.filters.hashing import gram_hashes, word_hashes
from harness.corpora.filters.quality import RaterRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

_TOKEN: Final = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+|[^\w\s]")
MAX_TOKENS: Final = 4_000
"""Of a document, the first ones, that are looked at."""
RATE: Final = 0.5
FIRST_SQUARE: Final = 1e-6
"""Bounds the first update of a weight."""


class StandIn:
    """A linear rater."""

    def __init__(self, weights: NDArray[np.float32], record: RaterRecord) -> None:
        """A rater.

        Args:
            weights: ``[buckets + 1]``, the bias last; ``buckets`` is a power of two.
            record: what it was trained on.
        """
        self.weights, self.record = weights, record

    def __call__(self, text: str) -> float:
        """The probability that ``text`` reads like an answer; one half where it has no word."""
        features = features_of(_TOKEN.findall(text), len(self.weights) - 1)
        return _logistic(_margin(self.weights, features)) if len(features) else 0.5


def train_stand_in(
    high: Iterable[str], low: Iterable[str], *, seed: int = 0, buckets: int = 1 << 18, epochs: int = 5
) -> StandIn:
    """A rater that tells ``high`` from ``low``.

    Args:
        high: texts of high quality: answers to instructions.
        low: texts as they come: random web documents.
        seed: of the passages and of the order.
        buckets: weights that all n-grams share, a power of two.
        epochs: passes over the texts.

    Raises:
        ValueError: there is no text with a word of either kind, or ``buckets`` is no power of two.
    """
    if buckets < 1 or buckets & (buckets - 1):
        raise ValueError(f"buckets must be a power of two, got {buckets}")
    answers, documents = ([words for text in texts if (words := _TOKEN.findall(text))] for texts in (high, low))
    if not answers or not documents:
        raise ValueError(f"a rater learns from texts of both kinds, got {len(answers)} high and {len(documents)} low")
    rng = Random(seed)
    passages = _passages(documents, map(len, answers), rng)
    examples = [(features_of(words, buckets), label) for label, side in ((1, answers), (0, passages)) for words in side]
    weights = _fitted(examples, buckets, rng, epochs).astype(np.float32)
    said = f"{len(answers)} answers as high, as many passages of {len(documents)} web documents as low; not DCLM's"
    return StandIn(weights, RaterRecord(kind="stand-in", sha256=sha256(weights.tobytes()).hexdigest(), trained_on=said))


def features_of(tokens: Sequence[str], buckets: int) -> NDArray[np.int64]:
    """``[words + pairs of words]``: the bucket of each, in order."""
    words = word_hashes([token.lower() for token in tokens[:MAX_TOKENS]])
    grams = np.concatenate([words, gram_hashes(words, 2)])
    return (grams & np.uint64(buckets - 1)).astype(np.int64)


def _passages(documents: Sequence[list[str]], lengths: Iterable[int], rng: Random) -> Iterator[list[str]]:
    """A passage of a random document for each of ``lengths``, in words."""
    for length in lengths:
        words = documents[rng.randrange(len(documents))]
        start = rng.randrange(max(1, len(words) - length + 1))
        yield words[start : start + length]


def _fitted(examples: Sequence[tuple[NDArray[np.int64], int]], buckets: int, rng: Random, epochs: int) -> _Float64:
    weights, squares = np.zeros(buckets + 1), np.full(buckets + 1, FIRST_SQUARE)
    order = list(range(len(examples)))
    for _ in range(epochs):
        rng.shuffle(order)
        for number in order:
            features, label = examples[number]
            places, counts = np.unique(features, return_counts=True)
            slope = _logistic(_margin(weights, features)) - label
            _update(weights, squares, np.append(places, buckets), slope * np.append(counts / len(features), 1.0))
    return weights


def _update(weights: _Float64, squares: _Float64, places: NDArray[np.int64], slopes: _Float64) -> None:
    squares[places] += slopes**2
    weights[places] -= RATE * slopes / np.sqrt(squares[places])


def _margin(weights: NDArray[np.floating], features: NDArray[np.int64]) -> float:
    return float(weights[features].mean(dtype=np.float64) + weights[-1])


def _logistic(margin: float) -> float:
    return 0.5 * (1.0 + math.tanh(0.5 * margin))


if TYPE_CHECKING:
    _Float64 = NDArray[np.float64]
