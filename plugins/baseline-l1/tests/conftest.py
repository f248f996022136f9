"""Requests as the harness makes them, on tiny checkpoints."""

from __future__ import annotations

import pytest
from harness_baseline_l1.options import BaselineOptions

from harness import CompressRequest, TrainRequest
from harness.checkpoint.checkpoint import Checkpoint
from harness.progress import silent
from harness.surgery.count import parameter_count
from harness.testing.door import embedded_door


@pytest.fixture
def ask():
    """Build the request for one step, given as a table, on one checkpoint."""

    def build(path, step, workdir, *, fraction=0.6, seed=0, progress=silent):
        student = Checkpoint.of(path)
        options = BaselineOptions.model_validate({"steps": [step]})
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
