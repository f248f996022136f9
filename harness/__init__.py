"""The face of the harness: everything a plugin needs in one import, and nothing that imports torch.

A whole plugin is a few functions marked ``@hookimpl``; see ``harness.hookspecs`` for the hooks and
``plugins/baseline-l1`` for one to read.
"""

from __future__ import annotations

from harness.contracts import (
    INTERFACE_VERSION,
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
from harness.hookspecs import hookimpl
from harness.options import NoOptions, Options, Packaging, Step
from harness.rules.finding import Finding, Place, Severity

__version__ = "0.1.0"

__all__ = [
    "INTERFACE_VERSION",
    "CompressRequest",
    "DeployRequest",
    "EvaluateRequest",
    "Finding",
    "Forecast",
    "ForecastRequest",
    "InitialiseRequest",
    "Metric",
    "NoOptions",
    "Options",
    "Package",
    "Packaging",
    "Place",
    "Severity",
    "Step",
    "StepResult",
    "TrainRequest",
    "ValidateRequest",
    "__version__",
    "hookimpl",
]
