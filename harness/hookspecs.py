"""The hooks of a plugin, in calling order. Each takes one request and returns one typed result.

A plugin is a distribution with an entry point in the group ``harness`` and a statement of the interface version::

    [project.entry-points.harness]
    my-strategy = "harness_my_strategy"

    [project.entry-points."harness.interface"]
    my-strategy = "v1"

Its module implements any of the hooks below, each marked ``@hookimpl``. The harness runs every hook in a process of
its own, with a time limit and a memory limit, and checks what it returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from harness.contracts import (
        CompressRequest,
        DeployRequest,
        EvaluateRequest,
        Forecast,
        ForecastRequest,
        InitialiseRequest,
        Metric,
        Package,
        StepResult,
        TrainRequest,
        ValidateRequest,
    )
    from harness.options import Options, Packaging
    from harness.rules.finding import Finding

PROJECT = "harness"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of that name."""


@hookspec(firstresult=True)
def options_model() -> type[Options] | None:
    """Name the class that parses the plugin's recipes. Silent: ``NoOptions``."""


@hookspec(firstresult=True)
def forecast(request: ForecastRequest[Any, Any]) -> Forecast | None:
    """Predict the shapes that an initialise or compress step will make, from configurations. Silent: not predicted."""


@hookspec(firstresult=True)
def initialise(request: InitialiseRequest[Any, Any]) -> StepResult | None:
    """Write the untrained model that an entry from scratch starts from. Silent: as ``compress``."""


@hookspec(firstresult=True)
def compress(request: CompressRequest[Any, Any]) -> StepResult | None:
    """Carry out one ``compress`` step. Silent: a recipe that names such a step cannot run."""


@hookspec(firstresult=True)
def train(request: TrainRequest[Any, Any]) -> StepResult | None:
    """Carry out one ``train`` step, resuming from ``request.workdir`` where it was killed. Silent: as ``compress``."""


@hookspec(firstresult=True)
def evaluate(request: EvaluateRequest[Any]) -> list[Metric] | None:
    """Measure something of the plugin's own on the final checkpoint. Silent: no extra metrics."""


@hookspec(firstresult=True)
def deploy(request: DeployRequest[Any]) -> Package | Packaging | None:
    """Package the final checkpoint, or say how the harness is to. Silent: the harness's own packaging and settings."""


@hookspec(firstresult=True)
def validate(request: ValidateRequest[Any]) -> list[Finding] | None:
    """Add findings about the filed bundle. Silent: none."""
