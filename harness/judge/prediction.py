"""What a measurement will need, in parts, from the configuration and one measured number: the runtime's own floor.

                 transformers, torch eager                     executorch, XNNPACK
    runtime      measured: libraries, model code, a product    measured: torch and the runtime's libraries
    weights      all tensors, in the precision that runs       all tensors of the data file
    cache        tokens read so far                            context of the package, allocated whole
    activations  prompt x widest layer                         chunk x widest layer
    logits       of the last position                          of the last position
    staging      the stored file where it is converted, or     a second cache; a tied head, packed; the largest tensor
                 the largest linear in a half product's order  while it is packed, where running takes less; kernels

No number here belongs to a shape. What is calibrated is a property of the runtime, and says where it was seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from harness.checkpoint.dtypes import BITS
from harness.document import Document
from harness.surgery import anatomy, count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.judge.requests import Runtime
    from harness.surgery.anatomy import Anatomy
    from harness.surgery.count import Weight

STORED: Final = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
"""The precisions of measurements, as safetensors names them."""
EMBEDDING: Final = "model.embed_tokens.weight"
HEAD: Final = "lm_head.weight"
EAGER_FIRST_BYTES: Final = {"float16": 11 << 20, "bfloat16": 11 << 20, "float32": 3 << 20}
"""What the first pass of torch on a CPU leaves beside weights and values: kernels made then, buffers.
Seen with torch 2.13 on x86-64, above the floor's own product: 9 to 11 MB in FP16 and at most 2 MB in FP32, for models
of 5 to 127 million parameters."""
EDGE_LOAD_BYTES: Final = 5 << 20
EDGE_RUN_BYTES: Final = 3 << 20
"""What loading a program, and XNNPACK's code as it first runs, make resident. Seen with executorch 1.5.1 on x86-64: 2
to 4 MB and 3 MB, for models of 5 to 127 million parameters; the first has one more, so that a cap at the prediction
can be held."""


class MemoryPrediction(Document):
    """Peak resident memory of one measuring process, bytes, before it runs."""

    runtime: str
    dtype: str
    context_tokens: int = Field(gt=0)
    """Tokens that the cache holds."""
    chunk_tokens: int = Field(gt=0)
    """Tokens of the prompt that go through a layer at once."""
    runtime_bytes: int = Field(ge=0)
    """Measured on this machine, without a weight."""
    weights_bytes: int = Field(ge=0)
    cache_bytes: int = Field(ge=0)
    activation_bytes: int = Field(ge=0)
    logits_bytes: int = Field(ge=0)
    staging_bytes: int = Field(ge=0)
    """What the runtime holds beside the weights while it loads or multiplies."""

    total_bytes: int = Field(ge=0)
    """The sum of the parts: what a cap must allow."""

    @property
    def model_bytes(self) -> int:
        """Everything above the runtime's floor."""
        return self.total_bytes - self.runtime_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How a model will be run."""

    runtime: Runtime
    dtype: str
    """``float16`` or ``float32``, of the weights in memory."""
    stored_dtype: str
    """Of the weights on disk."""
    context_tokens: int
    """Tokens that the cache will hold: read so far under transformers, the package's own under executorch."""
    chunk_tokens: int


def predict(config: Mapping[str, Any], load: Load, *, runtime_bytes: int) -> MemoryPrediction:
    """The prediction for the model that ``config`` describes, run as ``load`` says above a floor of ``runtime_bytes``.

    Raises:
        UsageError: there is no anatomy for ``config``.
    """
    weight, shape, dtype = count.weigh(config), anatomy.load(config), STORED[load.dtype]
    element = BITS[dtype] // 8
    running = {
        "cache_bytes": load.context_tokens * weight.kv_bytes_per_token(dtype),
        "activation_bytes": load.chunk_tokens * weight.activation_values_per_token * element,
        "logits_bytes": weight.vocabulary * (element + count.LOGIT_BYTES),
    }
    if load.runtime == "executorch":
        staging = _edge_staging(shape, element, running)
    else:
        staging = _eager_staging(weight, shape, load)
    parts = {
        "runtime_bytes": runtime_bytes,
        "weights_bytes": weight.weights_bytes(dtype),
        **running,
        "staging_bytes": staging,
    }
    return MemoryPrediction(
        runtime=load.runtime,
        dtype=load.dtype,
        context_tokens=load.context_tokens,
        chunk_tokens=load.chunk_tokens,
        total_bytes=sum(parts.values()),
        **parts,
    )


def _eager_staging(weight: Weight, shape: Anatomy, load: Load) -> int:
    """Converted weights are copies beside the mapped file; products of halves reorder one matrix at a time."""
    stored, dtype = STORED[load.stored_dtype], STORED[load.dtype]
    converted = weight.weights_bytes(stored) if load.dtype != load.stored_dtype else 0
    reordered = 0 if load.dtype == "float32" else _largest(shape) * BITS[dtype] // 8
    return EAGER_FIRST_BYTES[load.dtype] + converted + reordered


def _edge_staging(shape: Anatomy, element: int, running: Mapping[str, int]) -> int:
    """The peak is reached while the largest tensor is packed, before anything runs, or while the model runs."""
    embedding = math.prod(shape.tensors[EMBEDDING].shape(shape.sizes)) * element
    packing = max(_largest(shape) * element, embedding)
    tied = 0 if HEAD in shape.tensors else embedding
    used = running["activation_bytes"] + running["logits_bytes"]
    return EDGE_LOAD_BYTES + running["cache_bytes"] + tied + max(packing - used, EDGE_RUN_BYTES)


def _largest(shape: Anatomy) -> int:
    """Elements of the largest weight matrix inside a layer."""
    layers = range(shape.layer_count)
    return max(math.prod(part.shape(shape.layer_sizes[layer])) for layer in layers for part in shape.linears(layer))
