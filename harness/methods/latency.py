"""What a layer costs by its shape, from a few models that were timed on the device.

    whole model, the same with fewer layers            ──difference over the missing layers──> seconds of a whole layer
    models whose layers all have one axis at a value   ──difference over the layers──────────> seconds that it saves
    shape of a layer   ──whole layer minus what each of its axes saves; in a straight line between values──> seconds

The table is a file: who makes it needs the device's runtime, who chooses shapes by it (``scheduling``) does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from harness.document import Document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Shape = Mapping[str, int]
    """Axis to its value in one layer: ``{"kv_group": 2, "intermediate": 192}``; an axis left out is whole."""


class LatencyTable(Document):
    """Seconds of a model of layers, one decoded token."""

    device: str
    """What was timed, on what: ``executorch 1.5.1, float32, one thread``."""
    fixed_s: float = Field(allow_inf_nan=False)
    """All that is no layer: embedding, head, the loop around them. Below 0 where noise is larger than it."""
    layer_s: float = Field(gt=0, allow_inf_nan=False)
    """A whole layer."""
    saved_s: dict[str, dict[int, float]]
    """Axis to value to what a layer saves beside the whole one; negative where it costs more."""

    @classmethod
    def of(  # noqa: PLR0913 - a figure each, all but the first by name
        cls,
        device: str,
        *,
        whole_s: float,
        shortened: tuple[float, int],
        layer_count: int,
        by_axis: Mapping[str, Mapping[int, float]],
        whole_shape: Shape,
    ) -> Self:
        """The table of a model that was timed in these variants.

        Args:
            device: What was timed, on what.
            whole_s: The whole model, seconds a token.
            shortened: Seconds of the model with fewer whole layers, and how many it has.
            layer_count: Layers of the whole model.
            by_axis: Axis to value to seconds of the model with every layer's axis at that value.
            whole_shape: The value at which a layer is whole, for axes of which it is one; at it nothing is saved.

        Raises:
            ValueError: the shortened model has not fewer layers, or none.
        """
        shorter_s, kept = shortened
        if not 0 < kept < layer_count:
            raise ValueError(f"the shortened model must have 1 to {layer_count - 1} layers, got {kept}")
        layer_s = (whole_s - shorter_s) / (layer_count - kept)
        saved = {
            axis: {value: (whole_s - seconds) / layer_count for value, seconds in sorted(values.items())}
            for axis, values in by_axis.items()
        }
        for axis, value in whole_shape.items():
            saved.setdefault(axis, {})[value] = 0.0
        return cls(device=device, fixed_s=whole_s - layer_count * layer_s, layer_s=layer_s, saved_s=saved)

    def layer(self, shape: Shape) -> float:
        """Seconds of a layer of ``shape``; raises ``ValueError`` for an axis or a value outside what was timed."""
        return self.layer_s - sum(self._saved(axis, value) for axis, value in shape.items())

    def model(self, shapes: Sequence[Shape]) -> float:
        """Seconds of a token through layers of ``shapes``; raises as ``layer``."""
        return self.fixed_s + sum(map(self.layer, shapes))

    def _saved(self, axis: str, value: int) -> float:
        timed = self.saved_s.get(axis)
        if not timed:
            raise ValueError(f"axis {axis!r} was not timed; there are {', '.join(self.saved_s)}")
        values = sorted(timed)
        if not values[0] <= value <= values[-1]:
            raise ValueError(f"{axis} was timed from {values[0]} to {values[-1]}, asked for {value}")
        return float(np.interp(value, values, [timed[each] for each in values]))
