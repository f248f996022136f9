"""How much a layer's outputs suffer when its linears are pruned, quantised or cut, from second moments alone.

    layer, its weights W and G = sum x x^T of each linear, a layer at a time (``layerwise``)
      change D = W' - W   ──tr(D G D^T) / (tokens outputs)──> mean squared error of the linear's output
      unit u of an axis   ──the same, D the unit's columns of the way out──> what is lost when u alone goes

The error is that of running the calibration text through the changed linear, to rounding, without running it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from harness.methods.fake_quantisation import fake_quantised
from harness.methods.layerwise import stream_moments
from harness.methods.moments import module_of
from harness.methods.sparsity import magnitude_mask
from harness.methods.units import is_exit, is_matrix, layer_tensors
from harness.progress import silent
from harness.surgery.dimension import axes_of, unit_sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from harness.methods.calibration import CalibrationBatch
    from harness.methods.layerwise import LayerMoments
    from harness.methods.moments import Moments
    from harness.methods.units import UnitScores
    from harness.progress import Progress
    from harness.surgery.anatomy import Anatomy

SPARSITIES: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""Those of the released tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearSensitivity:
    """Of one linear: mean squared error of its output."""

    path: str
    by_sparsity: dict[float, float]
    """Share of the smallest weights at zero to error."""
    by_bits: dict[int, float]
    """Bits of the weights to error."""
    output: float
    """Mean square of the output itself, to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredSensitivity:
    """What goes with units: which to keep in a layer, and what a layer loses with its units."""

    scores: UnitScores
    """Of every unit: the error that its loss alone makes in the layer's way out."""
    errors: dict[str, dict[int, float]]
    """Axis to layer number to the mean, over sparsities, of the error when the lowest units go together."""
    curves: dict[str, dict[int, NDArray[np.float64]]]
    """Axis to layer number to the error when the lowest 0, 1, ... all units go together, ``[units + 1]``."""


def output_error(change: Tensor, moments: Moments) -> float:
    """Mean squared error of a linear's output when ``change [out, in]`` is added to its weights."""
    exact = change.double()
    total = ((exact @ moments.gram.to(exact.device)) * exact).sum()
    return max(0.0, float(total)) / (moments.token_count * len(change))


def linear_sensitivity(
    path: str,
    weight: Tensor,
    moments: Moments,
    *,
    sparsities: Sequence[float] = SPARSITIES,
    bits: Sequence[int] = (),
) -> LinearSensitivity:
    """Errors of ``weight [out, in]`` with its smallest weights at zero, and at fewer bits."""

    def error(changed: Tensor) -> float:
        return output_error(changed - weight, moments)

    return LinearSensitivity(
        path=path,
        by_sparsity={share: error(weight * magnitude_mask(weight, share)) for share in sparsities},
        by_bits={width: error(fake_quantised(weight, width)) for width in bits},
        output=output_error(weight, moments),
    )


