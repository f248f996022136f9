"""Tinytron's strategy: masks learned against the teacher's distribution, and distillation before, between and after.

The hooks only; torch is imported where a step runs, never when the plugin is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import hookimpl
from harness_tinytron.options import TinytronOptions

if TYPE_CHECKING:
    from harness import CompressRequest, Forecast, ForecastRequest, StepResult, TrainRequest
    from harness_tinytron.options import DistilStep


@hookimpl
def options_model() -> type[TinytronOptions]:
    """Name the class that parses this plugin's recipes."""
    return TinytronOptions


@hookimpl
def forecast(request: ForecastRequest[TinytronOptions, Any]) -> Forecast:
    """Compute the shape from the configuration: which units stay is learned, how many is not."""
    from harness_tinytron import shapes

    return shapes.forecast(request)


@hookimpl
def compress(request: CompressRequest[TinytronOptions, Any]) -> StepResult:
    """Carry out the step that ``method`` names."""
    from harness_tinytron import compression

    return compression.compress(request)


@hookimpl
def train(request: TrainRequest[TinytronOptions, DistilStep]) -> StepResult:
    """Distil the teacher into the student, on data from the door."""
    from harness_tinytron import recovery

    return recovery.distil(request)
