"""Edge-LLM's strategy: sensitive layers compressed less, then tuned a few at a time.

The hooks only; torch is imported where a step runs, never when the plugin is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import hookimpl
from harness_edge_llm.options import EdgeOptions

if TYPE_CHECKING:
    from harness import CompressRequest, Forecast, ForecastRequest, StepResult, TrainRequest
    from harness_edge_llm.options import TuneStep


@hookimpl
def options_model() -> type[EdgeOptions]:
    """Name the class that parses this plugin's recipes."""
    return EdgeOptions


@hookimpl
def forecast(request: ForecastRequest[EdgeOptions, Any]) -> Forecast | None:
    """Compute the shape from the configuration; one that hangs on sensitivity is not known before it has run."""
    from harness_edge_llm import planning

    return planning.forecast(request)


@hookimpl
def compress(request: CompressRequest[EdgeOptions, Any]) -> StepResult:
    """Carry out the step that ``method`` names."""
    from harness_edge_llm import compression

    return compression.compress(request)


@hookimpl
def train(request: TrainRequest[EdgeOptions, TuneStep]) -> StepResult:
    """Tune on data from the door, a few layers at a time or all at once."""
    from harness_edge_llm import tuning

    return tuning.tune(request)
