"""Requests as the harness makes them, on tiny checkpoints."""

from __future__ import annotations

import pytest
from harness_nics.options import NicsOptions

from harness import ForecastRequest
from harness.testing.asking import asking


@pytest.fixture
def ask():
    """Build the request for one step, given as a table, on one checkpoint."""
    return asking(NicsOptions, fraction=0.6)


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
