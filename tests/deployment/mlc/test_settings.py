"""Rotation reaches MLC, whichever generation of transformers wrote the configuration."""

from __future__ import annotations

import pytest

from harness.deployment.mlc.settings import conditions, flat_config
from harness.errors import CheckpointCorrupt

LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


class TestFlatConfig:
    def test_both_generations_say_the_same(self):
        """``rope_parameters`` of transformers 5 and the fields of transformers 4 become one and the same."""
        new = {"rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, **LLAMA3}}
        old = {"rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", **LLAMA3}}
        assert flat_config(new) == flat_config(old)
        assert flat_config(new)["rope_scaling"] == {"rope_type": "llama3", **LLAMA3}

    def test_the_plain_rotation_has_no_scaling(self):
        """MLC takes null for it, and would refuse the word default."""
        found = flat_config({"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}})
        assert (found["rope_theta"], found["rope_scaling"]) == (10000.0, None)

    @pytest.mark.parametrize(("model_type", "share"), [("phi", 0.5), ("llama", 1.0)])
    def test_a_silent_configuration_rotates_what_its_class_does(self, model_type, share):
        """Phi turns half of each head, the others all of it, unless the configuration says otherwise."""
        assert flat_config({"model_type": model_type})["partial_rotary_factor"] == share
        said = {"model_type": model_type, "rope_parameters": {"partial_rotary_factor": 0.4}}
        assert flat_config(said)["partial_rotary_factor"] == 0.4

    def test_what_is_no_object(self):
        """Found and named."""
        with pytest.raises(CheckpointCorrupt, match="rope_parameters must be an object"):
            flat_config({"rope_parameters": [1]})


class TestConditions:
    @pytest.mark.parametrize(
        ("name", "meant"), [("silu", "silu"), ("swish", "silu"), ("gelu_pytorch_tanh", "gelu_new")]
    )
    def test_exactly_the_activation_that_is_meant_holds(self, name, meant):
        """Two names of one function are one condition, and no other one holds."""
        found = conditions(flat_config({"hidden_act": name}))
        assert [one for one in ("silu", "gelu", "gelu_new", "relu") if found[one]] == [meant]
