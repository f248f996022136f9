"""The plugin as the host sees it: options, forecasts and steps, on tiny models of the three architectures."""

from __future__ import annotations

import subprocess
import sys

import harness_baseline_l1 as plugin
import pytest
from harness_baseline_l1.options import BaselineOptions
from pydantic import ValidationError

from harness import CompressRequest, ForecastRequest, TrainRequest
from harness.checkpoint.checkpoint import Checkpoint
from harness.corpora.door import DataDoor, DoorSettings
from harness.progress import silent
from harness.rules.edition import load_edition
from harness.submission.describe import describe_checkpoint
from harness.testing.tiny import ARCHITECTURES, write_tiny_checkpoint

TRAIN = {"stage": "train", "optimizer_steps": 3, "batch_windows": 2, "window_tokens": 32}


@pytest.fixture(params=ARCHITECTURES)
def base(request, tmp_path):
    return Checkpoint.of(write_tiny_checkpoint(request.param, tmp_path / "base"))


def ask(kind, base, options, workdir, budget):
    workdir.mkdir()
    return kind(
        base=base,
        student=base,
        options=options,
        step=options.steps[0],
        parameter_budget=budget,
        data=DataDoor(DoorSettings(rules=load_edition("demo").data)),
        workdir=workdir,
        device="cpu",
        seed=0,
        progress=silent,
    )


def prune_options(**fields):
    return BaselineOptions.model_validate({"steps": [{"stage": "compress", "method": "l1", "round_to": 8, **fields}]})


class TestOptions:
    def test_unknown_method_is_refused(self):
        """The union knows its methods."""
        with pytest.raises(ValidationError, match="l1"):
            BaselineOptions.model_validate({"steps": [{"stage": "compress", "method": "l2"}]})

    def test_import_costs_no_torch(self):
        """Only a step that runs pays for torch."""
        code = "import sys, harness_baseline_l1; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestCompress:
    def test_keeps_the_budget_and_the_forecast(self, base, tmp_path):
        """What comes out is what was predicted, and not larger than allowed."""
        options = prune_options()
        budget = int(0.8 * describe_checkpoint(base.path).parameter_count)
        result = plugin.compress(ask(CompressRequest, base, options, tmp_path / "w", budget))
        made = describe_checkpoint(result.checkpoint)
        asked = ForecastRequest(config=base.config(), options=options, step=options.steps[0], parameter_budget=budget)
        predicted = plugin.forecast(asked)
        assert made.parameter_count == predicted.parameter_count <= budget
        assert Checkpoint.of(result.checkpoint).config()["intermediate_size"] == predicted.config["intermediate_size"]

    def test_whole_budget_changes_no_weight(self, base, tmp_path):
        """Nothing to remove, nothing touched."""
        request = ask(CompressRequest, base, prune_options(), tmp_path / "w", 10**9)
        result = plugin.compress(request)
        assert (result.checkpoint / "model.safetensors").read_bytes() == (base.path / "model.safetensors").read_bytes()


class TestTrain:
    @pytest.mark.parametrize("method", ["lora", "full"])
    def test_same_seed_same_digest(self, base, tmp_path, method):
        """Twice from the start gives the same bytes, and other ones than the student's."""
        options = BaselineOptions.model_validate({"steps": [{**TRAIN, "method": method, "learning_rate": 1e-2}]})
        digests = {
            Checkpoint.of(plugin.train(ask(TrainRequest, base, options, tmp_path / name, 0)).checkpoint).digest
            for name in ("first", "second")
        }
        assert len(digests) == 1
        assert base.digest not in digests
