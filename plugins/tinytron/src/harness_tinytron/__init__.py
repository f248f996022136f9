"""Tinytron's strategy: masks learned against the teacher's distribution, and distillation before, between and after.

Track scratch is trained by MiniCPM's rules.
The hooks only; torch is imported where a step runs, never when the plugin is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import hookimpl
from harness_tinytron.deployment import PACKAGING
from harness_tinytron.options import TinytronOptions

if TYPE_CHECKING:
    from harness import (
        CompressRequest,
        DeployRequest,
        Forecast,
        ForecastRequest,
        InitialiseRequest,
        Packaging,
        StepResult,
        TrainRequest,
    )
    from harness_tinytron.scratch_options import InitialiseStep


@hookimpl
def options_model() -> type[TinytronOptions]:
    """Name the class that parses this plugin's recipes."""
    return TinytronOptions


@hookimpl
def forecast(request: ForecastRequest[TinytronOptions, Any]) -> Forecast | None:
    """Compute the shape from the configuration: which units stay is learned, how many is not."""
    from harness_tinytron import scratch, shapes
    from harness_tinytron.scratch_options import InitialiseStep

    if isinstance(request.step, InitialiseStep):
        return scratch.forecast(request)
    return shapes.forecast(request)


@hookimpl
def initialise(request: InitialiseRequest[TinytronOptions, InitialiseStep]) -> StepResult:
    """Write the untrained model of track scratch."""
    from harness_tinytron import scratch

    return scratch.initialise(request)


@hookimpl
def compress(request: CompressRequest[TinytronOptions, Any]) -> StepResult:
    """Carry out the step that ``method`` names."""
    from harness_tinytron import compression

    return compression.compress(request)


@hookimpl
def deploy(request: DeployRequest[TinytronOptions]) -> Packaging:
    """Say how the harness is to package: a short cache and small chunks."""
    del request
    return PACKAGING


@hookimpl
def train(request: TrainRequest[TinytronOptions, Any]) -> StepResult:
    """Distil the teacher into the student, or train on the text alone, on data from the door."""
    from harness_tinytron import recovery, scratch
    from harness_tinytron.scratch_options import TextStep

    return scratch.train_on_text(request) if isinstance(request.step, TextStep) else recovery.distil(request)
