"""Counts from configurations alone."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.surgery.anatomy import load
from harness.surgery.count import is_stock, parameter_count, reduced_config, resized_config
from harness.surgery.plan import plan_of

FIELDS = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)


COMPETITION = [
    (dict(zip(FIELDS, ("llama", 128256, 4096, 14336, 32, 32, 8), strict=True)), 8_030_261_248),
    (dict(zip(FIELDS, ("qwen2", 152064, 3584, 18944, 28, 28, 4), strict=True)), 7_615_616_512),
    (dict(zip(FIELDS, ("phi", 51200, 2560, 10240, 32, 32, 32), strict=True)), 2_779_683_840),
]


class TestParameterCount:
    @pytest.mark.parametrize(("config", "total"), COMPETITION, ids=["llama-3.1-8b", "qwen2-7b", "phi-2"])
    def test_competition_models(self, config, total):
        """Llama-3.1-8B, Qwen2-7B and Phi-2 to the last parameter."""
        assert parameter_count(config) == total

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(intermediate=st.integers(1, 96), groups=st.integers(1, 2))
    def test_plan_and_resized_configuration_agree(self, tiny_config, case, intermediate, groups):
        """Counting a plan is counting the configuration that it leads to."""
        config = tiny_config(case).to_dict()
        plan = plan_of(load(config), {"intermediate": [range(intermediate)] * 2, "kv_group": [range(groups)] * 2})
        resized = resized_config(config, {"intermediate": intermediate, "kv_group": groups})
        assert parameter_count(config, plan) == parameter_count(resized)


class TestReducedConfig:
    def test_head_dim_becomes_explicit(self, tiny_config):
        """Half the heads at the same width of a head."""
        config = tiny_config("llama").to_dict()
        reduced = reduced_config(config, plan_of(load(config), {"kv_group": [[1], [0]]}))
        assert (reduced["num_attention_heads"], reduced["num_key_value_heads"], reduced["head_dim"]) == (2, 1, 16)
        assert {key for key in reduced if reduced[key] != config.get(key)} == {
            "num_attention_heads",
            "num_key_value_heads",
        }

    def test_what_stock_llama_refuses(self):
        """28 query heads on a hidden size of 4096 are no stock Llama."""
        config = COMPETITION[0][0]
        plan = plan_of(load(config), {"kv_group": [range(7)] * 32})
        with pytest.raises(UsageError, match="LlamaConfig of transformers 5 refuses"):
            reduced_config(config, plan)
        assert is_stock(config)
        assert not is_stock(resized_config(config, {"kv_group": 7}))
