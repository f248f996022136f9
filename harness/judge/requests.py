"""What the judge's worker can be asked: one document per measurement."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.channel import ContainedRequest
from harness.document import Document
from harness.judge.results import BitsPerByte

Runtime = Literal["transformers", "executorch"]
"""What runs the model."""
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
    """Measure speed and memory of one checkpoint, or of one package of it."""

    kind: Literal["performance"] = "performance"
    runtime: Runtime = "transformers"
    checkpoint: str
    """Folder that the runtime loads: a checkpoint for ``transformers``, a package for ``executorch``."""
    prefill_tokens: int = Field(gt=0)
    decode_tokens: int = Field(gt=0)
    repeats: int = Field(gt=0)
    warm_up: int = Field(default=1, ge=1)
    """Whole runs before the first that counts."""
    precision: Precision = "checkpoint"
    device: str = "cpu"
    threads: int = Field(gt=0)
    memory_limit_bytes: int | None = Field(default=None, gt=0)
    """Cap of resident memory (of reserved memory on a GPU); a run that was above it has no result."""


class KitRequest(Document):
    """Measure one checkpoint by the competition kit's own protocol, under ``transformers``."""

    kind: Literal["kit"] = "kit"
    checkpoint: str
    repeats: int = Field(gt=0)
    precision: Precision = "checkpoint"
    device: str = "cpu"
    threads: int = Field(gt=0)


class FloorRequest(Document):
    """Measure what a runtime needs before it sees a weight."""

    kind: Literal["floor"] = "floor"
    runtime: Runtime
    checkpoint: str
    """As in ``PerformanceRequest``; only the code that it needs is loaded."""
    precision: Precision = "checkpoint"
    device: str = "cpu"
    threads: int = Field(gt=0)


class FloorAnswer(Document):
    """The floor of a runtime on this machine."""

    runtime: str
    """With its version."""
    resident_bytes: int = Field(gt=0)
    """VmHWM of the process, bytes."""


class JudgeRequest(ContainedRequest):
    """The request file of the worker."""

    measurement: BitsPerByteRequest | PerformanceRequest | KitRequest | FloorRequest = Field(discriminator="kind")
