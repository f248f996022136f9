"""What low-rank methods ask of calibration: how inputs of a linear go together, and how large its outputs are.

    x [B, T, in] ──linear──> y [B, T, out]
      │ padding dropped         └─> sum over texts of (mean over the text's tokens of |y|)^p     [out]
      └─> sum of x x^T [in, in], mean of |x| [in]

Products of one batch are FP32, sums over batches FP64. ``gather_moments`` runs a whole model; where that does not fit,
``harness.methods.layerwise`` does the same layer by layer, to the same bits.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from harness.methods.calibration import CalibrationBatch

OUTPUT_EXPONENT = 0.5
"""NICS's ``norm_coef``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Of one linear, over all tokens that are no padding."""

    token_count: int
    gram: Tensor
    """Sum of x x^T, ``[in, in]``, float64."""
    mean_magnitude: Tensor
    """Mean of |x|, ``[in]``, float64."""
    output_magnitude: Tensor
    """Sum over texts of ``(mean over tokens of |y|)^p``, ``[out]``, float64."""


class Listener:
    """Sums over what goes into one linear and comes out of it."""

    def __init__(self, path: str, output_exponent: float = OUTPUT_EXPONENT) -> None:
        self.path = path
        self.mask: Tensor | None = None
        """``[B, T]``, bool, of the batch that is running; None where all tokens count."""
        self._exponent = output_exponent
        self._token_count = 0
        self._gram: Tensor | None = None
        self._magnitude: Tensor | None = None
        self._output: Tensor | None = None

    @torch.no_grad()
    def hear(self, _: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Add one batch: a hook after the linear's forward pass."""
        before, after = inputs[0].detach(), output.detach()  # [B, T, in], [B, T, out]
        values = before.flatten(0, -2) if self.mask is None else before[self.mask]  # [tokens, in]
        # A square of FP16 overflows at 256.
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        self._gram = _added(self._gram, (values.T @ values).double())
        self._magnitude = _added(self._magnitude, values.abs().sum(0, dtype=torch.float64))
        self._output = _added(self._output, self._text_means(after).pow_(self._exponent).sum(0))
        self._token_count += len(values)

    def moments(self) -> Moments:
        """Of all batches so far; raises ``ValueError`` where there was no token."""
        if self._gram is None or self._magnitude is None or self._output is None or not self._token_count:
            raise ValueError(f"{self.path}: no token that counts went through it; are there batches, not all padding?")
        return Moments(
            token_count=self._token_count,
            gram=self._gram,
            mean_magnitude=self._magnitude / self._token_count,
            output_magnitude=self._output,
        )

    def _text_means(self, after: Tensor) -> Tensor:
        """Mean of |y| over the tokens of each text, ``[B, out]``, float64; zero for a text of padding alone."""
        size = after.abs()
        if self.mask is None:
            return size.mean(1, dtype=torch.float64)
        counts = self.mask.sum(1, keepdim=True).clamp(min=1)
        return (size * self.mask[..., None]).sum(1, dtype=torch.float64) / counts


@contextmanager
def listening(modules: Mapping[str, nn.Module], output_exponent: float = OUTPUT_EXPONENT) -> Iterator[list[Listener]]:
    """A listener at each of ``modules``, by path, until the block ends."""
    listeners = [Listener(path, output_exponent) for path in modules]
    with ExitStack() as stack:
        for listener in listeners:
            handle = modules[listener.path].register_forward_hook(listener.hear)
            stack.callback(handle.remove)
        yield listeners


@torch.no_grad()
def gather_moments(
    model: PreTrainedModel,
    linears: Iterable[str],
    batches: Iterable[CalibrationBatch],
    *,
    output_exponent: float = OUTPUT_EXPONENT,
) -> dict[str, Moments]:
    """Moments of ``linears`` over all tokens of ``batches`` that are no padding.

    Args:
        model: In evaluation mode; its head is not run.
        linears: Paths of modules, as ``model.layers.0.mlp.down_proj``.
        batches: Of any sizes; read once.
        output_exponent: p of the picture above.

    Returns:
        By path, in the order given.

    Raises:
        ValueError: no such module, or no token that counts.
    """
    modules = {path: module_of(model, path) for path in linears}
    device = next(model.parameters()).device
    with listening(modules, output_exponent) as listeners:
        for batch in batches:
            mask = batch_mask(batch, device)
            for listener in listeners:
                listener.mask = mask
            model.base_model(
                input_ids=batch.token_ids.to(device),
                attention_mask=None if mask is None else mask.to(torch.int64),
                use_cache=False,
            )
    return {listener.path: listener.moments() for listener in listeners}


def module_of(model: nn.Module, path: str) -> nn.Module:
    """The module at ``path``; raises ``ValueError`` where there is none."""
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        raise ValueError(f"the model has no module {path!r}; paths are as in its checkpoint's tensors") from error


def batch_mask(batch: CalibrationBatch, device: torch.device) -> Tensor | None:
    """The mask of ``batch`` on ``device``; raises ``ValueError`` where it is of another shape or dtype."""
    if batch.mask is None:
        return None
    if batch.mask.dtype is not torch.bool or batch.mask.shape != batch.token_ids.shape:
        raise ValueError(
            f"mask must be bool {list(batch.token_ids.shape)}, got {batch.mask.dtype} {list(batch.mask.shape)}"
        )
    return batch.mask.to(device)


def _added(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else total.add_(part)
