"""Requests as the harness makes them, on tiny checkpoints."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from harness_tinytron.options import TinytronOptions

from harness import CompressRequest, TrainRequest
from harness.checkpoint.checkpoint import Checkpoint
from harness.progress import silent
from harness.surgery.count import parameter_count
from harness.testing.door import embedded_door


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

    def build(path, step, workdir, *, base=None, fraction=0.75, seed=0, progress=silent, is_control=False):
        student = Checkpoint.of(path)
        options = TinytronOptions.model_validate({"steps": [step]})
        workdir.mkdir(exist_ok=True)
        compresses = options.steps[0].stage == "compress"
        kind = CompressRequest if compresses else partial(TrainRequest, is_control=is_control)
        return kind(
            base=Checkpoint.of(base or path),
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
