"""The tables name exactly the tensors that transformers makes, in their shapes."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.errors import UsageError
from harness.surgery.anatomy import load
from harness.surgery.count import tensor_shapes
from harness.surgery.table import broken_constraint, load_table, model_types


class TestTables:
    def test_tensors_are_those_of_transformers(self, tiny_config, case):
        """Names and shapes equal the state of the stock class, tied tensors once."""
        config = tiny_config(case)
        anatomy = load(config.to_dict())
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        stored = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
        assert tensor_shapes(anatomy) == stored
        assert type(model).__name__ == anatomy.table.architecture

    @pytest.mark.parametrize("model_type", model_types())
    def test_files_are_named_by_model_type(self, model_type):
        """The table of an architecture is found under its ``model_type``."""
        assert load_table(model_type).model_type == model_type

    def test_coupled_group_of_a_kv_group(self, tiny_config):
        """Qwen2: q, k, v with their biases, and o."""
        names = {
            part.name.split("self_attn.")[1] for part in load(tiny_config("qwen2").to_dict()).coupled("kv_group", 1)
        }
        rows = {f"{letter}_proj.{kind}" for letter in "qkv" for kind in ("weight", "bias")}
        assert names == rows | {"o_proj.weight"}

    def test_coupled_group_of_a_channel(self, tiny_config):
        """Phi: fc1 with its bias, fc2 without: that bias is of the residual stream."""
        names = {part.name.split("mlp.")[1] for part in load(tiny_config("phi").to_dict()).coupled("intermediate", 0)}
        assert names == {"fc1.weight", "fc1.bias", "fc2.weight"}


class TestLoad:
    def test_unknown_architecture(self):
        """The message names the ones that there are."""
        with pytest.raises(UsageError, match="model_type 'mamba'; there are tables for llama"):
            load({"model_type": "mamba"})

    @pytest.mark.parametrize("change", [{"num_attention_heads": None}, {"hidden_size": "64"}, {"vocab_size": 0}])
    def test_broken_configuration(self, tiny_config, change):
        """A field that makes no shape is an error that names the axis."""
        with pytest.raises(UsageError, match="axis"):
            load({**tiny_config("llama").to_dict(), "head_dim": None, **change})

    def test_absurd_layer_count(self, tiny_config):
        """A billion layers are refused before they are spelt out."""
        with pytest.raises(UsageError, match="at most 4096, found 1000000000"):
            load({**tiny_config("llama").to_dict(), "num_hidden_layers": 10**9})

    def test_constraint_of_llama(self, tiny_config):
        """What ``LlamaConfig`` refuses, the table refuses; Qwen2 takes the same."""
        change = {"num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 16}
        for case, refused in (("llama", True), ("qwen2", False)):
            config = {**tiny_config(case).to_dict(), **change}
            assert (broken_constraint(load(config).table.constraints, config) is not None) is refused
            made = stock_accepts(tiny_config(case), config)
            assert made is not refused


def stock_accepts(stock, config):
    from huggingface_hub.errors import StrictDataclassClassValidationError

    try:
        type(stock).from_dict(config)
    except StrictDataclassClassValidationError:
        return False
    return True
