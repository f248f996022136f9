"""What can be chosen about an MLC package, and what each choice does."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from harness.document import Document

DEFAULT_CONTEXT_TOKENS: Final = 768
"""Of the winning entry, as far as the model knows so many positions."""
MAX_SHARD_BYTES: Final = 32 << 20
"""MLC's own limit."""

Quantization = Literal["q0f16", "q0f32"]
WeightLayout = Literal["plain", "transposed"]


class MlcOptions(Document):
    """Options of an MLC package; the defaults are the system settings of the winning entry."""

    quantization: Quantization = "q0f16"
    """``q0f16`` or ``q0f32``: weights in FP16 or FP32, none of them quantised."""
    context_window_size: int | None = Field(default=None, gt=0)
    """Positions of the KV cache, prompt and answer together. Memory of the cache grows with it: ``2 * layers * KV heads
    * head size * positions`` numbers. Absent: 768, or fewer where the model knows fewer."""
    prefill_chunk_size: int = Field(default=16, gt=0)
    """Prompt tokens that are read at a time. Less memory for intermediate tensors, which grow with chunk times
    vocabulary and intermediate size; a larger chunk reads prompts faster."""
    max_batch_size: int = Field(default=1, gt=0)
    """Users at the same time. One: the cache and the scratch memory are for a single conversation."""
    conversation: str = "auto"
    """Name of a conversation template or path of one; ``auto`` takes the first whose tokens the tokenizer has."""
    weight_layout: WeightLayout = "plain"
    """``transposed``: weights ``[n, k]`` as ``[n / 128, k, 128]``, so that a phone's GPU reads neighbouring outputs
    together. The same numbers in the same memory; only an mlc_llm with the winner's kernels reads it."""
    max_shard_bytes: int = Field(default=MAX_SHARD_BYTES, gt=0)
    """Bytes at which a shard is closed."""

    @model_validator(mode="after")
    def _chunk_fits_the_context(self) -> Self:
        if self.context_window_size is not None and self.prefill_chunk_size > self.context_window_size:
            raise ValueError(
                f"prefill_chunk_size must be at most context_window_size {self.context_window_size}, "
                f"got {self.prefill_chunk_size}"
            )
        return self
