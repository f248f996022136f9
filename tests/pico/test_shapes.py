"""The shapes: stock classes, the size that was promised, Phi's peculiarities."""

from __future__ import annotations

import pytest

from harness.pico import shapes

VOCABULARY = 1536
MEGABYTE = 10**6


@pytest.fixture(scope="module", params=shapes.NAMES)
def model(request):
    """An untrained model of each shape."""
    return shapes.initialised(request.param, seed=0, vocabulary_size=VOCABULARY)


class TestShapes:
    """`initialised` and `config`."""

    def test_size(self, model):
        """One to three million parameters, at most six megabytes in FP16."""
        count = sum(parameter.numel() for parameter in model.parameters())
        assert 1_000_000 <= count <= 3_000_000
        assert 2 * count <= 6 * MEGABYTE

    def test_fewer_kv_groups_stay_legal(self, model):
        """Four, two or one KV groups with their query heads divide the hidden size, as LlamaConfig asks."""
        config = model.config
        repeat = config.num_attention_heads // config.num_key_value_heads
        assert all(config.hidden_size % (groups * repeat) == 0 for groups in (4, 2, 1))

    def test_seed_fixes_the_weights(self):
        """The same seed draws the same weights, another seed others."""
        first, again, other = (
            shapes.initialised("pico-llama", seed=seed, vocabulary_size=VOCABULARY, layers=1) for seed in (1, 1, 2)
        )
        assert all((a == b).all() for a, b in zip(first.parameters(), again.parameters(), strict=True))
        assert (first.lm_head.weight != other.lm_head.weight).any()

    def test_qwen2_has_biases_on_q_k_v_alone(self):
        """Query, key and value are biased, the output is not."""
        attention = (
            shapes.initialised("pico-qwen2", seed=0, vocabulary_size=VOCABULARY, layers=1).model.layers[0].self_attn
        )
        biased = [name for name in "qkvo" if getattr(attention, f"{name}_proj").bias is not None]
        assert biased == ["q", "k", "v"]

    def test_phi_is_untied_with_a_head_bias_and_partial_rotary(self):
        """Phi's head is its own matrix with a bias, and half of each head is rotated."""
        phi = shapes.initialised("pico-phi", seed=0, vocabulary_size=VOCABULARY, layers=1)
        assert phi.lm_head.weight is not phi.model.embed_tokens.weight
        assert phi.lm_head.bias is not None
        assert phi.config.rope_parameters["partial_rotary_factor"] == 0.5
        assert phi.config.hidden_act == "gelu_new"

    def test_unknown_name(self):
        """A name that is no shape is a KeyError."""
        with pytest.raises(KeyError):
            shapes.config("pico-gpt", vocabulary_size=VOCABULARY)
