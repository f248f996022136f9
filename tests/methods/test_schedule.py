from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.methods.schedule import warmup_cosine, warmup_stable_decay, warmup_stable_half_life

COUNTS = st.tuples(st.integers(0, 20), st.integers(1, 50), st.integers(1, 20))


class TestWarmupCosine:
    @pytest.mark.parametrize(
        ("step", "rate"), [(0, 0.25), (3, 1.0), (4, 1.0), (8, 0.1 + 0.9 * 0.5), (12, 0.1), (20, 0.1)]
    )
    def test_at_the_joints(self, step, rate):
        """A quarter at once, the peak after warm-up, half-way in the middle, the floor at the end and beyond."""
        found = warmup_cosine(step, peak=1.0, step_count=12, warmup_count=4, floor_fraction=0.1)
        assert found == pytest.approx(rate)

    @given(COUNTS)
    def test_rises_then_falls_within_bounds(self, counts):
        """Never above the peak, never below zero, and one top."""
        warmup, rest, _ = counts
        rates = [warmup_cosine(step, peak=3.0, step_count=warmup + rest, warmup_count=warmup) for step in range(70)]
        assert all(0 <= rate <= 3.0 for rate in rates)
        assert rates[:warmup] == sorted(rates[:warmup])
        assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


class TestWarmupStableDecay:
    @pytest.mark.parametrize(
        ("step", "rate"), [(0, 0.5), (1, 1.0), (2, 1.0), (15, 1.0), (16, 1.0), (18, 0.5), (19, 0.25), (20, 0.0)]
    )
    def test_at_the_joints(self, step, rate):
        """Warm-up ends at the peak, the fall begins from it and would end at the floor."""
        found = warmup_stable_decay(step, peak=1.0, step_count=20, warmup_count=2, decay_count=4)
        assert found == pytest.approx(rate)

    @given(COUNTS)
    def test_is_level_between_warmup_and_decay(self, counts):
        """Between the joints the rate is the peak, exactly: two lengths of training are one run until the fall."""
        warmup, level, decay = counts
        steps = range(warmup, warmup + level + 1)
        total = warmup + level + decay
        assert {
            warmup_stable_decay(step, peak=2.0, step_count=total, warmup_count=warmup, decay_count=decay)
            for step in steps
        } == {2.0}


class TestWarmupStableHalfLife:
    @pytest.mark.parametrize(
        ("step", "rate"), [(0, 0.25), (3, 1.0), (4, 1.0), (10, 1.0), (15, 0.5), (20, 0.25), (12, 2**-0.4)]
    )
    def test_at_the_joints(self, step, rate):
        """Warm-up ends at the peak, the fall begins from it, and every five steps halve it."""
        found = warmup_stable_half_life(step, peak=1.0, warmup_count=4, decay_start=10, half_life_count=5)
        assert found == pytest.approx(rate)

    @given(COUNTS, st.integers(0, 60))
    def test_halves_wherever_one_looks(self, counts, later):
        """From any step of the fall, a half-life on, the rate is half."""
        warmup, level, half_life = counts
        start = warmup + level
        rates = [
            warmup_stable_half_life(
                start + later + shift, peak=2.0, warmup_count=warmup, decay_start=start, half_life_count=half_life
            )
            for shift in (0, half_life)
        ]
        assert rates[1] == pytest.approx(rates[0] / 2)
