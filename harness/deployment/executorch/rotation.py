"""Cosine and sine of every position, as the model itself computes them, in the form that the step needs.

A model turns pairs of dimensions ``(i, i + r / 2)`` of the first ``r`` of a head: ``x cos + half(x) sin``, where
``half`` moves the second half, negated, before the first. Here ``half`` is the matrix ``turn [d, d]``, and dimensions
that are not turned have cosine 1 and sine 0, so that the whole head is one expression without slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.errors import UsageError
from harness.structured import files
from harness.structured import loading as structured
from harness.structured.modeling_structured import Rotation, StructuredConfig

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationTable:
    """FP32."""

    cos: Tensor
    """``[context, head_dim]``."""
    sin: Tensor
    """``[context, head_dim]``."""
    turn: Tensor
    """``[head_dim, head_dim]``, entries -1, 0 and 1."""


def rotation_table(checkpoint: Path, context_tokens: int, head_dim: int) -> RotationTable:
    """The rotation of the first ``context_tokens`` positions.

    Raises:
        UsageError: the model does not know so many positions, or treats far ones otherwise than near ones.
    """
    config = _config(checkpoint)
    _check_context(config, context_tokens)
    positions = torch.arange(context_tokens)[None]
    cos, sin = (part.reshape(context_tokens, -1) for part in _rotary(config)(torch.zeros(1), positions))
    rest = head_dim - cos.shape[1]
    return RotationTable(
        cos=torch.nn.functional.pad(cos, (0, rest), value=1.0),
        sin=torch.nn.functional.pad(sin, (0, rest)),
        turn=_half(cos.shape[1], head_dim),
    )


def _half(turned: int, head_dim: int) -> Tensor:
    """``(matrix @ x)[i]`` is ``-x[i + r / 2]`` in the first half of the turned part, ``x[i - r / 2]`` in the second."""
    matrix, half = torch.zeros(head_dim, head_dim), torch.eye(turned // 2)
    matrix[: turned // 2, turned // 2 : turned] = -half
    matrix[turned // 2 : turned, : turned // 2] = half
    return matrix


def _config(checkpoint: Path) -> PreTrainedConfig:
    from transformers import AutoConfig

    if files.is_structured(checkpoint):
        return structured.load_config(checkpoint)
    config: PreTrainedConfig = AutoConfig.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    return config


def _rotary(config: PreTrainedConfig) -> Any:  # noqa: ANN401 - a module or a plain callable, as the class has it
    """What computes cosine and sine in the class that ``config`` names."""
    from transformers import AutoModelForCausalLM

    if isinstance(config, StructuredConfig):
        return Rotation(config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    return type(model.model.rotary_emb)(config)


def _check_context(config: PreTrainedConfig, context_tokens: int) -> None:
    """Within the model's positions, one window of attention and one set of frequencies."""
    limits = {"max_position_embeddings": config.max_position_embeddings}
    window = getattr(config, "sliding_window", None)
    if window is not None and getattr(config, "use_sliding_window", True):
        limits["sliding_window"] = window
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        limits["original_max_position_embeddings"] = rope["original_max_position_embeddings"]
    for name, limit in limits.items():
        if context_tokens > limit:
            raise UsageError(f"context_tokens must be at most {limit}, the model's {name}, found {context_tokens}")
