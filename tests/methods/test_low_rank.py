"""Factors are the best of their rank in the norm that was asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import MeasurementFailed
from harness.methods.low_rank import (
    activation_scale,
    break_even_rank,
    factorise,
    output_scale,
    rank_of_fraction,
    whitening,
)

SHAPES = [(12, 30), (30, 12), (16, 16)]


def make(shape, seed=0, tokens=200):
    """A weight, inputs that are far from alike, and the Gram matrix of these."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator)
    mixing = torch.randn(shape[1], shape[1], generator=generator) * torch.logspace(0, -2, shape[1])
    x = torch.randn(tokens, shape[1], generator=generator) @ mixing
    return weight, x.double(), x.double().T @ x.double()


def error(weight, factors, x, outputs=None):
    """Squared error of the outputs for the inputs ``x``, over ``outputs`` where given."""
    left, right = (part.double() for part in factors)
    off = (weight.double() - left @ right) @ x.T
    return float((off if outputs is None else off / outputs[:, None]).square().sum())


class TestFactorise:
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("split", ["balanced", "both", "left", "right"])
    @pytest.mark.parametrize("scaling", ["plain", "asvd", "whitened", "norm"])
    def test_full_rank_reproduces(self, shape, split, scaling):
        """At the full rank A B is W, whatever the scales are and wherever the singular values go."""
        weight, x, gram = make(shape)
        inputs = {"plain": None, "asvd": activation_scale(x.abs().mean(0))}.get(scaling, whitening(gram))
        outputs = output_scale(torch.rand(shape[0]) + 0.1) if scaling == "norm" else None
        found = factorise(weight, inputs=inputs, outputs=outputs, split=split)
        torch.testing.assert_close(found.left @ found.right, weight, rtol=1e-4, atol=1e-4)

    @settings(max_examples=25, deadline=None)
    @given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 9), rank=st.integers(1, 11))
    def test_whitened_error_is_the_dropped_energy(self, shape, seed, rank):
        """|(W - AB) X|^2 equals the sum of the squared singular values past the rank."""
        weight, x, gram = make(shape, seed)
        found = factorise(weight, inputs=whitening(gram))
        torch.testing.assert_close(
            error(weight, found.cut(rank), x), float(found.dropped_energy()[rank]), rtol=1e-3, atol=1e-4
        )

    def test_scaled_error_is_the_dropped_energy(self):
        """The same with outputs weighed by their size."""
        weight, x, gram = make((12, 30))
        outputs = output_scale((x @ weight.double().T).abs().mean(0).sqrt())
        found = factorise(weight, inputs=whitening(gram), outputs=outputs)
        torch.testing.assert_close(
            error(weight, found.cut(5), x, outputs), float(found.dropped_energy()[5]), rtol=1e-4, atol=0.0
        )

    @settings(max_examples=20, deadline=None)
    @given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 9), rank=st.integers(1, 11))
    def test_whitened_is_the_best_on_its_inputs(self, shape, seed, rank):
        """On the calibration inputs whitened is at most ASVD and plain; on the bare weight plain is at most both."""
        weight, x, gram = make(shape, seed)
        made = {
            "plain": factorise(weight),
            "asvd": factorise(weight, inputs=activation_scale(x.abs().mean(0))),
            "whitened": factorise(weight, inputs=whitening(gram)),
        }
        on_inputs = {name: error(weight, found.cut(rank), x) for name, found in made.items()}
        bare = {name: error(weight, found.cut(rank), torch.eye(shape[1]).double()) for name, found in made.items()}
        assert on_inputs["whitened"] <= min(on_inputs.values()) * (1 + 1e-4) + 1e-6
        assert bare["plain"] <= min(bare.values()) * (1 + 1e-4) + 1e-6

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("whitened", [False, True])
    def test_gram_equals_full_svd(self, shape, whitened):
        """The quick way has the singular values and, at every rank, the error of the slow one, to five digits."""
        weight, x, gram = make(shape)
        inputs = whitening(gram) if whitened else None
        quick, slow = (factorise(weight, inputs=inputs, method=method) for method in ("gram", "svd"))
        torch.testing.assert_close(quick.singular_values, slow.singular_values, rtol=1e-5, atol=1e-8)
        for rank in (1, 4, 9):
            found, expected = (error(weight, made.cut(rank), x) for made in (quick, slow))
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)

    def test_balanced_directions(self):
        """Each has the same norm in A and in B, however large the calibration; the product is that of the roots."""
        weight, _, gram = make((12, 30))
        small, large = (factorise(weight, inputs=whitening(times * gram)) for times in (1.0, 1e6))
        torch.testing.assert_close(small.left.norm(dim=0), small.right.norm(dim=1))
        torch.testing.assert_close(small.left.abs(), large.left.abs(), rtol=1e-4, atol=1e-5)
        roots = factorise(weight, inputs=whitening(gram), split="both")
        torch.testing.assert_close(small.left[:, :5] @ small.right[:5], roots.left[:, :5] @ roots.right[:5])

    def test_error_falls_with_rank(self):
        """Every direction helps, and none more than the one before."""
        weight, _, gram = make((12, 30))
        dropped = factorise(weight, inputs=whitening(gram)).dropped_energy()
        steps = -dropped.diff()
        assert bool((steps >= -1e-9).all())
        assert bool((steps.diff() <= 1e-6).all())

    def test_smaller_ranks_are_slices(self):
        """What was made for a small rank is the front of what was made for all."""
        weight, _, gram = make((12, 30))
        inputs = whitening(gram)
        whole, part = factorise(weight, inputs=inputs), factorise(weight, inputs=inputs, largest_rank=5)
        for found, expected in zip(part.cut(5), whole.cut(5), strict=True):
            torch.testing.assert_close(found, expected)
        assert part.energy == pytest.approx(whole.energy)

    def test_equal_scales_are_none(self):
        """Outputs that all weigh 1 change nothing."""
        weight, _, gram = make((12, 30))
        inputs = whitening(gram)
        with_ones = factorise(weight, inputs=inputs, outputs=torch.ones(12))
        torch.testing.assert_close(with_ones.left, factorise(weight, inputs=inputs).left)

    def test_a_weight_of_low_rank(self):
        """Directions that do not exist are zero, and none of them is infinite."""
        weight = torch.outer(torch.arange(1.0, 7.0), torch.arange(1.0, 10.0))
        found = factorise(weight)
        torch.testing.assert_close(found.left @ found.right, weight)
        torch.testing.assert_close(found.left[:, :1] @ found.right[:1], weight)
        assert bool(torch.isfinite(found.left).all() and torch.isfinite(found.right).all())

    @pytest.mark.parametrize(
        "wrong",
        [
            {"largest_rank": 0},
            {"largest_rank": 13},
            {"inputs": torch.ones(12)},
            {"outputs": torch.ones(30)},
            {"outputs": torch.zeros(12)},
        ],
    )
    def test_refuses(self, wrong):
        """Ranks and scales that do not fit."""
        with pytest.raises(ValueError, match="must be"):
            factorise(torch.ones(12, 30), **wrong)

    def test_infinity_is_told(self):
        """A weight that is not finite has no factors."""
        with pytest.raises(MeasurementFailed, match="not finite"):
            factorise(torch.full((4, 4), torch.inf))


