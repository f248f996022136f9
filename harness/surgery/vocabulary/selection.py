"""Which tokens stay.

    counts ──most frequent, with mandatory tokens and all ancestors──> a few too many
           ──drop the rarest that nothing is made from, one by one──> exactly as many as asked

``select_by_rank`` does the same with the id for a count: ids follow the order in which a tokenizer learned its tokens,
so a low id was frequent in its own training text. It is what NICS did (tokenizer_shrink.py).
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.surgery.vocabulary.ancestry import with_ancestors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from harness.surgery.vocabulary.tokenizer import TokenizerFile


def cut_id(length: int, drop_fraction: float) -> int:
    """The first id that NICS drops: ``length`` tokens, added ones included, less ``drop_fraction`` of them.

    Raises:
        ValueError: ``drop_fraction`` is not in 0..1.
    """
    if not 0 <= drop_fraction < 1:
        raise ValueError(f"drop_fraction must be at least 0 and less than 1, got {drop_fraction}")
    return int(length * (1 - drop_fraction))


def kept_row_count(length: int, added_count: int, drop_fraction: float) -> int:
    """Rows that NICS keeps of a tokenizer whose added tokens have its highest ids: those stay all the same.

    Args:
        length: tokens, added ones included.
        added_count: added tokens.
        drop_fraction: share of ``length`` that is cut.
    """
    return min(cut_id(length, drop_fraction) + added_count, length)


def select_by_rank(
    tokenizer: TokenizerFile, drop_fraction: float, mandatory: Collection[int] = frozenset()
) -> tuple[int, ...]:
    """The lowest ids, and every added token: ``kept_row_count`` of them where added tokens have the highest ids.

    Args:
        tokenizer: what is cut.
        drop_fraction: share of its tokens.
        mandatory: ids that stay as well, in place of the highest ones; NICS had none.

    Returns:
        Old ids, ascending.

    Raises:
        UsageError: the mandatory tokens alone are more.
    """
    cut = cut_id(tokenizer.length, drop_fraction)
    added_behind = sum(token_id >= cut for token_id in tokenizer.added.values())
    base_count = sum(token_id < cut for token_id in tokenizer.token_of)
    return _select(tokenizer, {}, base_count + added_behind, mandatory)


def select_by_frequency(
    tokenizer: TokenizerFile, counts: NDArray[np.int64], row_count: int, mandatory: Collection[int]
) -> tuple[int, ...]:
    """The ``row_count`` tokens that occur most, of those that can be made from each other; ties go to the lower id.

    Args:
        tokenizer: what is cut.
        counts: ``[rows]``, int64, at least a row for every id (``frequencies.count_tokens``).
        row_count: tokens to keep.
        mandatory: ids that stay whatever their counts (``mandatory.mandatory_tokens``); bytes and added tokens do.

    Returns:
        Old ids, ascending.

    Raises:
        ValueError: ``counts`` is too short.
        UsageError: ``row_count`` is more than there are tokens, or less than the mandatory ones.
    """
    if len(counts) < tokenizer.row_count:
        raise ValueError(f"counts must have at least {tokenizer.row_count} rows, got {len(counts)}")
    return _select(tokenizer, dict(enumerate(counts.tolist())), row_count, mandatory)


def _select(
    tokenizer: TokenizerFile, counts: Mapping[int, int], row_count: int, mandatory: Collection[int]
) -> tuple[int, ...]:
    protected = with_ancestors(tokenizer, {*mandatory, *tokenizer.byte_ids(), *tokenizer.added.values()})
    if not len(protected) <= row_count <= tokenizer.length:
        raise UsageError(
            f"{tokenizer.path}: {len(protected)} to {tokenizer.length} tokens can be kept, asked for {row_count}: "
            f"{len(protected)} are bytes, added tokens or mandatory, with what they are made from"
        )
    ranked = sorted(tokenizer.token_of, key=lambda token_id: (-counts.get(token_id, 0), token_id))
    candidates = with_ancestors(tokenizer, {*ranked[:row_count], *protected})
    return tuple(sorted(_trim(candidates, counts, row_count, protected)))


def _trim(
    candidates: Mapping[int, tuple[int, ...]], counts: Mapping[int, int], row_count: int, protected: Collection[int]
) -> Iterable[int]:
    """``candidates`` less the rarest ones that none of the rest is made from; of equally rare ones the highest id."""
    kept = set(candidates)
    children = Counter(parent for pair in candidates.values() for parent in pair)
    heap = [(counts.get(token_id, 0), -token_id) for token_id in kept if not children[token_id]]
    heap = [entry for entry in heap if -entry[1] not in protected]
    heapq.heapify(heap)
    while len(kept) > row_count:
        token_id = -heapq.heappop(heap)[1]
        kept.remove(token_id)
        for parent in candidates[token_id]:
            children[parent] -= 1
            if not children[parent] and parent not in protected:
                heapq.heappush(heap, (counts.get(parent, 0), -parent))
    return kept
