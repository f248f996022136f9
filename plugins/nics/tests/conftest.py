"""Requests as the harness makes them, on tiny checkpoints."""

from __future__ import annotations

import pytest
from harness_nics.options import NicsOptions

from harness import CompressRequest, ForecastRequest, TrainRequest
from harness.checkpoint.checkpoint import Checkpoint
from harness.progress import silent
from harness.surgery.count import parameter_count
from harness.testing.door import embedded_door


@pytest.fixture
def ask():
    """Build the request for one step, given as a table, on one checkpoint."""

    def build(path, step, workdir, *, fraction=0.6, seed=0, progress=silent):
        student = Checkpoint.of(path)
        options = NicsOptions.model_validate({"steps": [step]})
        workdir.mkdir(exist_ok=True)
        kind = CompressRequest if step["stage"] == "compress" else TrainRequest
        return kind(
            base=student,
            student=student,
            options=options,
            step=options.steps[0],
            parameter_budget=round(fraction * parameter_count(student.config())),
            data=embedded_door(),
            workdir=workdir,
            device="cpu",
            seed=seed,
            progress=progress,
        )

    return build


@pytest.fixture
def predict():
    """What the plugin forecasts for a request."""
    from harness_nics import forecast

    def forecast_of(request):
        return forecast(
            ForecastRequest(
                config=request.student.config(),
                options=request.options,
                step=request.step,
                parameter_budget=request.parameter_budget,
            )
        )

    return forecast_of
