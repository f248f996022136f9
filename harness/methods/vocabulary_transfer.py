"""A body learns another tokenizer: its embedding for each new token, from the old ones of the same text.

    new token ──its text──> old tokens ──mean of their rows──> new row         one old token: an exact copy
    special tokens, rows without a token: the mean of all rows, and noise of their spread

With the teacher's vocabulary a student of another family can be distilled token by token: the winners put Qwen2's
tokenizer on Phi-2, tied its embeddings and kept the head's bias. How they began the rows is unpublished; this is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from harness.checkpoint.dtypes import to_float32
from harness.checkpoint.reader import open_checkpoint
from harness.methods.rewriting import Rewriting, rewrite, tied_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

EMBEDDING: Final = "model.embed_tokens.weight"
HEAD_BIAS: Final = "lm_head.bias"
NOISE: Final = 0.1
"""Of rows that no text speaks for, in standard deviations of the embedding."""


def transferred_rows(
    rows: NDArray[np.float32],
    old: PreTrainedTokenizerBase,
    new: PreTrainedTokenizerBase,
    *,
    row_count: int,
    seed: int = 0,
) -> NDArray[np.float32]:
    """The embedding ``[row_count, h]`` for ``new``, from ``rows [V, h]`` of ``old``.

    Args:
        rows: Of the old vocabulary; rows past its tokens are padding and speak for nothing.
        old: The tokenizer that ``rows`` belong to.
        new: The tokenizer to come.
        row_count: Rows to make, at least as many as ``new`` has tokens.
        seed: Of the noise.

    Raises:
        ValueError: ``row_count`` is less than the tokens of ``new``.
    """
    if row_count < len(new):
        raise ValueError(f"row_count must be at least {len(new)}, the tokens of the new tokenizer, got {row_count}")
    known = rows[: len(old)]
    made = _unspoken(known, row_count, seed)
    special = set(new.all_special_ids) | set(new.added_tokens_decoder)
    plain = [token for token in range(len(new)) if token not in special]
    texts = [str(new.decode([token])) for token in plain]
    for token, pieces in zip(plain, _pieces(old, texts), strict=True):
        if pieces:
            made[token] = rows[pieces[0]] if len(pieces) == 1 else known[pieces].mean(0)
    return made


def swap_vocabulary(  # noqa: PLR0913 - from where, to where, and what decides the rows
    source: Path,
    config: Mapping[str, Any],
    tokenizer_folder: Path,
    output: Path,
    *,
    row_count: int | None = None,
    seed: int = 0,
) -> Path:
    """Write ``source`` with the tokenizer of ``tokenizer_folder``, embeddings tied, a head's bias at zero.

    Args:
        source: A checkpoint, stock or structured.
        config: Of ``source``, as ``Checkpoint.config`` gives it.
        tokenizer_folder: Where the new tokenizer's files are.
        output: Folder to write.
        row_count: Rows of the new embedding; the new tokenizer's tokens if None.
        seed: Of the noise in rows that no text speaks for.
    """
    from transformers import AutoTokenizer

    old, new = (
        AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        for folder in (source, tokenizer_folder)
    )
    count = row_count or len(new)
    with open_checkpoint(source) as reader:
        embedding = to_float32(reader.read(EMBEDDING), reader.entry(EMBEDDING).dtype)
        has_bias = any(entry.name == HEAD_BIAS for entry in reader.layout.tensors)
    made = {EMBEDDING: transferred_rows(embedding, old, new, row_count=count, seed=seed)}
    if has_bias:
        made[HEAD_BIAS] = np.zeros(count, dtype=np.float32)
    after = swapped_config(config, count, _special_ids(new))
    return rewrite(source, output, Rewriting(config=after, made=made, files_from=tokenizer_folder))


def swapped_config(
    config: Mapping[str, Any], row_count: int, special_ids: Mapping[str, int | None] | None = None
) -> dict[str, Any]:
    """``config`` with another vocabulary, tied."""
    return {**tied_config(config), "vocab_size": row_count, **(special_ids or {})}


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    return {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def _unspoken(known: NDArray[np.float32], row_count: int, seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).standard_normal((row_count, known.shape[1]), dtype=np.float32)
    made: NDArray[np.float32] = known.mean(0) + NOISE * known.std(0) * noise
    return made


def _pieces(old: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    found: list[list[int]] = old(list(texts), add_special_tokens=False)["input_ids"]
    return found
