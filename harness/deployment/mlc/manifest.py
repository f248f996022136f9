"""``package.json`` of an MLC package: what MLC's own files do not say."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from harness.deployment.manifest import PackagedFile
from harness.deployment.mlc.options import Quantization, WeightLayout
from harness.document import Document

UNTRIED: Final = "written by the harness; mlc_llm has not read it here"
TRIED: Final = "mlc_llm converted the same checkpoint on this machine, and both packages hold the same weights"


class MlcManifest(Document):
    """A package for MLC's runtime, and where it comes from."""

    format: Literal["mlc"] = "mlc"
    format_version: Literal[1] = 1
    architecture: str
    """``model_type`` of the checkpoint's architecture."""
    mlc_model_type: str
    """As MLC registers the model; ``edge_structured`` needs ``definition``."""
    quantization: Quantization
    """``q0f16`` and ``q0f32`` quantise nothing."""
    weight_layout: WeightLayout
    checkpoint_digest: str
    source_dtypes: tuple[str, ...]
    """Of the checkpoint's tensors; what differs from the package's was rounded to it."""
    tensor_count: int = Field(gt=0)
    parameter_count: int = Field(gt=0)
    weights_bytes: int = Field(gt=0)
    vectorised_share: float = Field(ge=0, le=1)
    """Share of the matrices' elements whose outputs 128 divides: what the transposed layout helps."""
    vocabulary_count: int = Field(gt=0)
    context_tokens: int = Field(gt=0)
    prefill_chunk_tokens: int = Field(gt=0)
    max_batch_size: int = Field(gt=0)
    conversation: str
    """Name of the conversation template."""
    stop_ids: tuple[int, ...]
    custom: tuple[str, ...] = ()
    """Why no model of MLC's own has this shape; empty where one has."""
    definition: str | None = None
    """The file with the model definition that MLC needs for it."""
    state: str = UNTRIED
    """Whether MLC's own toolchain has seen it."""
    files: tuple[PackagedFile, ...]
    """Every file but the manifest, by name."""
