"""Forecasts: the published arithmetic to the last parameter."""

from __future__ import annotations

import json
from importlib import resources

import pytest
from harness_nics import forecast
from harness_nics.options import NicsOptions

from harness import ForecastRequest
from harness.errors import BudgetUnreachable, UsageError
from harness.surgery.count import parameter_count
from harness.testing.conducting import parse_recipe, shipped_recipes

CONFIGURATIONS = {
    "llama": "meta-llama--Meta-Llama-3.1-8B-Instruct",
    "qwen2": "Qwen--Qwen2-7B-Instruct",
    "phi": "microsoft--phi-2",
}


def config_of(model):
    file = resources.files("harness.rules") / "configurations" / f"{CONFIGURATIONS[model]}.json"
    return json.loads(file.read_text())


def recipe_of(model):
    path = next(path for path in shipped_recipes("nics") if path.name == f"{model}.toml")
    return parse_recipe("nics", path)


def predicted(config, step, budget=10**12):
    options = NicsOptions(steps=(step,))
    return forecast(ForecastRequest(config=config, options=options, step=step, parameter_budget=budget))


def step_of(**fields):
    return NicsOptions.model_validate({"steps": [{"stage": "compress", **fields}]}).steps[0]


def walk(model):
    """Method and parameters of every compress step before the weights decide."""
    config, found = config_of(model), []
    for step in recipe_of(model).steps:
        if step.stage == "compress":
            made = predicted(config, step)
            if made.parameter_bounds is not None:
                break
            assert made.parameter_count == parameter_count(made.config)
            config = dict(made.config)
            found.append((step.method, made.parameter_count))
    return found, config


class TestPublishedNumbers:
    def test_llama(self):
        """8,030,261,248 -> 7,612,084,224 by vocabulary -> 6,598,504,448 by widths; fusing changes nothing."""
        found, config = walk("llama")
        assert found == [("vocabulary", 7_612_084_224), ("width", 6_598_504_448), ("fuse", 6_598_504_448)]
        layers = config["structure"]["layers"]
        assert config["vocab_size"] == 77_209
        assert [layer["intermediate"] for layer in layers] == [14_336] * 4 + [11_468] * 24 + [14_336] * 4
        assert {(layer["kv_group"], layer["head"]) for layer in layers} == {(7, 4)}

    def test_qwen2(self):
        """7,615,616,512 -> 7,286,540,800 -> 6,011,636,736; 21 query heads in 3 groups."""
        found, config = walk("qwen2")
        assert found == [("vocabulary", 7_286_540_800), ("width", 6_011_636_736), ("fuse", 6_011_636_736)]
        layers = config["structure"]["layers"]
        assert config["vocab_size"] == 106_155
        assert [layer["intermediate"] for layer in layers] == [18_944] * 4 + [14_208] * 21 + [18_944] * 3
        assert {(layer["kv_group"], layer["head"]) for layer in layers} == {(3, 7)}

    def test_phi(self):
        """2,779,683,840 -> 2,762,369,739: vocabulary alone."""
        found, config = walk("phi")
        assert found == [("vocabulary", 2_762_369_739)]
        assert config["vocab_size"] == 47_819

    @pytest.mark.parametrize(("model", "most"), [("llama", 4_091_072_757), ("qwen2", 4_027_796_613)])
    def test_shares_of_the_decomposition(self, model, most):
        """0.62 and 0.67 of what widths left: 4.09 and 4.03 billion, which uniform ranks come close to."""
        _, config = walk(model)
        step = next(step for step in recipe_of(model).steps if step.method == "decompose")
        made = predicted(config, step.model_copy(update={"allocation": "uniform"}))
        assert 0.999 * most < made.parameter_count <= most


class TestForecast:
    @pytest.mark.parametrize(("model", "most"), [("llama", 4_091_072_757), ("qwen2", 4_027_796_613)])
    def test_a_search_has_bounds(self, model, most):
        """Published shares: at most 0.62 and 0.67, less by no more than a rank of the largest linear."""
        config = walk(model)[1]
        step = next(step for step in recipe_of(model).steps if step.method == "decompose")
        made = predicted(config, step)
        rank = config["hidden_size"] + 2 * config["intermediate_size"]
        assert made.parameter_bounds == (most - rank + 1, most)
        assert made.parameter_count == parameter_count(made.config)
        assert most - rank < made.parameter_count <= most

    @pytest.mark.parametrize(
        ("fields", "width"),
        [({"compat": "full-rounds"}, 0.05), ({"allocation": "binary"}, 0.6), ({"allocation": "error"}, 1e-4)],
    )
    def test_bounds_of_other_searches(self, fields, width):
        """The original's last round may go further, and a threshold anywhere above its smallest shares."""
        made = predicted(config_of("llama"), step_of(method="decompose", keep_fraction=0.6, **fields))
        least, most = made.parameter_bounds
        assert most == int(0.6 * 8_030_261_248)
        assert 0 < most - least < width * most

    def test_out_of_reach_is_said_beforehand(self):
        """A budget below the smallest shares is refused by the plan, as the search would."""
        with pytest.raises(BudgetUnreachable, match="cannot be reached"):
            predicted(config_of("llama"), step_of(method="decompose", minimum_fraction=0.5), budget=2 * 10**9)

    def test_room_for_all_is_exact(self):
        """Nothing is searched where every linear may stay dense."""
        made = predicted(config_of("llama"), step_of(method="decompose"))
        assert made.parameter_bounds is None
        assert made.parameter_count == 8_030_261_248

    def test_nor_is_an_unknown_tokenizer(self):
        """A share of tokens is a number only where their number is said."""
        config = config_of("llama")
        assert predicted(config, step_of(method="vocabulary", drop_fraction=0.4)) is None
        assert predicted(config, step_of(method="vocabulary", row_count=1000)).config["vocab_size"] == 1000

    def test_widths_solved_to_the_budget(self):
        """Of the most that is allowed, no more and little less; widths are multiples of 128."""
        made = predicted(config_of("llama"), step_of(method="width"), budget=4_000_000_000)
        assert 0.95 * 4e9 < made.parameter_count <= 4e9
        assert made.config["intermediate_size"] % 128 == 0
        twice = predicted(config_of("llama"), step_of(method="width", budget_multiple=1.5), budget=4_000_000_000)
        assert 0.95 * 6e9 < twice.parameter_count <= 6e9

    def test_merge_beyond_break_even(self):
        """Factors that have more weights than their product are multiplied out, others only where asked."""
        config = config_of("llama")
        uniform = step_of(method="decompose", allocation="uniform", keep_fraction=0.6)
        made = predicted(config, uniform)
        assert predicted(made.config, step_of(method="merge")).parameter_count == made.parameter_count
        whole = predicted(made.config, step_of(method="merge", scope="all"))
        assert whole.parameter_count == parameter_count(config)

    @pytest.mark.parametrize(
        "step",
        [
            {"method": "width", "drop_fraction": 0.2, "mlp_layers": "0-32"},
            {"method": "width", "drop_fraction": 0.2, "cut_kv_groups": False, "cut_intermediate": False},
            {"method": "vocabulary", "row_count": 200_000},
            {"method": "fuse", "linears": ["mlp.everything"]},
        ],
    )
    def test_refuses(self, step):
        """What the model does not have cannot be cut or fused."""
        with pytest.raises(UsageError):
            predicted(config_of("llama"), step_of(**step))
