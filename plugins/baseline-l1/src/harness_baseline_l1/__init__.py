"""The starter baseline: drop the MLP channels and KV groups with the smallest L1 norm, then train what is left.

The hooks only; torch is imported where a step runs, never when the plugin is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import Forecast, StepResult, hookimpl
from harness_baseline_l1.options import BaselineOptions, PruneStep

if TYPE_CHECKING:
    from harness import CompressRequest, ForecastRequest, TrainRequest
    from harness_baseline_l1.options import RecoveryStep


@hookimpl
def options_model() -> type[BaselineOptions]:
    """Name the class that parses this plugin's recipes."""
    return BaselineOptions


@hookimpl
def forecast(request: ForecastRequest[BaselineOptions, PruneStep]) -> Forecast:
    """Solve the widths from the configuration and the budget: no weights are needed."""
    from harness_baseline_l1 import pruning

    return pruning.forecast(request.config, request.step, request.parameter_budget)


@hookimpl
def compress(request: CompressRequest[BaselineOptions, PruneStep]) -> StepResult:
    """Score, choose, and cut by streaming."""
    from harness_baseline_l1 import pruning

    return pruning.prune(request)


@hookimpl
def train(request: TrainRequest[BaselineOptions, RecoveryStep]) -> StepResult:
    """Recover on data from the door, with adapters that are merged, or with every weight."""
    from harness_baseline_l1 import recovery

    return recovery.recover(request)