class TestWhitening:
    def test_is_a_root_of_the_gram_matrix(self):
        """L L^T is the matrix, to FP64."""
        gram = make((4, 9))[2]
        factor = whitening(gram)
        torch.testing.assert_close(factor @ factor.T, gram)
        assert factor.dtype is torch.float64

    def test_fewer_tokens_than_inputs(self):
        """A singular matrix is damped by a millionth of its diagonal or so, and the full rank still gives W back."""
        weight, x, gram = make((12, 30), tokens=7)
        factor = whitening(gram)
        added = (factor @ factor.T - gram).diagonal()
        assert 0 < float(added.mean()) < 1e-3 * float(gram.diagonal().mean())
        found = factorise(weight, inputs=factor)
        torch.testing.assert_close(found.left @ found.right, weight, rtol=1e-3, atol=1e-3)
        assert error(weight, found.cut(8), x) < 1e-3 * error(weight, factorise(weight).cut(8), x)

    def test_no_statistics(self):
        """Moments that are not finite are no moments."""
        with pytest.raises(MeasurementFailed, match="Cholesky"):
            whitening(torch.full((3, 3), torch.nan))


class TestCounting:
    @settings(max_examples=50, deadline=None)
    @given(rows=st.integers(2, 300), columns=st.integers(2, 300))
    def test_break_even(self, rows, columns):
        """One rank more would not save anything."""
        rank = break_even_rank(rows, columns)
        assert rank * (rows + columns) < rows * columns <= (rank + 1) * (rows + columns)

    @pytest.mark.parametrize(
        ("shape", "fraction", "rank"),
        [((5376, 4096), 0.85, 1976), ((4096, 3584), 0.85, 1624), ((22936, 4096), 0.85, 2954), ((4, 4), 1e-9, 1)],
    )
    def test_nics(self, shape, fraction, rank):
        """``int(mn rho / (m + n))``, by hand for the linears of the pruned Llama."""
        assert rank_of_fraction(*shape, fraction) == rank
