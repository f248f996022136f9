"""How often each token occurs in texts.

texts ──batches of about a million characters──> encode, without special tokens ──> counts [rows]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from harness.surgery.vocabulary.engine import load_engine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

BATCH_CHARACTERS: Final = 1 << 20


def count_tokens(
    tokenizer_path: Path, texts: Iterable[str], *, batch_characters: int = BATCH_CHARACTERS
) -> NDArray[np.int64]:
    """Occurrences of every token id in ``texts``; no beginning-of-text or other special token is put in.

    Args:
        tokenizer_path: a ``tokenizer.json``.
        texts: read once, in order; at most a batch of them is held.
        batch_characters: a batch ends with the text that reaches this many.

    Returns:
        ``[rows]``, int64; rows are the highest id of the tokenizer and one.

    Raises:
        CheckpointCorrupt: the tokenizers library cannot load the file.
    """
    engine = load_engine(tokenizer_path)
    counts = np.zeros(max(engine.get_vocab().values()) + 1, dtype=np.int64)
    for batch in _batches(texts, batch_characters):
        for encoding in engine.encode_batch_fast(batch, add_special_tokens=False):
            counts += np.bincount(np.asarray(encoding.ids, dtype=np.int64), minlength=len(counts))
    return counts


def _batches(texts: Iterable[str], batch_characters: int) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= batch_characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
