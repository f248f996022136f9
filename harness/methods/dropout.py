"""Dropout in models whose classes have none: attention's probabilities, and the outputs of attention and MLP.

The winners' second scratch model trained with dropout in attention and hidden layers, of an unpublished share; 0.1 is
our default. Nothing changes in evaluation mode, and ``handle.remove()`` takes the hooks away again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch.nn import functional

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.hooks import RemovableHandle

    from harness.surgery.anatomy import Anatomy


@dataclass(frozen=True, slots=True, kw_only=True)
class DropoutSettings:
    """Shares that are dropped in training."""

    attention: float = 0.1
    """Of the attention's probabilities, where the class has the setting."""
    hidden: float = 0.1
    """Of what attention and MLP add to the residual stream."""


@dataclass(slots=True)
class Dropout:
    """Dropout that was put on, and takes itself off again."""

    handles: list[RemovableHandle] = field(default_factory=list)
    attentions: list[tuple[Any, float]] = field(default_factory=list)

    def remove(self) -> None:
        """Leave the model as it was."""
        for handle in self.handles:
            handle.remove()
        for attention, before in self.attentions:
            attention.attention_dropout = before


def attach_dropout(model: nn.Module, anatomy: Anatomy, settings: DropoutSettings) -> Dropout:
    """Put dropout on every layer of ``model``, which ``anatomy`` describes; drawn from torch's generator."""
    put, block = Dropout(), anatomy.table.block

    def drop(module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        return functional.dropout(output, settings.hidden, training=module.training)

    for layer in range(anatomy.layer_count):
        prefix = f"model.layers.{layer}"
        for name in (block.output, block.down):
            put.handles.append(model.get_submodule(f"{prefix}.{name}").register_forward_hook(drop))
        attention: Any = model.get_submodule(f"{prefix}.{block.output}".rpartition(".")[0])
        if hasattr(attention, "attention_dropout"):
            put.attentions.append((attention, attention.attention_dropout))
            attention.attention_dropout = settings.attention
    return put
