from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.validation.smuggling.grid import Grid, expected_distinct, grid_of
from harness.validation.smuggling.group import MIN_EVIDENCE, look
from harness.validation.smuggling.lattice import fit

HALF = Grid(precision=11, smallest=2.0**-24)
SINGLE = Grid(precision=24, smallest=0.0)


def distinct(values):
    found = np.unique(values.astype(np.float64))
    return found[found != 0]


class TestFit:
    @given(
        seed=st.integers(0, 2**32 - 1),
        steps=st.integers(7, 127),
        scale=st.floats(1e-4, 10.0),
        shift=st.sampled_from([0.0, 0.3, 1.7]),
    )
    def test_finds_every_lattice_through_fp16(self, seed, steps, scale, shift):
        """Whole multiples of a step, moved or not and rounded to FP16, are found with the evidence asked for."""
        whole = np.random.default_rng(seed).integers(-steps, steps + 1, 64)
        found = fit(distinct(((whole + shift) * scale).astype(np.float16)), HALF)
        assert found is not None
        assert found.evidence >= MIN_EVIDENCE

    @given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 10.0), degrees=st.sampled_from([2.0, 3.0, 30.0]))
    def test_finds_none_in_values_that_fall_anywhere(self, seed, scale, degrees):
        """Heavy tails or not, smooth values in FP16 have no lattice worth the evidence."""
        values = scale * np.random.default_rng(seed).standard_t(degrees, 64)
        found = fit(distinct(values.astype(np.float16)), HALF)
        assert found is None or found.evidence < MIN_EVIDENCE

    def test_one_outlier_makes_no_lattice(self):
        """Small values beside a huge one lie near zero of any lattice; they are not on it one by one."""
        values = np.append(1e-3 * np.random.default_rng(0).standard_normal(63), 60.0).astype(np.float16)
        assert fit(distinct(values), HALF) is None

    @pytest.mark.parametrize("bits", [4, 8])
    def test_states_the_bits(self, bits):
        """The steps between the ends are those of the quantiser."""
        whole = np.arange(2**bits) - 2 ** (bits - 1)
        found = fit(distinct((whole * 0.0371).astype(np.float32)), SINGLE)
        assert found is not None
        assert found.bits == bits
        assert found.step == pytest.approx(0.0371, rel=1e-5)


class TestGrid:
    @pytest.mark.parametrize(("kind", "precision"), [("bf16", 8), ("f16", 11), ("f32", 24)])
    def test_sees_what_values_once_were(self, kind, precision):
        """The precision is that of the coarsest dtype that they went through, whatever stores them now."""
        values = np.random.default_rng(0).standard_normal(500).astype(np.float32)
        if kind == "f16":
            values = values.astype(np.float16).astype(np.float32)
        if kind == "bf16":
            values = (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        assert grid_of(values, "F32").precision == precision

    @given(seed=st.integers(0, 2**32 - 1), count=st.integers(16, 4096), scale=st.floats(1e-6, 100.0))
    def test_smooth_values_have_the_expected_number_of_different_ones(self, seed, count, scale):
        """Within a quarter, for Gaussian values in FP16, down to those below its smallest normal number."""
        values = (scale * np.random.default_rng(seed).standard_normal(count)).astype(np.float16).astype(np.float32)
        present = values[values != 0]
        found = len(np.unique(present))
        assert found >= 0.75 * expected_distinct(present, HALF) if len(present) else found == 0


class TestLook:
    def test_zeros_do_not_count(self):
        """Pruned weights are judged by what is left of them."""
        values = np.random.default_rng(0).standard_normal(64).astype(np.float16).astype(np.float32)
        values[::2] = 0
        seen = look(values, HALF)
        assert seen is not None
        assert not seen.is_hit
        assert seen.distinct == 32

    @pytest.mark.parametrize("values", [np.zeros(64), np.full(64, 0.5), np.full(64, np.nan), np.ones(5)])
    def test_what_cannot_be_judged_is_none(self, values):
        """Nothing is said of zeros, constants, values that are no numbers, or a handful."""
        assert look(values.astype(np.float32), HALF) is None

    def test_a_codebook_of_sixteen_is_found(self):
        """Sixteen values at random places, drawn from again and again."""
        random = np.random.default_rng(0)
        book = random.standard_normal(16).astype(np.float16).astype(np.float32)
        seen = look(book[random.integers(0, 16, 64)], HALF)
        assert seen is not None
        assert seen.is_codebook
