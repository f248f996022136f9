"""Which data set the next sample comes from.

Each data set owes its share of the tokens. The next sample is drawn at random in proportion to what is still owed, so
the data sets take turns evenly from the first window to the last and the shares come out exact to within a sample.
"""

from __future__ import annotations

import math
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from harness.corpora.encoding import EncodedSample, encode
from harness.corpora.ledger import Ledger
from harness.errors import DataNotAllowed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from transformers import PreTrainedTokenizerBase

    from harness.corpora.door import DataDoor
    from harness.corpora.reading import Reading
    from harness.corpora.rows import Sample

Mixture = tuple[tuple[str, float], ...]
"""Short names and weights, by name."""
BATCH_SAMPLES = 64
"""Samples of one data set that are encoded together."""


def check_mixture(mixture: Mapping[str, float]) -> Mixture:
    """``mixture`` by name; raises ``ValueError`` where it is empty or a weight is not a positive number."""
    if not mixture or not all(weight > 0 and math.isfinite(weight) for weight in mixture.values()):
        raise ValueError(f"a mixture needs data sets with positive weights, got {dict(mixture)!r}")
    return tuple(sorted((name, float(weight)) for name, weight in mixture.items()))


class Draws:
    """Encoded samples of a mixture, ``token_count`` tokens in all; the last sample is cut to fit."""

    def __init__(
        self, door: DataDoor, mixture: Mixture, tokenizer: PreTrainedTokenizerBase, *, token_count: int, seed: int
    ) -> None:
        total = sum(weight for _, weight in mixture)
        self._feeds = [_Feed(door, name, tokenizer, token_count * weight / total) for name, weight in mixture]
        self._rng = Random(seed)
        self._left = token_count

    def __iter__(self) -> Iterator[EncodedSample]:
        while self._left:
            feed = self._rng.choices(self._feeds, weights=[max(feed.owed, 0.0) for feed in self._feeds])[0]
            encoded = feed.next(limit=self._left)
            self._left -= len(encoded.token_ids)
            yield encoded

    def ledger(self) -> Ledger:
        """What was taken, one entry for each pass over a data set."""
        entries = (reading.entry() for feed in self._feeds for reading in feed.readings)
        return Ledger(entries=tuple(entry for entry in entries if entry is not None))


class _Feed:
    """One data set of a mixture, begun again whenever it ends."""

    def __init__(self, door: DataDoor, name: str, tokenizer: PreTrainedTokenizerBase, owed: float) -> None:
        self.owed = owed
        self.readings: list[Reading] = []
        self._door = door
        self._name = name
        self._tokenizer = tokenizer
        self._stream = self._passes()

    def next(self, *, limit: int) -> EncodedSample:
        """The next sample, cut to ``limit`` tokens and entered in the ledger."""
        reading, sample, whole = next(self._stream)
        cut = EncodedSample(token_ids=whole.token_ids[:limit], prompt_token_count=min(limit, whole.prompt_token_count))
        reading.account(sample, token_count=len(cut.token_ids))
        self.owed -= len(cut.token_ids)
        return cut

    def _passes(self) -> Iterator[tuple[Reading, Sample, EncodedSample]]:
        while True:
            reading = self._door.reading(self._name)
            self.readings.append(reading)
            yield from self._encoded(reading)
            if not reading.token_count:
                raise DataNotAllowed(f"data set {self._name!r} has no sample with text in its train split")

    def _encoded(self, reading: Reading) -> Iterator[tuple[Reading, Sample, EncodedSample]]:
        samples = iter(reading)
        while batch := list(islice(samples, BATCH_SAMPLES)):
            for sample, encoded in zip(batch, encode(self._tokenizer, batch), strict=True):
                yield reading, sample, encoded
