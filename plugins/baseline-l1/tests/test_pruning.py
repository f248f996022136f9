"""Pruning keeps the units with the largest L1 norm, within the budget."""

from __future__ import annotations

import numpy as np
import pytest
from harness_baseline_l1 import compress, forecast
from harness_baseline_l1.options import BaselineOptions

from harness import ForecastRequest
from harness.checkpoint.reader import open_checkpoint
from harness.checkpoint.shards import read_layout
from harness.errors import BudgetUnreachable
from harness.methods.importance import magnitude
from harness.surgery.anatomy import load
from harness.surgery.plan import Plan

L1 = {"stage": "compress", "method": "l1", "round_to": 8}


class TestCompress:
    @pytest.mark.parametrize(
        ("fraction", "fields"),
        [(0.6, {}), (0.75, {}), (0.9, {"cut_kv_groups": False}), (0.75, {"aggregation": "mean"})],
    )
    def test_fits_the_budget_and_its_own_forecast(self, tiny_checkpoint, tmp_path, ask, fraction, fields):
        """What lies on disk is what was forecast, and no more than is allowed."""
        request = ask(tiny_checkpoint, {**L1, **fields}, tmp_path / "work", fraction=fraction)
        predicted = forecast(forecast_request(request))
        layout = read_layout(compress(request).checkpoint)
        assert layout.parameter_count == predicted.parameter_count <= request.parameter_budget

    def test_removed_units_score_no_higher_than_kept_ones(self, tiny_checkpoint, tmp_path, ask):
        """In every layer and axis, by the norm of the student's own weights."""
        request = ask(tiny_checkpoint, L1, tmp_path / "work")
        compress(request)
        plan, anatomy = Plan.read(tmp_path / "work" / "plan.json"), load(request.student.config())
        with open_checkpoint(tiny_checkpoint) as reader:
            for axis in ("intermediate", "kv_group"):
                for layer in range(anatomy.layer_count):
                    scores = magnitude(reader, anatomy, axis, layer)
                    kept = plan.kept(axis, layer)
                    removed = np.setdiff1d(np.arange(len(scores)), kept)
                    assert scores[removed].max(initial=-np.inf) <= scores[kept].min()

    def test_unreachable_budget(self, tiny_checkpoint, tmp_path, ask):
        """Embeddings stay whole, so a tiny share cannot be reached; nothing is left behind."""
        with pytest.raises(BudgetUnreachable, match="the smallest legal shape has"):
            compress(ask(tiny_checkpoint, L1, tmp_path / "work", fraction=0.05))
        assert list((tmp_path / "work").iterdir()) == []


class TestForecast:
    def test_half_of_the_competition_models(self):
        """Half of the parameters; widths are multiples of 128 and head counts that stock Llama takes."""
        config = {
            "model_type": "llama",
            "vocab_size": 128256,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
        }
        options = BaselineOptions.model_validate({"steps": [{"stage": "compress", "method": "l1"}]})
        budget = 8_030_261_248 // 2
        result = forecast(
            ForecastRequest(config=config, options=options, step=options.steps[0], parameter_budget=budget)
        )
        assert 0.97 * budget < result.parameter_count <= budget
        assert result.config["intermediate_size"] % 128 == 0
        assert 4096 % result.config["num_attention_heads"] == 0


def forecast_request(request):
    return ForecastRequest(
        config=request.student.config(),
        options=request.options,
        step=request.step,
        parameter_budget=request.parameter_budget,
    )
