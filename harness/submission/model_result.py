"""What became of one base model: the steps that were taken, and the checkpoints side by side.

base ── compress ──> compressed ── train ──> final          (``steps``)
  └──────────────── train, as long ────────> control        (``control_steps``: the same training, nothing removed)
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, NonNegativeFloat, NonNegativeInt

from harness.document import Document
from harness.submission.file_record import FileRecord, Sha256
from harness.submission.measurements import Measurements, PluginMetric

CheckpointRole = Literal["base", "compressed", "final", "control"]
"""The four tellers of the story: untouched; after the last compress step; what is submitted; dense, trained as long."""


class BaseRecord(Document):
    """The untouched model that a result started from."""

    hub_id: str | None = None
    revision: str | None = None
    embedded: str | None = None
    """Name of the embedded pico model, in the demo."""
    checkpoint_digest: Sha256
    parameter_count: NonNegativeInt
    """Embeddings included, tied tensors counted once."""
    weights_bytes: NonNegativeInt


class StepRecord(Document):
    """One step as it ran. A rerun that reuses the step repeats this record byte for byte."""

    stage: Literal["compress", "train"]
    method: str
    key: Sha256
    """Digest of everything that the step depends on."""
    checkpoint_digest: Sha256
    """Digest of the checkpoint that it wrote."""
    parameter_count: NonNegativeInt
    """After the step."""
    duration_s: NonNegativeFloat
    peak_memory_bytes: NonNegativeInt
    """Of the worker's whole process tree."""
    notes: dict[str, JsonValue] = Field(default_factory=dict)
    """What the plugin wanted recorded: widths, losses, token counts."""


class CheckpointRecord(Document):
    """A checkpoint by its digest: referenced, not copied."""

    checkpoint_digest: Sha256
    """SHA-256 over names, sizes and SHA-256 of its files."""
    parameter_count: NonNegativeInt
    """Embeddings included, tied tensors counted once."""
    weights_bytes: NonNegativeInt
    """Of the tensors, without headers."""
    dtypes: tuple[str, ...]
    """The safetensors dtypes that occur, sorted."""
    files: tuple[FileRecord, ...]
    location: str | None = None
    """Its folder, relative to the folder of checkpoints that ``--weights`` names, or to the bundle."""


class CheckpointResult(Document):
    """One checkpoint of the story and what was measured on it."""

    role: CheckpointRole
    checkpoint: CheckpointRecord
    measurements: Measurements = Measurements()


class PackageRecord(Document):
    """The final checkpoint, packaged for a runtime."""

    format: str
    """``transformers``, ``executorch``, ``mlc``."""
    package_digest: Sha256
    """Over names, sizes and SHA-256 of the package's files."""
    size_bytes: NonNegativeInt
    checkpoint_digest: Sha256
    """Digest of the checkpoint that it was made from."""
    files: tuple[FileRecord, ...] = ()
    notes: dict[str, JsonValue] = Field(default_factory=dict)


class ModelResult(Document):
    """One base model of the entry."""

    name: str
    """Short name in the edition."""
    base: BaseRecord
    parameter_budget: NonNegativeInt
    """Parameters that the final checkpoint may have."""
    steps: tuple[StepRecord, ...]
    control_steps: tuple[StepRecord, ...] = ()
    """How the dense control was trained."""
    checkpoints: tuple[CheckpointResult, ...]
    """In the order base, compressed, final, control; ``final`` is always there."""
    package: PackageRecord | None = None
    plugin_metrics: tuple[PluginMetric, ...] = ()

    def result(self, role: CheckpointRole) -> CheckpointResult | None:
        """The checkpoint in that role; none where the story has no such part."""
        return next((result for result in self.checkpoints if result.role == role), None)
