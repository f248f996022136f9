"""The lean decoder and the one over transformers' forward, against transformers on one prompt at a time."""

from __future__ import annotations

import pytest
import torch

from harness.toolchains.opencompass.worker.engine.layers import is_lean
from harness.toolchains.opencompass.worker.engine.lean import LeanDecoder
from harness.toolchains.opencompass.worker.engine.whole import WholeDecoder

DECODERS = (LeanDecoder, WholeDecoder)
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def alone(model, rows):
    return torch.stack([model(torch.tensor([row])).logits[0, -1] for row in rows])


def follow(model, decoder, prompts, shared_tokens):
    """Prefill, three steps, with rows dropped between; logits compared with transformers' at every step."""
    shared = decoder.share(prompts[0][:shared_tokens])
    rows = [list(prompt) for prompt in prompts]
    state, logits = decoder.begin(shared, [row[shared_tokens:] for row in rows], 8)
    close(logits, alone(model, rows))
    for step in range(3):
        token_ids = logits.argmax(-1)
        if step == 1:
            kept = torch.tensor([0, 2, 5, 9])
            decoder.keep(state, kept)
            token_ids, rows = token_ids[kept], [rows[place] for place in kept.tolist()]
        rows = [[*row, token_id] for row, token_id in zip(rows, token_ids.tolist(), strict=True)]
        logits = decoder.step(state, token_ids)
        close(logits, alone(model, rows))


@pytest.mark.parametrize("kind", DECODERS)
class TestDecoders:
    @pytest.mark.parametrize("shared_tokens", [0, 70])
    def test_gives_transformers_logits(self, model, prompts, kind, shared_tokens):
        """With a shared beginning and without, rows of uneven length, before and after rows are dropped."""
        follow(model, kind(model), prompts, shared_tokens)

    def test_knows_scaled_rotation(self, prompts, kind, make_model):
        """Llama 3's frequencies, from transformers' own initialisation."""
        model = make_model("llama", rope_parameters=LLAMA3)
        follow(model, kind(model), prompts, 70)

    def test_leaves_the_model_as_it_was(self, model, prompts, kind):
        """Fused weights are the model's own: it computes the same after as before."""
        before = alone(model, prompts[:2])
        kind(model)
        close(alone(model, prompts[:2]), before)


class TestLeanDecoder:
    def test_prefills_in_parts(self, model, prompts):
        """However few tokens fit into one part; memory that is not filled yet may hold anything."""
        torch.use_deterministic_algorithms(mode=True)  # which makes torch fill reserved memory with NaN
        try:
            decoder = LeanDecoder(model)
            decoder._prefill_tokens = 90
            follow(model, decoder, sorted(prompts, key=len, reverse=True), 0)
        finally:
            torch.use_deterministic_algorithms(mode=False)

    def test_in_half_the_precision_it_is_as_near_as_transformers(self, llama, prompts):
        """BF16: no farther from FP32 than transformers' own BF16 is, by more than half."""
        exact = alone(llama, prompts[:6])
        half = llama.to(torch.bfloat16)
        theirs = (alone(half, prompts[:6]).float() - exact).abs().mean()
        decoder = LeanDecoder(half)
        _, logits = decoder.begin(decoder.share(prompts[0][:70]), [prompt[70:] for prompt in prompts[:6]], 1)
        assert (logits.float() - exact).abs().mean() < 1.5 * theirs

    def test_fuses_without_a_copy(self, llama):
        """The linears of the model are views of the fused ones."""
        LeanDecoder(llama)
        attention = llama.model.layers[0].self_attn
        pointers = {
            getattr(attention, name).weight.untyped_storage().data_ptr() for name in ("q_proj", "k_proj", "v_proj")
        }
        assert len(pointers) == 1


class TestIsLean:
    def test_knows_the_stock_models(self, model):
        assert is_lean(model)

    @pytest.mark.parametrize(
        "changes",
        [{"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, {"qk_layernorm": True}],
    )
    def test_refuses_what_it_does_not_compute(self, changes, make_model):
        """Frequencies that depend on the length, norms on queries and keys."""
        architecture = "phi" if "qk_layernorm" in changes else "llama"
        assert not is_lean(make_model(architecture, **changes))

    def test_refuses_a_class_of_another_name(self, llama):
        class Other(type(llama)):
            pass

        llama.__class__ = Other
        assert not is_lean(llama)
