"""Requests as the harness makes them, on tiny checkpoints."""

from __future__ import annotations

import pytest
import torch
from harness_tinytron.options import TinytronOptions

from harness.testing.asking import asking


@pytest.fixture(autouse=True)
def one_thread():
    """Exactness is promised for a fixed number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def ask():
    """Build the request for one step, given as a table, on one checkpoint."""
    return asking(TinytronOptions, fraction=0.75)
