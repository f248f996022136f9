"""Statistics are those of the activations themselves, however these come in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.methods.activation import coupled_linears
from harness.methods.calibration import CalibrationBatch, gather_statistics
from tests.methods.scoring import AXES, CASES, make_batches, make_tiny

FIELDS = ("mean", "mean_magnitude", "second_moment")


@pytest.fixture(params=CASES)
def tiny(request):
    return make_tiny(request.param)


def gather(tiny, batches, linears=None):
    return gather_statistics(tiny.model, linears or coupled_linears(tiny.anatomy, AXES), batches)


def assert_same(found, expected, rtol=1e-9):
    assert list(found) == list(expected)
    for path, statistics in found.items():
        assert statistics.token_count == expected[path].token_count
        for field in FIELDS:
            np.testing.assert_allclose(
                getattr(statistics, field), getattr(expected[path], field), rtol=rtol, atol=1e-12, err_msg=path
            )


def unpadded(tokens):
    return CalibrationBatch(token_ids=tokens)


class TestGatherStatistics:
    def test_equals_the_moments_of_the_activations(self, tiny):
        """Mean, mean of |x|, mean of x² and norm, over all tokens, of what each linear reads."""
        (batch,), paths = make_batches(1), coupled_linears(tiny.anatomy, AXES)
        heard = {}

        def hear(path, inputs):
            heard[path] = inputs[0].flatten(0, 1).detach()

        for path in paths:
            tiny.model.get_submodule(path).register_forward_pre_hook(lambda _, inputs, path=path: hear(path, inputs))
        tiny.model(batch)
        for path, statistics in gather(tiny, [unpadded(batch)]).items():
            x = heard[path]
            assert statistics.token_count == batch.numel() == len(x)
            for found, expected in (
                (statistics.mean, x.mean(0)),
                (statistics.mean_magnitude, x.abs().mean(0)),
                (statistics.second_moment, x.square().mean(0)),
                (statistics.root_mean_square, x.square().mean(0).sqrt()),
                (statistics.norm, x.norm(dim=0)),
            ):
                assert found.dtype == np.float64
                np.testing.assert_allclose(found, expected.numpy(), rtol=1e-9, atol=1e-12)

    @settings(max_examples=8, deadline=None)
    @given(cuts=st.sets(st.integers(1, 7), max_size=4), case=st.sampled_from(CASES))
    def test_batches_do_not_matter(self, cuts, case):
        """Eight texts at once or a few at a time."""
        tiny = make_tiny(case)
        (texts,) = make_batches(1, texts=8)
        parts = [part for part in torch.tensor_split(texts, sorted(cuts)) if len(part)]
        assert_same(gather(tiny, map(unpadded, parts)), gather(tiny, [unpadded(texts)]))

    @settings(max_examples=8, deadline=None)
    @given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4), case=st.sampled_from(CASES), data=st.data())
    def test_padding_has_no_weight(self, lengths, case, data):
        """Texts of several lengths in one padded batch, whatever the padding is, are those texts one by one."""
        tiny = make_tiny(case)
        (texts,) = make_batches(1, texts=len(lengths))
        mask = torch.arange(7) < torch.tensor(lengths)[:, None]
        padded = torch.where(mask, texts, data.draw(st.integers(0, 39)))
        one_by_one = [unpadded(text[:length][None]) for text, length in zip(texts, lengths, strict=True)]
        found = gather(tiny, [CalibrationBatch(token_ids=padded, mask=mask)])
        assert_same(found, gather(tiny, one_by_one))

    def test_a_text_of_padding_alone_changes_nothing(self, tiny):
        """It counts no tokens."""
        (texts,) = make_batches(1)
        nothing = CalibrationBatch(token_ids=texts, mask=torch.zeros(texts.shape, dtype=torch.bool))
        assert_same(gather(tiny, [unpadded(texts), nothing]), gather(tiny, [unpadded(texts)]))
        with pytest.raises(ValueError, match="no token that counts"):
            gather(tiny, [nothing])

    def test_half_precision_is_added_up_in_more(self):
        """Squares that FP16 cannot hold, and a mean that it could not add up."""
        tiny, path = make_tiny("llama"), "model.layers.0.mlp.down_proj"
        tiny.model.half()
        with torch.no_grad():
            tiny.model.get_parameter("model.layers.0.mlp.up_proj.weight").mul_(3000)
        statistics = gather(tiny, [unpadded(make_batches(1)[0])], [path])[path]
        assert statistics.second_moment.max() > torch.finfo(torch.float16).max
        assert np.isfinite(statistics.second_moment).all()

    def test_hooks_are_gone_afterwards(self, tiny):
        """Also where a batch fails."""
        gather(tiny, [unpadded(make_batches(1)[0])])
        with pytest.raises(IndexError):
            gather(tiny, [unpadded(torch.full((1, 2), 999))])
        assert not any(module._forward_pre_hooks for module in tiny.model.modules())

    def test_refuses(self, tiny):
        """Modules that are none or that were not run, masks that do not fit, no batches."""
        (texts,) = make_batches(1)
        with pytest.raises(ValueError, match=r"no module 'model\.layers\.7'"):
            gather(tiny, [unpadded(texts)], ["model.layers.7"])
        with pytest.raises(ValueError, match="lm_head: no token"):
            gather(tiny, [unpadded(texts)], ["lm_head"])
        with pytest.raises(ValueError, match=r"mask must be bool \[2, 7\], got torch.int64 \[2, 7\]"):
            gather(tiny, [CalibrationBatch(token_ids=texts, mask=torch.ones_like(texts))])
        with pytest.raises(ValueError, match="no token"):
            gather(tiny, [])
