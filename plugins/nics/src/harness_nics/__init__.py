"""NICS-EffAlg's strategy: fewer tokens, narrower layers, linears of low rank, and recovery between.

The hooks only; torch is imported where a step runs, never when the plugin is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import hookimpl
from harness_nics.options import NicsOptions

if TYPE_CHECKING:
    from harness import CompressRequest, Forecast, ForecastRequest, StepResult, TrainRequest
    from harness_nics.options import RecoveryStep


@hookimpl
def options_model() -> type[NicsOptions]:
    """Name the class that parses this plugin's recipes."""
    return NicsOptions


@hookimpl
def forecast(request: ForecastRequest[NicsOptions, Any]) -> Forecast | None:
    """Compute the shape from the configuration; a rank search's is not known before it has run."""
    from harness_nics import planning

    return planning.forecast(request)


@hookimpl
def compress(request: CompressRequest[NicsOptions, Any]) -> StepResult:
    """Carry out the step that ``method`` names."""
    from harness_nics import compression

    return compression.compress(request)


@hookimpl
def train(request: TrainRequest[NicsOptions, RecoveryStep]) -> StepResult:
    """Recover on data from the door: adapters, every weight, or a slice of the ranks."""
    from harness_nics import recovery

    return recovery.recover(request)
