"""Which data set the next sample comes from.

Each data set owes its share of the tokens. The next sample is drawn at random in proportion to what is still owed, so
the data sets take turns evenly from the first window to the last and the shares come out exact to within a sample.

    stage 1: c4 0.9, alpaca 0.1 ──> stage 2: c4 0.5, alpaca 0.5       what is owed goes on from stage to stage
    cap: alpaca 4 passes ──> after the fourth it owes nothing; the others owe its rest, by their weights

What is drawn is a function of the arguments alone. Nothing is kept between two calls: whoever goes on after a kill
begins anew and comes to the same samples, caps and stages included.
"""

from __future__ import annotations

import math
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from harness.corpora.encoding import EncodedSample, encode
from harness.corpora.feeds import Derived, open_pass
from harness.corpora.ledger import Ledger
from harness.errors import DataNotAllowed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from transformers import PreTrainedTokenizerBase

    from harness.corpora.door import DataDoor
    from harness.corpora.feeds import Named, Pass
    from harness.corpora.rows import Sample

Mixture = tuple[tuple[str, float], ...]
"""Short names and weights, by name."""
Stage = tuple[int, Mixture]
"""Tokens, and what they are mixed from."""
BATCH_SAMPLES = 64
"""Samples of one data set that are encoded together."""


def check_mixture(mixture: Mapping[str, float]) -> Mixture:
    """``mixture`` by name; raises ``ValueError`` where it is empty or a weight is not a positive number."""
    if not mixture or not all(weight > 0 and math.isfinite(weight) for weight in mixture.values()):
        raise ValueError(f"a mixture needs data sets with positive weights, got {dict(mixture)!r}")
    return tuple(sorted((name, float(weight)) for name, weight in mixture.items()))


def check_caps(caps: Mapping[str, int], names: set[str]) -> tuple[tuple[str, int], ...]:
    """``caps`` by name; raises ``ValueError`` for a name that is not mixed, or a cap below one pass."""
    unknown = sorted(set(caps) - names)
    if unknown:
        raise ValueError(f"a repetition cap is for what is mixed: {', '.join(sorted(names))}; got {', '.join(unknown)}")
    if not all(cap >= 1 for cap in caps.values()):
        raise ValueError(f"a repetition cap is at least 1 pass, got {dict(caps)!r}")
    return tuple(sorted(caps.items()))


