"""NICS-EffAlg's strategy: fewer tokens, narrower layers, linears of low rank, and recovery between.

The hooks only; torch is imported where a step runs, never when the plugin is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import hookimpl
from harness_nics.options import NicsOptions
from harness_nics.scratch_options import InitialiseStep, SphereStep

if TYPE_CHECKING:
    from harness import CompressRequest, Forecast, ForecastRequest, InitialiseRequest, StepResult, TrainRequest


@hookimpl
def options_model() -> type[NicsOptions]:
    """Name the class that parses this plugin's recipes."""
    return NicsOptions


@hookimpl
def forecast(request: ForecastRequest[NicsOptions, Any]) -> Forecast | None:
    """Compute the shape from the configuration; a rank search's is not known before it has run."""
    if isinstance(request.step, InitialiseStep):
        from harness_nics import scratch

        return scratch.forecast(request)
    from harness_nics import planning

    return planning.forecast(request)


@hookimpl
def initialise(request: InitialiseRequest[NicsOptions, InitialiseStep]) -> StepResult:
    """Write the untrained nGPT that an entry of track scratch starts from."""
    from harness_nics import scratch

    return scratch.initialise(request)


@hookimpl
def compress(request: CompressRequest[NicsOptions, Any]) -> StepResult:
    """Carry out the step that ``method`` names."""
    from harness_nics import compression

    return compression.compress(request)


@hookimpl
def train(request: TrainRequest[NicsOptions, Any]) -> StepResult:
    """Train on data from the door: adapters, every weight, a slice of the ranks; from scratch, on the sphere."""
    if isinstance(request.step, SphereStep):
        from harness_nics import scratch

        return scratch.train(request)
    from harness_nics import recovery

    return recovery.recover(request)