def stream_sensitivity(  # noqa: PLR0913 - the request of a library function, all but the first three by name
    checkpoint: Path,
    linears: Sequence[str],
    batches: Sequence[CalibrationBatch],
    *,
    sparsities: Sequence[float] = SPARSITIES,
    bits: Sequence[int] = (),
    folder: Path | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Iterator[tuple[int, tuple[LinearSensitivity, ...]]]:
    """Layer number and the sensitivity of its linears, one layer at a time; arguments as ``stream_moments``."""
    for found in stream_moments(checkpoint, linears, batches, folder=folder, device=device, progress=progress):
        yield (
            found.index,
            tuple(
                linear_sensitivity(path, _weight(found, path), moments, sparsities=sparsities, bits=bits)
                for path, moments in found.moments.items()
            ),
        )


def structured_sensitivity(  # noqa: PLR0913 - as stream_sensitivity
    checkpoint: Path,
    anatomy: Anatomy,
    axes: Sequence[str],
    batches: Sequence[CalibrationBatch],
    *,
    sparsities: Sequence[float] = SPARSITIES,
    relative: bool = False,
    folder: Path | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> StructuredSensitivity:
    """Scores of units and errors of layers along ``axes``; arguments as ``stream_moments``.

    Args:
        checkpoint: Whose anatomy is ``anatomy``.
        anatomy: Of the model.
        axes: Of layers: ``kv_group``, ``intermediate``.
        batches: Of calibration.
        sparsities: Shares of units that go together; the layer's error is the mean over them.
        relative: Divide errors by the mean square of the output, so that layers whose outputs are large are not
            thereby sensitive.
        folder: For hidden states.
        device: Where a layer is run.
        progress: Told every layer.

    Raises:
        ValueError: an axis has no way out of the layer.
    """
    exits = _exits(anatomy, axes)
    paths = sorted({path for by_layer in exits.values() for path in by_layer.values()})
    scores: UnitScores = {axis: [] for axis in axes}
    errors: dict[str, dict[int, float]] = {axis: {} for axis in axes}
    curves: dict[str, dict[int, NDArray[np.float64]]] = {axis: {} for axis in axes}
    for found in stream_moments(checkpoint, paths, batches, folder=folder, device=device, progress=progress):
        for axis in axes:
            path = exits[axis][found.index]
            losses = _unit_losses(anatomy, axis, path, _weight(found, path), found.moments[path])
            scores[axis].append(losses.units)
            scale = losses.output if relative and losses.output > 0 else 1.0
            errors[axis][found.index] = float(np.mean([losses.without(share) for share in sparsities])) / scale
            curves[axis][found.index] = losses.curve / scale
    return StructuredSensitivity(scores=scores, errors=errors, curves=curves)


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnitLosses:
    """Of one axis in one layer."""

    pairs: NDArray[np.float64]
    """``[units, units]``: the error when a set goes is the sum over the set's pairs."""
    output: float

    @property
    def units(self) -> NDArray[np.float64]:
        """Of each unit alone."""
        return np.maximum(np.diagonal(self.pairs), 0.0)

    @property
    def curve(self) -> NDArray[np.float64]:
        """The error when the lowest 0, 1, ... all units go together, ``[units + 1]``."""
        order = np.argsort(self.units, kind="stable")
        ordered = self.pairs[np.ix_(order, order)]
        rises = 2 * np.tril(ordered, -1).sum(1) + np.diagonal(ordered)
        return np.concatenate([[0.0], rises.cumsum()])

    def without(self, share: float) -> float:
        """The error when that share of the units, the lowest, go together, between whole units in proportion."""
        count = len(self.pairs)
        return float(np.interp(share * count, np.arange(count + 1), self.curve))


def _unit_losses(anatomy: Anatomy, axis: str, path: str, weight: Tensor, moments: Moments) -> _UnitLosses:
    """Errors by pairs of units: ``(W^T W) * G`` added up over the columns of each."""
    exact = weight.double()
    products = ((exact.T @ exact) * moments.gram.to(exact.device)).cpu().numpy()  # [in, in]
    tensor = anatomy.tensors[f"{path}.weight"]
    assert tensor.layer is not None  # noqa: S101 - ways out are of layers
    sizes = anatomy.sizes_in(tensor.layer)
    columns = tensor.dimensions[-1]
    by_row = np.stack([unit_sums(columns, axis, sizes, row) for row in products])  # [in, units]
    pairs = np.stack([unit_sums(columns, axis, sizes, column) for column in by_row.T])
    output = output_error(weight, moments)
    return _UnitLosses(pairs=pairs / (moments.token_count * len(weight)), output=output)


def _exits(anatomy: Anatomy, axes: Sequence[str]) -> dict[str, dict[int, str]]:
    """Axis to layer number to the path of the linear through whose columns the axis leaves."""
    found: dict[str, dict[int, str]] = {axis: {} for axis in axes}
    for layer, tensor in layer_tensors(anatomy):
        for axis in axes:
            if axis in axes_of(tensor.dimensions[-1]) and is_matrix(tensor) and is_exit(anatomy, tensor, axis):
                found[axis][layer] = tensor.name.removesuffix(".weight")
    for axis, by_layer in found.items():
        if len(by_layer) < anatomy.layer_count:
            raise ValueError(f"axis {axis!r} must leave each layer through a linear that is not factorised")
    return found


def _weight(found: LayerMoments, path: str) -> Tensor:
    weight = module_of(found.layer, path.removeprefix(f"model.layers.{found.index}.")).weight
    assert isinstance(weight, torch.Tensor)  # noqa: S101 - it is a linear
    return weight.detach()
