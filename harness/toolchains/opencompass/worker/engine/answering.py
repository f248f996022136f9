"""The loop: batch after batch, step after step, until every prompt has its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .answer import Answer
from .batches import divide
from .journal import batch_key, prompt_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from .answer import EndedBy
    from .batches import Batch, Limits, TokenIds
    from .decoder import Decoder
    from .journal import Journal
    from .stopping import Reader, Stops

COMPACT_SHARE = 0.75
"""Rows still going, of those computed, at which the others are dropped: moving a cache costs about a step."""


class NotFinite(Exception):
    """The model gave a NaN or an infinity for a prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an answer may look like."""

    max_new_tokens: int
    stops: Stops
    reader: Reader
    repetition_penalty: float = 1.0
    """Keskar et al. 2019: logits of tokens that stand in the text already are divided by it, negative ones times."""


class Answering:
    """Answers of one model."""

    def __init__(self, decoder: Decoder, limits: Limits, journal: Journal) -> None:
        self.decoder, self._limits, self._journal = decoder, limits, journal
        self.recalled = 0
        """Rows that came from the journal."""

    def answer(
        self, prompts: Sequence[TokenIds], wanted: Wanted, on_rows: Callable[[int], None] = lambda _rows: None
    ) -> list[Answer]:
        """The answer of every prompt, in their order; the same prompt is computed once.

        ``on_rows`` is told after every batch how many prompts it answered.

        Raises:
            NotFinite: a step gave a NaN or an infinity.
        """
        unique = list(dict.fromkeys(prompts))
        times = dict.fromkeys(unique, 0)
        for prompt in prompts:
            times[prompt] += 1
        found: dict[TokenIds, Answer] = {}
        shared: tuple[TokenIds, Any] = ((), self.decoder.share(()))
        for batch in divide(unique, wanted.max_new_tokens, self._limits):
            rows = [unique[row] for row in batch.rows]
            answers, shared = self._batch(batch, rows, wanted, shared)
            found.update(zip(rows, answers, strict=True))
            on_rows(sum(times[row] for row in rows))
        return [found[prompt] for prompt in prompts]

    def _batch(
        self, batch: Batch, rows: Sequence[TokenIds], wanted: Wanted, shared: tuple[TokenIds, Any]
    ) -> tuple[list[Answer], tuple[TokenIds, Any]]:
        """The answers of one batch, from the journal if it has them all; and the beginning for the next batch."""
        keys = [prompt_key(row, wanted.max_new_tokens, wanted.stops, wanted.repetition_penalty) for row in rows]
        name = batch_key(keys, batch.prefix_tokens)
        recalled = self._journal.recall(name, len(rows))
        if recalled is not None:
            self.recalled += len(rows)
            return recalled, shared
        prefix = rows[0][: batch.prefix_tokens]
        if prefix != shared[0]:
            shared = (prefix, self.decoder.share(prefix))
        answers = _Rows(self.decoder, rows, wanted).run(shared[1], len(prefix))
        self._journal.record(name, keys, answers)
        return answers, shared


class _Rows:
    """One batch on its way."""

    def __init__(self, decoder: Decoder, rows: Sequence[TokenIds], wanted: Wanted) -> None:
        self._decoder, self._rows, self._wanted = decoder, rows, wanted
        self._token_ids: list[list[int]] = [[] for _ in rows]
        self._ended: list[EndedBy | None] = [None] * len(rows)
        self._places = list(range(len(rows)))
        """Which row stands at each place of the computation; those that are through are dropped now and then."""

    def run(self, shared: Any, prefix_tokens: int) -> list[Answer]:  # noqa: ANN401 - the decoder's own
        limit = self._wanted.max_new_tokens
        state, logits = self._decoder.begin(shared, [row[prefix_tokens:] for row in self._rows], limit)
        penalty = _Penalty(self._rows, logits, self._wanted.repetition_penalty)
        for step in range(1, limit + 1):
            scores = penalty.applied(logits.float())
            token_ids = scores.argmax(dim=-1)
            _check_finite(logits)
            self._take(token_ids.tolist(), step)
            going = [place for place, row in enumerate(self._places) if self._ended[row] is None]
            if not going or step == limit:
                break
            penalty.saw(token_ids)
            if len(going) <= COMPACT_SHARE * len(self._places):
                kept = torch.tensor(going, device=token_ids.device)
                self._decoder.keep(state, kept)
                penalty.keep(kept)
                self._places, token_ids = [self._places[place] for place in going], token_ids[kept]
            logits = self._decoder.step(state, token_ids)
        return [
            Answer(token_ids=tuple(ids), ended_by=ended or "limit")
            for ids, ended in zip(self._token_ids, self._ended, strict=True)
        ]

    def _take(self, token_ids: Sequence[int], step: int) -> None:
        """One token for every row that is not through, and whether it is now."""
        eos, reader = self._wanted.stops.eos_token_ids, self._wanted.reader
        look = reader.due(step)
        for row, token_id in zip(self._places, token_ids, strict=True):
            if self._ended[row] is not None:
                continue
            self._token_ids[row].append(token_id)
            if token_id in eos:
                self._ended[row] = "eos"
            elif look:
                self._ended[row] = reader.ended_by(self._token_ids[row])


class _Penalty:
    """The repetition penalty of a batch; does nothing at 1."""

    def __init__(self, rows: Sequence[TokenIds], logits: Tensor, penalty: float) -> None:
        self._penalty = penalty
        self._seen: Tensor | None = None
        if penalty != 1:
            self._seen = torch.zeros_like(logits, dtype=torch.bool)
            for place, row in enumerate(rows):
                self._seen[place, torch.tensor(row, device=logits.device)] = True

    def applied(self, scores: Tensor) -> Tensor:
        if self._seen is None:
            return scores
        penalised = torch.where(scores < 0, scores * self._penalty, scores / self._penalty)
        return torch.where(self._seen, penalised, scores)

    def saw(self, token_ids: Tensor) -> None:
        if self._seen is not None:
            self._seen.scatter_(1, token_ids[:, None], True)  # noqa: FBT003 - torch's signature

    def keep(self, places: Tensor) -> None:
        if self._seen is not None:
            self._seen = self._seen[places]


def _check_finite(logits: Tensor) -> None:
    """Both ends at once: a NaN is at either, an infinity at one."""
    if not bool(torch.isfinite(torch.stack(torch.aminmax(logits))).all()):
        raise NotFinite
