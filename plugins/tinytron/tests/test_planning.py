"""Shapes before anything runs: the published counts, and what a step really makes."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest
from harness_tinytron import compress, forecast
from harness_tinytron.options import TinytronOptions
from transformers import AutoConfig

from harness import ForecastRequest
from harness.checkpoint.checkpoint import Checkpoint
from harness.errors import BudgetUnreachable, UsageError
from harness.surgery.count import parameter_count

STEPS = {"optimizer_steps": 2, "batch_windows": 2, "window_tokens": 32, "compute": "float32", "top_k": 8}

LLAMA = {
    "model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "tie_word_embeddings": False, "rms_norm_eps": 1e-5,
}  # fmt: skip
QWEN = {
    "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944,
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    "tie_word_embeddings": False, "rms_norm_eps": 1e-6,
}  # fmt: skip
PHI = {
    "model_type": "phi", "vocab_size": 51200, "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "tie_word_embeddings": False, "layer_norm_eps": 1e-5,
    "qk_layernorm": False,
}  # fmt: skip


def plain(config):
    """As config.json has it."""
    kind = AutoConfig.for_model(config["model_type"])
    return {**kind.to_dict(), **config}


def options_of(recipe):
    text = (resources.files("harness_tinytron") / "recipes" / f"{recipe}.toml").read_text()
    return TinytronOptions.model_validate({"steps": tomllib.loads(text)["step"]})


def ask_forecast(config, options, step, budget=0):
    return forecast(ForecastRequest(config=config, options=options, step=step, parameter_budget=budget))


class TestPublishedCounts:
    @pytest.mark.parametrize(
        ("recipe", "config", "before", "after"),
        [
            ("qwen2", QWEN, 7_615_616_512, 3_861_627_392),
            ("llama", LLAMA, 8_030_261_248, 3_826_965_504),
            ("phi", PHI, 2_779_683_840, 2_906_924_544),
        ],
    )
    def test_recipes_lead_to_them(self, recipe, config, before, after):
        """Step by step from the base's configuration to the count on the winners' page."""
        options, config = options_of(recipe), plain(config)
        assert parameter_count(config) == before
        for step in options.steps:
            found = ask_forecast(config, options, step)
            config = found.config
        assert found.parameter_count == after
        assert "structure" not in config


class TestForecast:
    @pytest.mark.parametrize("method", ["mask_prune", "soft_prune"])
    def test_comes_true(self, tiny_checkpoint, tmp_path, ask, method):
        """The step makes what was predicted, within the budget, on every architecture."""
        request = ask(tiny_checkpoint, {"method": method, "round_to": 8, **STEPS}, tmp_path / "work")
        predicted = ask_forecast(request.student.config(), request.options, request.step, request.parameter_budget)
        made = Checkpoint.of(compress(request).checkpoint)
        assert parameter_count(made.config()) == predicted.parameter_count <= request.parameter_budget

    @pytest.mark.parametrize(
        "keep", [{"hidden": 32, "head": 1}, {"layer": 1, "intermediate": 48}, {"hidden": 48, "kv_group": 1}]
    )
    def test_any_axis_can_be_named(self, tiny_checkpoints, tmp_path, ask, keep):
        """A shape that is typed is the shape that comes out, with a structure where no stock class has it."""
        step = {"method": "mask_prune", "keep": keep, "to_budget": False, **STEPS}
        request = ask(tiny_checkpoints["llama"], step, tmp_path / "work")
        predicted = ask_forecast(request.student.config(), request.options, request.step)
        made = Checkpoint.of(compress(request).checkpoint).config()
        assert parameter_count(made) == predicted.parameter_count
        assert made["hidden_size"] == keep.get("hidden", 64)
        assert made["num_hidden_layers"] == keep.get("layer", 2)

    def test_a_budget_that_is_too_small_is_told(self, tiny_checkpoints, tmp_path, ask):
        """The message has the smallest count that there is."""
        request = ask(tiny_checkpoints["llama"], {"method": "mask_prune", **STEPS}, tmp_path / "w", fraction=0.1)
        with pytest.raises(BudgetUnreachable, match="smallest legal shape"):
            compress(request)


class TestSwapVocabulary:
    def test_without_a_tokenizer_only_a_forecast(self, tiny_checkpoints, tmp_path, ask):
        """The published recipe plans without a download, and says what is missing when it is to run."""
        step = {"method": "swap_vocabulary", "row_count": 300}
        with pytest.raises(UsageError, match=r"--set swap_vocabulary\.tokenizer=FOLDER"):
            compress(ask(tiny_checkpoints["phi"], step, tmp_path / "w"))
