"""Zeros: as many as asked, in the pattern asked; SparseGPT's error is never that of plain zeros by the same mask."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.methods.moments import Moments
from harness.methods.sensitivity import output_error
from harness.methods.sparsity import Pattern, magnitude_mask, pattern_mask, sparse_gpt

seeds = st.integers(0, 1000)


def problem(seed, rows=6, columns=16, tokens=64):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    inputs = torch.randn(tokens, columns, generator=generator) @ torch.randn(columns, columns, generator=generator)
    exact = inputs.double()
    moments = Moments(
        token_count=tokens,
        gram=exact.T @ exact,
        mean_magnitude=exact.abs().mean(0),
        output_magnitude=torch.ones(rows, dtype=torch.float64),
    )
    return weight, moments


class TestMasks:
    @given(seeds, st.floats(0, 1))
    def test_magnitude(self, seed, share):
        """So many zeros, and nothing that goes is larger than what stays."""
        weight, _ = problem(seed)
        mask = magnitude_mask(weight, share)
        assert int((~mask).sum()) == round(share * weight.numel())
        gone, kept = weight[~mask].abs(), weight[mask].abs()
        assert not len(gone) or not len(kept) or gone.max() <= kept.min()

    @given(seeds, st.sampled_from([(2, 4), (1, 4), (0, 4), (4, 8)]))
    def test_pattern(self, seed, pattern):
        """Every group of neighbours has its zeros, the lowest of it."""
        weight, _ = problem(seed)
        zeros, of = pattern
        mask = pattern_mask(weight.abs(), Pattern(zeros=zeros, of=of)).unflatten(1, (-1, of))
        assert ((~mask).sum(-1) == zeros).all()

    def test_refused(self):
        """Rows that are no multiple, more zeros than weights, more than all."""
        with pytest.raises(ValueError, match="multiple of 4"):
            pattern_mask(torch.ones(2, 6), Pattern(zeros=2, of=4))
        with pytest.raises(ValueError, match="zeros <= of"):
            Pattern(zeros=5, of=4)
        with pytest.raises(ValueError, match="sparsity"):
            magnitude_mask(torch.ones(2, 2), 1.5)


class TestSparseGpt:
    @settings(max_examples=20)
    @given(seeds, st.sampled_from([4, 8, 128]), st.floats(0.1, 0.9))
    def test_share(self, seed, block, share):
        """The share holds in each block of columns."""
        weight, moments = problem(seed)
        made = sparse_gpt(weight, moments, share, block=block)
        for part in made.split(block, 1):
            assert int((part == 0).sum()) == round(share * part.numel())

    @settings(max_examples=20)
    @given(seeds)
    def test_pattern(self, seed):
        """2:4 zeros, two of every four."""
        weight, moments = problem(seed)
        made = sparse_gpt(weight, moments, Pattern(zeros=2, of=4), block=8)
        assert ((made.unflatten(1, (-1, 4)) == 0).sum(-1) == 2).all()

    def test_making_up_helps(self):
        """Over many problems, beside the same zeros with the other weights as they were: greedy, so not in each one."""
        moved = kept = 0.0
        for seed in range(20):
            weight, moments = problem(seed)
            made = sparse_gpt(weight, moments, 0.5)
            moved += output_error(made - weight, moments)
            kept += output_error(weight * (made != 0) - weight, moments)
        assert moved < 0.8 * kept

    def test_nothing_asked(self):
        """No zeros, the weights themselves; a channel that never carries anything goes."""
        weight, moments = problem(0)
        assert torch.allclose(sparse_gpt(weight, moments, 0.0), weight)
        moments.gram[3], moments.gram[:, 3] = 0, 0
        assert (sparse_gpt(weight, moments, 0.0)[:, 3] == 0).all()
