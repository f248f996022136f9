"""Training windows: whole items packed into rows of equal length, the rest of a row filled.

    <|bos|> doc <|end|><|bos|><|user|> question <|end|><|assistant|> answer <|end|><|pad|> ...   length + 1 tokens

An item is never cut: an answer whose question stands in another window teaches to guess. A token of the user's turn is
marked, so that its loss can weigh less: the random parts of a question cannot be learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from harness.pico.corpus import Item, items
from harness.pico.vocabulary import PAD, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from harness.pico.vocabulary import Encoded

_CHAT_SHARE = 0.65
_CHUNK_ITEMS = 4096
_OPEN_GROUPS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Packed tokens, uint16 [window_count, length + 1], and the mask of the user's turns, bool of the same shape."""

    tokens: NDArray[np.uint16]
    asked: NDArray[np.bool_]


def pack(tokenizer: Tokenizer, *, count: int, length: int, seed: int) -> Windows:
    """The first `count` windows of the training stream; a longer call begins with the windows of a shorter one."""
    tokens = np.full((count, length + 1), PAD, dtype=np.uint16)
    asked = np.zeros((count, length + 1), dtype=np.bool_)
    for row, window in enumerate(islice(_filled(_encoded(tokenizer, seed=seed), length + 1), count)):
        place = 0
        for encoded in window:
            end = place + len(encoded.ids)
            tokens[row, place:end] = encoded.ids
            asked[row, place : place + encoded.asked_count] = True
            place = end
    return Windows(tokens=tokens, asked=asked)


def _filled(sequences: Iterator[Encoded], room: int) -> Iterator[list[Encoded]]:
    """Groups of sequences that fit `room` tokens: each goes to the first of a few open groups that has place for it."""
    groups: list[list[Encoded]] = [[] for _ in range(_OPEN_GROUPS)]
    left = [room] * _OPEN_GROUPS
    for sequence in sequences:
        size = len(sequence.ids)
        if size > room:
            continue
        fitting = next((place for place, free in enumerate(left) if free >= size), None)
        if fitting is None:
            fitting = min(range(_OPEN_GROUPS), key=left.__getitem__)
            yield groups[fitting]
            groups[fitting], left[fitting] = [], room
        groups[fitting].append(sequence)
        left[fitting] -= size


def _encoded(tokenizer: Tokenizer, *, seed: int) -> Iterator[Encoded]:
    """Every training item once as it comes, as a chat or as a document by a coin of its own."""
    stream, coin = items("train", seed=seed), Random(f"{seed}/forms")
    while True:
        chosen: list[tuple[Item, bool]] = [
            (item, coin.random() < _CHAT_SHARE or not item.has_document_in("train"))
            for item in islice(stream, _CHUNK_ITEMS)
        ]
        yield from encode(tokenizer, chosen)
