"""Requests as the harness makes them, on tiny checkpoints."""

from __future__ import annotations

import pytest
from harness_baseline_l1.options import BaselineOptions

from harness.testing.asking import asking


@pytest.fixture
def ask():
    """Build the request for one step, given as a table, on one checkpoint."""
    return asking(BaselineOptions, fraction=0.6)
