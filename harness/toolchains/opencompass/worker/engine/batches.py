"""Which prompts are computed together: those that begin alike share that beginning, the rest go by length.

    few-shot prompts   [====== shared ======][own]     computed once, then only the ends
                                             [own.]
    others             sorted by length, so that little is padded

The division depends on the prompts and the limits alone: a rerun divides alike, which is what makes a finished batch
worth keeping. A prompt whose left end was cut begins in the middle of the examples, at a place of its own, and shares
nothing: the same text behind another beginning has other keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ALIKE_TOKENS = 32
"""Prompts that agree in so many first tokens are taken for one family."""
FAMILY_ROWS = 8
"""A smaller family is computed among the others: a batch of its own would cost more steps than its prefix saves."""

TokenIds = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large a batch may be."""

    rows: int
    tokens: int
    """Of all its rows, the longest new part and the longest answer assumed for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that are decoded side by side."""

    prefix_tokens: int
    """How many first tokens all rows have in common and compute once."""
    rows: tuple[int, ...]
    """Which prompts, the longest first."""


def divide(prompts: Sequence[TokenIds], max_new_tokens: int, limits: Limits) -> list[Batch]:
    """All of ``prompts``, none of them empty, in batches."""
    batches: list[Batch] = []
    for prefix_tokens, rows in _families(prompts):
        ordered = sorted(rows, key=lambda row: (-len(prompts[row]), row))
        batches += [
            Batch(prefix_tokens=prefix_tokens, rows=part)
            for part in _parts(ordered, prompts, prefix_tokens, max_new_tokens, limits)
        ]
    return batches


def _families(prompts: Sequence[TokenIds]) -> list[tuple[int, list[int]]]:
    """The length of the shared prefix and the rows of every family; one without a prefix takes all small ones."""
    alike: dict[TokenIds, list[int]] = {}
    for row, prompt in enumerate(prompts):
        alike.setdefault(prompt[:ALIKE_TOKENS], []).append(row)
    families, others = [], []
    for rows in alike.values():
        shared = _shared(prompts, rows)
        if shared >= ALIKE_TOKENS and (len(rows) >= FAMILY_ROWS or len(alike) == 1 < len(rows)):
            families.append((shared, rows))
        else:
            others += rows
    return [*families, (0, others)] if others else families


def _shared(prompts: Sequence[TokenIds], rows: Sequence[int]) -> int:
    """Common first tokens of ``rows``; at least the last token of each stays its own, to get logits from."""
    # What the first and the last in order have in common, all between them have.
    first, last = (pick(prompts[row] for row in rows) for pick in (min, max))
    parting = (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    shortest = min(len(prompts[row]) for row in rows)
    return min(next(parting, shortest), shortest - 1)


def _parts(
    ordered: Sequence[int], prompts: Sequence[TokenIds], prefix_tokens: int, max_new_tokens: int, limits: Limits
) -> Iterator[tuple[int, ...]]:
    """Cut ``ordered``, longest first, into parts within ``limits``; a part has at least one row."""
    rest = list(ordered)
    while rest:
        width = len(prompts[rest[0]]) - prefix_tokens + max_new_tokens
        fitting = max(1, min(limits.rows, limits.tokens // width))
        # Parts of equal size, rather than full ones and a small remainder.
        parts = -(-len(rest) // fitting)
        size = -(-len(rest) // parts)
        yield tuple(rest[:size])
        rest = rest[size:]
