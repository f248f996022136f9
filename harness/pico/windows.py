"""Training windows: items packed end to end and cut into rows.

    <|bos|> doc <|end|><|bos|><|user|> question <|end|><|assistant|> answer <|end|><|bos|> doc ...
    |------- window 0: length + 1 tokens -------|------- window 1 -------|        (neighbours share no token)

A token of the user's turn is marked, so that its loss can weigh less: the random parts of a question cannot be learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from harness.pico.corpus import Item, items
from harness.pico.vocabulary import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

_CHAT_SHARE = 0.65
_CHUNK_ITEMS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Packed tokens, uint16 [window_count, length + 1], and the mask of the user's turns, bool of the same shape."""

    tokens: NDArray[np.uint16]
    asked: NDArray[np.bool_]


def pack(tokenizer: Tokenizer, *, count: int, length: int, seed: int) -> Windows:
    """The first `count` windows of the training stream; a longer call begins with the windows of a shorter one."""
    needed = count * (length + 1)
    tokens, asked = np.empty(needed, dtype=np.uint16), np.zeros(needed, dtype=np.bool_)
    filled = 0
    for ids, asked_count in _encoded(tokenizer, seed=seed):
        taken = min(len(ids), needed - filled)
        tokens[filled : filled + taken] = ids[:taken]
        asked[filled : filled + min(asked_count, taken)] = True
        filled += taken
        if filled == needed:
            break
    shape = (count, length + 1)
    return Windows(tokens=tokens.reshape(shape), asked=asked.reshape(shape))


def _encoded(tokenizer: Tokenizer, *, seed: int) -> Iterator[tuple[list[int], int]]:
    """Every training item once as it comes, as a chat or as a document by a coin of its own."""
    stream, coin = items("train", seed=seed), Random(f"{seed}/forms")
    while True:
        chosen: list[tuple[Item, bool]] = [(item, coin.random() < _CHAT_SHARE) for item in islice(stream, _CHUNK_ITEMS)]
        for encoded in encode(tokenizer, chosen):
            yield encoded.ids, encoded.asked_count