class Draws:
    """Encoded samples of a mixture, ``token_count`` tokens in all; the last sample is cut to fit."""

    def __init__(  # noqa: PLR0913 - all but the first three by name
        self,
        door: DataDoor,
        stages: Sequence[Stage],
        tokenizer: PreTrainedTokenizerBase,
        *,
        seed: int,
        caps: Mapping[str, int] | None = None,
        named: Mapping[str, Named] | None = None,
    ) -> None:
        """Draws of ``stages``, one after the other.

        Args:
            door: where the samples come from.
            stages: tokens and mixture of each.
            tokenizer: the student's.
            seed: of the order in which the data sets take turns.
            caps: short name to the most passes over it; no name, no cap.
            named: what the names stand for that are not the edition's.

        Raises:
            ValueError: derived samples are mixed to a share that is not below their bound.
        """
        self._stages = tuple(stages)
        self._rng = Random(seed)
        self._left = sum(count for count, _ in stages)
        self._named = dict(named or {})
        self._check_shares()
        names = sorted({name for _, mixture in stages for name, _ in mixture})
        self._feeds = {name: self._feed(door, name, tokenizer, (caps or {}).get(name)) for name in names}

    def __iter__(self) -> Iterator[EncodedSample]:
        ends = 0
        total = self._left
        for count, mixture in self._stages:
            ends += count
            self._owe(count, mixture)
            while total - self._left < ends:
                encoded = self._draw(mixture)
                if encoded is not None:
                    self._left -= len(encoded.token_ids)
                    yield encoded

    def ledger(self) -> Ledger:
        """What was taken, one entry for each pass over a data set."""
        entries = (reading.entry() for feed in self._feeds.values() for reading in feed.passes)
        return Ledger(entries=tuple(entry for entry in entries if entry is not None))

    def derived_ledger(self) -> Ledger:
        """The entries of derived samples alone, which the door has not given out and does not know."""
        return Ledger(entries=tuple(entry for entry in self.ledger().entries if entry.parents))

    def _feed(self, door: DataDoor, name: str, tokenizer: PreTrainedTokenizerBase, cap: int | None) -> _Feed:
        named = self._named.get(name)
        most = math.inf
        if isinstance(named, Derived):
            most = math.ceil(named.max_token_share * self._left) - 1
        return _Feed(door, name, tokenizer, named=named, cap=cap, most_tokens=most)

    def _draw(self, mixture: Mixture) -> EncodedSample | None:
        """The next sample; None where a feed has turned out to be spent."""
        feeds = list(self._feeds.values())
        weights = [max(feed.owed, 0.0) for feed in feeds]
        if not any(weights):
            raise DataNotAllowed(
                f"{self._left} tokens are missing: {', '.join(self._feeds)} may not be read more often; "
                "raise a repetition cap, add a data set, or train on fewer tokens"
            )
        feed = self._rng.choices(feeds, weights=weights)[0]
        encoded = feed.next(limit=self._left)
        if encoded is None:
            owed, feed.owed = feed.owed, 0.0
            self._owe(owed, tuple(pair for pair in mixture if not isinstance(self._named.get(pair[0]), Derived)))
        return encoded

    def _owe(self, count: float, mixture: Mixture) -> None:
        """Let ``count`` more tokens be owed, by the weights of those that are not spent."""
        live = [(self._feeds[name], weight) for name, weight in mixture if not self._feeds[name].spent]
        total = sum(weight for _, weight in live)
        for feed, weight in live:
            feed.owed += count * weight / total

    def _check_shares(self) -> None:
        planned: dict[str, float] = {}
        for count, mixture in self._stages:
            total = sum(weight for _, weight in mixture)
            for name, weight in mixture:
                planned[name] = planned.get(name, 0.0) + count * weight / total / self._left
        for name, named in self._named.items():
            if isinstance(named, Derived) and planned.get(name, 0.0) >= named.max_token_share:
                raise ValueError(
                    f"derived samples {name!r} must stay below {named.max_token_share:.2%} of the tokens, "
                    f"got {planned[name]:.2%}; lower their weight"
                )


class _Feed:
    """One data set of a mixture, begun again whenever it ends, as often as it may be."""

    def __init__(  # noqa: PLR0913 - all but the first three by name
        self,
        door: DataDoor,
        name: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        named: Named | None,
        cap: int | None,
        most_tokens: float,
    ) -> None:
        self.owed = 0.0
        self.spent = False
        self.passes: list[Pass] = []
        self._door, self._name, self._tokenizer, self._named = door, name, tokenizer, named
        self._cap = math.inf if cap is None else cap
        self._most_tokens = most_tokens
        self._stream = self._samples()

    def next(self, *, limit: int) -> EncodedSample | None:
        """The next sample, cut to ``limit`` tokens and entered in the ledger; None where there is none any more."""
        drawn = next(self._stream, None) if self._most_tokens > 0 else None
        if drawn is None:
            self.spent = True
            return None
        reading, sample, whole = drawn
        limit = int(min(limit, self._most_tokens))
        cut = EncodedSample(token_ids=whole.token_ids[:limit], prompt_token_count=min(limit, whole.prompt_token_count))
        reading.account(sample, token_count=len(cut.token_ids))
        self.owed -= len(cut.token_ids)
        self._most_tokens -= len(cut.token_ids)
        return cut

    def _samples(self) -> Iterator[tuple[Pass, Sample, EncodedSample]]:
        while len(self.passes) < self._cap:
            reading = open_pass(self._door, self._name, self._named)
            self.passes.append(reading)
            empty = True
            for drawn in self._encoded(reading):
                empty = False
                yield drawn
            if empty:
                raise DataNotAllowed(f"data set {self._name!r} has no sample with text in its train split")

    def _encoded(self, reading: Pass) -> Iterator[tuple[Pass, Sample, EncodedSample]]:
        samples = iter(reading)
        while batch := list(islice(samples, BATCH_SAMPLES)):
            for sample, encoded in zip(batch, encode(self._tokenizer, batch), strict=True):
                yield reading, sample, encoded
