"""What the judge's worker can be asked: one document per measurement."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.channel import ContainedRequest
from harness.document import Document
from harness.judge.results import BitsPerByte

Precision = Literal["checkpoint", "float16", "bfloat16", "float32"]
"""``checkpoint`` is the precision that the weights are stored in, which is what an edition states its limits for."""


class BitsPerByteRequest(Document):
    """Measure bits per byte of several checkpoints on one list of texts."""

    kind: Literal["bits_per_byte"] = "bits_per_byte"
    checkpoints: tuple[str, ...] = Field(min_length=1)
    texts: str
    """JSON lines file; each row has a field ``text``."""
    window_tokens: int = Field(gt=1)
    device: str = "cpu"
    threads: int = Field(gt=0)


class BitsPerByteAnswer(Document):
    """One figure per checkpoint, in the order of the request."""

    figures: tuple[BitsPerByte, ...]


class PerformanceRequest(Document):
    """Measure speed and memory of one checkpoint."""

    kind: Literal["performance"] = "performance"
    checkpoint: str
    prefill_tokens: int = Field(gt=0)
    decode_tokens: int = Field(gt=0)
    repeats: int = Field(gt=0)
    warm_up: int = Field(default=1, ge=1)
    """Whole runs before the first that counts."""
    precision: Precision = "checkpoint"
    device: str = "cpu"
    threads: int = Field(gt=0)


class JudgeRequest(ContainedRequest):
    """The request file of the worker."""

    measurement: BitsPerByteRequest | PerformanceRequest = Field(discriminator="kind")
