"""Counts from configurations alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.surgery.anatomy import load
from harness.surgery.count import parameter_count, weigh
from harness.surgery.cuts import plan_of_cuts
from harness.surgery.plan import plan_of
from harness.surgery.shape import is_stock, reduced_config, resized_config

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
        """28 query heads on a hidden size of 4096 are no stock Llama, so the configuration is a structured one."""
        config = COMPETITION[0][0]
        reduced = reduced_config(config, plan_of(load(config), {"kv_group": [range(7)] * 32}))
        assert is_stock(config)
        assert not is_stock(resized_config(config, {"kv_group": 7}))
        assert reduced["model_type"] == "edge_structured"
        assert {layer["kv_group"] for layer in reduced["structure"]["layers"]} == {7}

    def test_back_to_the_stock_class(self, tiny_config, case):
        """Layers cut to different widths and then to the same one are a stock model again."""
        config = tiny_config(case).to_dict()
        ragged = reduced_config(config, plan_of(load(config), {"intermediate": [range(80), range(64)]}))
        assert not is_stock(ragged)
        level = reduced_config(ragged, plan_of(load(ragged), {"intermediate": [range(64)] * 2}))
        expected = resized_config(config, {"intermediate": 64})
        made_anew = {"architectures": None, "layer_types": None}
        assert {**level, **made_anew} == {**expected, **made_anew}


class TestGoldenShapes:
    @pytest.mark.parametrize(
        ("config", "cuts", "total"),
        [
            (COMPETITION[0][0], ["vocab=77209"], 7_612_084_224),
            (COMPETITION[0][0], ["vocab=77209", "kv_group=7", "intermediate=11468@4-27"], 6_598_504_448),
            (COMPETITION[1][0], ["vocab=106155"], 7_286_540_800),
            (COMPETITION[1][0], ["vocab=106155", "kv_group=3", "intermediate=14208@4-24"], 6_011_636_736),
            (COMPETITION[2][0], ["vocab=47819"], 2_762_369_739),
            (COMPETITION[1][0], ["hidden=2560", "head=5", "intermediate=12288"], 3_861_627_392),
        ],
        ids=["nics-llama-1", "nics-llama-3", "nics-qwen2-1", "nics-qwen2-3", "nics-phi-1", "tinytron-qwen2"],
    )
    def test_published(self, config, cuts, total):
        """The shapes that the winners published or that their parameter counts fix, to the last parameter."""
        assert parameter_count(config, plan_of_cuts(load(config), cuts)) == total


class TestWeigh:
    def test_llama(self):
        """Llama-3.1-8B in FP16: 16.06 GB of weights, 128 KiB of cache a token."""
        weight = weigh(COMPETITION[0][0])
        assert weight.weights_bytes() == 16_060_522_496
        assert weight.kv_bytes_per_token() == 131_072
        assert weight.kv_bytes_per_token("F32") == 2 * 131_072

    @given(context=st.integers(1, 4096), chunk=st.integers(1, 4096))
    def test_memory_grows_with_the_context(self, context, chunk):
        """No less than weights and cache, and never less for a longer context or a longer chunk."""
        weight = weigh(COMPETITION[2][0])
        peak = weight.inference_bytes(context_tokens=context, chunk_tokens=chunk)
        assert peak > weight.weights_bytes() + context * weight.kv_bytes_per_token()
        assert weight.inference_bytes(context_tokens=context + 1, chunk_tokens=chunk) > peak
        assert weight.inference_bytes(context_tokens=context, chunk_tokens=chunk + 1) >= peak


class TestCuts:
    @pytest.mark.parametrize(
        ("cut", "message"),
        [
            ("intermediate", "must be axis=count"),
            ("intermediate=half", "is no count"),
            ("intermediate=14337", "1..14336"),
            ("head_dim=64", "can be cut along"),
            ("channels=1", "can be cut along"),
            ("intermediate=8@31-32", "layers must be in 0..31"),
            ("fused=self_attn.kv_proj", "no fused linear"),
            ("rank(mlp.middle)=8", "no linear"),
        ],
    )
    def test_refused(self, cut, message):
        """The message says what is wrong and what is allowed."""
        config = COMPETITION[0][0]
        with pytest.raises(UsageError, match=re.escape(message)):
            parameter_count(config, plan_of_cuts(load(config), [cut]))
