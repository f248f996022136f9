"""The tokens that a token is made from, down to its bytes.

    "Ġthe" <── "Ġt" + "he"      merging the symbols of a token alone, as the encoder does, ends in one last pair:
    "Ġt"   <── "Ġ" + "t"        its parents. Theirs in turn are found in the same way.

Merges never reach over the border of a token that the encoder ends with, so within any text a token arises by the same
merges as alone. Hence, where a vocabulary holds the parents of all its tokens, a text whose tokens are all in it is
encoded as before: no merge that was done is missing, and none has come in before it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.surgery.vocabulary.foreign import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.surgery.vocabulary.tokenizer import TokenizerFile

NEVER = 1 << 62
"""Rank of a pair that is not merged."""


def last_pair(symbols: str, merge_ranks: Mapping[tuple[str, str], int]) -> tuple[str, str] | None:
    """The pair whose merge completes ``symbols``; None for a single symbol and for what merges do not complete.

    Of the adjacent pairs the one with the smallest rank is merged first, of equal ones the leftmost.
    """
    parts: Sequence[str] = symbols
    while len(parts) > 1:
        ranks = [merge_ranks.get((left, right), NEVER) for left, right in pairwise(parts)]
        place = min(range(len(ranks)), key=ranks.__getitem__)
        if ranks[place] == NEVER:
            return None
        if len(parts) == 2:  # noqa: PLR2004 - the last pair
            return parts[0], parts[1]
        parts = [*parts[:place], parts[place] + parts[place + 1], *parts[place + 2 :]]
    return None


def parents(tokenizer: TokenizerFile, token_id: int) -> tuple[int, ...]:
    """The ids of the two tokens that ``token_id`` is merged from last; none for bytes and for added tokens."""
    token = tokenizer.token_of[token_id]
    pair = None if token in tokenizer.added else last_pair(token, tokenizer.merge_ranks)
    return () if pair is None else (tokenizer.ids[pair[0]], tokenizer.ids[pair[1]])


def with_ancestors(tokenizer: TokenizerFile, token_ids: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """``token_ids`` and all their ancestors, each with its parents."""
    found: dict[int, tuple[int, ...]] = {}
    pending = list(token_ids)
    while pending:
        token_id = pending.pop()
        if token_id not in found:
            found[token_id] = parents(tokenizer, token_id)
            pending.extend(found[token_id])
    return found


def check_closed(tokenizer: TokenizerFile, keep: Sequence[int]) -> None:
    """Every kept token can still be merged from its bytes.

    Raises:
        UsageError: ``keep`` holds a token without its parents, or a number that is no token.
    """
    kept = set(keep)
    for token_id in keep:
        if token_id not in tokenizer.token_of:
            raise UsageError(f"{tokenizer.path}: keep: there is no token {token_id}; leave padding rows out")
        for parent in parents(tokenizer, token_id):
            if parent not in kept:
                raise UsageError(
                    f"{tokenizer.path}: token {token_id} ({shown(tokenizer.token_of[token_id])}) is kept without "
                    f"{parent}, which it is merged from; keep every ancestor (ancestry.with_ancestors finds them)"
                )
