"""Requests for single steps are those that the harness makes."""

from __future__ import annotations

from typing import Literal

import pytest

from harness import CompressRequest, Options, Step, TrainRequest
from harness.checkpoint.checkpoint import Checkpoint
from harness.surgery.count import parameter_count
from harness.testing.asking import asking


class Cut(Step):
    stage: Literal["compress", "train"] = "compress"
    method: Literal["cut"] = "cut"


class Cuts(Options):
    steps: tuple[Cut, ...] = ()


ask = asking(Cuts, fraction=0.5)


class TestAsking:
    @pytest.mark.parametrize(("stage", "kind"), [("compress", CompressRequest), ("train", TrainRequest)])
    def test_the_stage_decides_what_is_asked(self, tiny_checkpoints, tmp_path, stage, kind):
        """With the step as the plugin's own options read it, and a work folder that is there."""
        request = ask(tiny_checkpoints["phi"], {"stage": stage, "method": "cut"}, tmp_path / "work")
        assert type(request) is kind
        assert request.step == request.options.steps[0] == Cut(stage=stage)
        assert request.workdir.is_dir()
        assert request.data.ledger().entries == ()

    def test_budget_and_base(self, tiny_checkpoints, tmp_path):
        """A share of the student's parameters, and another teacher where one is named."""
        student, base = tiny_checkpoints["phi"], tiny_checkpoints["llama"]
        count = parameter_count(Checkpoint.of(student).config())
        own = ask(student, {"method": "cut"}, tmp_path / "one")
        taught = ask(student, {"method": "cut"}, tmp_path / "other", base=base, fraction=0.25)
        assert (own.parameter_budget, taught.parameter_budget) == (round(0.5 * count), round(0.25 * count))
        assert own.base == own.student
        assert taught.base == Checkpoint.of(base)
