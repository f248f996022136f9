"""Gradient checkpointing in a model that is looked at, not trained (Chen et al. 2016, arXiv 1604.06174).

transformers computes layers again only in training mode, and there dropout would make the gradients another model's.
Here each layer's forward pass is wrapped for the time being, whatever the mode is.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn
    from transformers import PreTrainedModel


@contextmanager
def recomputing(model: PreTrainedModel) -> Iterator[None]:
    """Within the block a backward pass of ``model`` holds the values between layers, and of one layer those inside.

    Values and gradients are the same. The model must be asked without a cache.
    """
    body: Any = model.base_model
    layers: list[nn.Module] = list(body.layers)
    try:
        for layer in layers:
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)
