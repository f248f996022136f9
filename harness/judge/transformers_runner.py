"""A checkpoint under ``transformers``, as a ``Runner``: torch eager, batch 1, key-value cache, greedy."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final

import torch
import transformers
from transformers import DynamicCache

from harness.errors import MeasurementFailed
from harness.judge.loading import context_tokens, load_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PreTrainedModel

    from harness.judge.requests import Precision


CACHE_NAMES: Final = ("cache", "past_key_values")
"""What a model's forward calls its cache: the new name, and that before transformers 5.24."""


class TransformersRunner:
    """Implements ``harness.deployment.runner.Runner``."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.name = f"transformers {transformers.__version__}"
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.context_tokens = context_tokens(model.config)
        self.vocabulary_count = int(model.config.vocab_size)
        self.model = model
        known = inspect.signature(model.forward).parameters
        self._cache_name = next(name for name in CACHE_NAMES if name in known)
        self._cache: DynamicCache | None = None
        self._read_count = 0
        self._logits: Tensor | None = None

    def prefill(self, token_ids: Sequence[int]) -> int:
        """Empty the cache, read ``token_ids``, return the most likely next token id."""
        self._cache, self._read_count = DynamicCache(config=self.model.config), 0
        return self._read(token_ids)

    def step(self, token_id: int) -> int:
        """Append ``token_id`` to what was read, return the most likely next token id."""
        if self._cache is None:
            raise ValueError("step before prefill: the cache is empty")
        return self._read([token_id])

    def last_logits(self) -> NDArray[np.float32]:
        """``[vocabulary_count]``: logits after the last token that was read; a copy."""
        if self._logits is None:
            raise ValueError("logits before prefill: nothing was read yet")
        logits: NDArray[np.float32] = self._logits.float().cpu().numpy().copy()
        return logits

    @torch.inference_mode()
    def _read(self, token_ids: Sequence[int]) -> int:
        self._check(token_ids)
        ids = torch.tensor([token_ids], device=self.model.device)  # [1, tokens]
        output = self.model(input_ids=ids, use_cache=True, logits_to_keep=1, **{self._cache_name: self._cache})
        self._logits = output.logits[0, -1]  # [vocab]
        self._read_count += len(token_ids)
        # item() waits for the device, so whoever reads the clock next reads the end of the work.
        return int(self._logits.argmax().item())

    def _check(self, token_ids: Sequence[int]) -> None:
        after = self._read_count + len(token_ids)
        if not token_ids or after > self.context_tokens:
            raise ValueError(f"tokens read must be in 1..{self.context_tokens}, they would be {after}")
        if not 0 <= min(token_ids) <= max(token_ids) < self.vocabulary_count:
            raise ValueError(f"token ids must be in 0..{self.vocabulary_count - 1}, found {min(token_ids)} or above")


def open_transformers(checkpoint: Path, *, precision: Precision, device: str, threads: int) -> TransformersRunner:
    """Load ``checkpoint`` with stock classes or our structured one.

    Raises:
        MeasurementFailed: it cannot be loaded whole, or its context is not stated.
        CheckpointCorrupt: the same of a checkpoint with a structure.
    """
    torch.set_num_threads(threads)
    model = load_model(checkpoint, precision=precision, device=device)
    if not isinstance(getattr(model.config, "vocab_size", None), int):
        raise MeasurementFailed(f"{checkpoint}: its config.json does not state vocab_size")
    return TransformersRunner(model)
