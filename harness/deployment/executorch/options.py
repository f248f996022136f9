"""What a person may choose about an ExecuTorch package."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.document import Document

PackageDtype = Literal["float16", "float32"]


class ExecutorchOptions(Document):
    """Options of an export."""

    dtype: PackageDtype = "float16"
    """Of weights, cache and computation; norms are computed in FP32 either way."""
    context_tokens: int = Field(default=512, gt=0)
    """Positions of the KV cache, prompt and answer together; at most what the model knows.

    Every step attends over all of them, so a longer context costs memory and time even where it is empty.
    """
    prefill_chunk: int = Field(default=64, gt=0)
    """Most tokens that one call reads. More make prefill faster and take more memory for activations."""
