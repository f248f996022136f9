"""What goes into a linear: statistics of each input channel over unlabeled forward passes, streamed batch by batch.

    batches ──body of the model──> x [B, T, in] before each asked linear
                                     │ padding dropped
                                     └─> Σ x, Σ |x|, Σ x² in FP64 ──> Statistics, `in` numbers each

The memory is that of a forward pass; neither activations nor logits are kept.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray
    from torch import nn
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBatch:
    """Texts as a model takes them."""

    token_ids: torch.Tensor
    """``[B, T]``, int64."""
    mask: torch.Tensor | None = None
    """``[B, T]``, bool, True where a token is one and no padding; None where all are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Of every input channel of one linear; arrays ``[in]``, float64."""

    token_count: int
    mean: NDArray[np.float64]
    mean_magnitude: NDArray[np.float64]
    """Mean of |x|."""
    second_moment: NDArray[np.float64]
    """Mean of x²."""

    @property
    def root_mean_square(self) -> NDArray[np.float64]:
        """Root of the second moment: the norm, whatever the number of tokens."""
        return np.sqrt(self.second_moment)

    @property
    def norm(self) -> NDArray[np.float64]:
        """L2 norm over all tokens."""
        return np.sqrt(self.token_count * self.second_moment)


def gather_statistics(
    model: PreTrainedModel, linears: Iterable[str], batches: Iterable[CalibrationBatch]
) -> dict[str, Statistics]:
    """Statistics of what goes into ``linears``, over all tokens of ``batches`` that are no padding.

    Args:
        model: In evaluation mode; its head is not run.
        linears: Paths of modules, as ``model.layers.0.mlp.down_proj``; see ``harness.methods.activation``.
        batches: Of any sizes.

    Returns:
        By path, in the order given.

    Raises:
        ValueError: no such module, no token that counts, a mask of another shape, or a linear that was not run.
    """
    sums = {path: _Sums() for path in linears}
    device = next(model.parameters()).device
    with ExitStack() as stack, torch.no_grad():
        for path, heard in sums.items():
            stack.enter_context(_module(model, path).register_forward_pre_hook(heard.hear))
        for batch in batches:
            counted = _counted(batch, device)
            for heard in sums.values():
                heard.counted = counted
            _run(model, batch, device)
    return _statistics(sums)


def _run(model: PreTrainedModel, batch: CalibrationBatch, device: torch.device) -> None:
    mask = None if batch.mask is None else batch.mask.to(device, torch.int64)
    model.base_model(input_ids=batch.token_ids.to(device), attention_mask=mask, use_cache=False)


def _counted(batch: CalibrationBatch, device: torch.device) -> torch.Tensor | None:
    """Places of the tokens that count among all of the batch, ``[tokens]``; None where all do."""
    if batch.mask is None:
        return None
    if batch.mask.dtype is not torch.bool or batch.mask.shape != batch.token_ids.shape:
        raise ValueError(
            f"mask must be bool {list(batch.token_ids.shape)}, got {batch.mask.dtype} {list(batch.mask.shape)}"
        )
    return batch.mask.to(device).flatten().nonzero().squeeze(1)


class _Sums:
    """Sums over the tokens that one linear has been given."""

    def __init__(self) -> None:
        self.counted: torch.Tensor | None = None
        self._token_count = 0
        self._sums: torch.Tensor | None = None

    def hear(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Add what goes into the linear: a hook before its forward pass."""
        values = inputs[0].detach().flatten(0, -2)  # [tokens, in]
        if self.counted is not None:
            values = values[self.counted]
        # A square of FP16 overflows at 256.
        exact = values.to(torch.promote_types(values.dtype, torch.float32))
        sums = torch.stack([part.sum(0, dtype=torch.float64) for part in _powers(exact)])
        self._sums = sums if self._sums is None else self._sums + sums
        self._token_count += len(values)

    def statistics(self, path: str) -> Statistics:
        """Means over all tokens so far."""
        if self._sums is None or not self._token_count:
            raise ValueError(f"{path}: no token that counts went through it; are there batches, and not all padding?")
        mean, mean_magnitude, second_moment = (self._sums / self._token_count).cpu().numpy()
        return Statistics(
            token_count=self._token_count, mean=mean, mean_magnitude=mean_magnitude, second_moment=second_moment
        )


def _powers(values: torch.Tensor) -> Iterator[torch.Tensor]:
    """One after the other, so that only one is held."""
    yield values
    yield values.abs()
    yield values.square()


def _statistics(sums: Mapping[str, _Sums]) -> dict[str, Statistics]:
    return {path: heard.statistics(path) for path, heard in sums.items()}


def _module(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        raise ValueError(f"the model has no module {path!r}; paths are as in its checkpoint's tensors") from error
