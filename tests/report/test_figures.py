"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import figures


class TestFigures:
    @pytest.mark.parametrize(
        ("shown", "expected"),
        [
            (figures.number(0.39954), "0.3995"),
            (figures.number(15033.2), "15,033"),
            (figures.number(float("nan")), figures.ABSENT),
            (figures.number(None), figures.ABSENT),
            (figures.count(1_180_800), "1.18 M"),
            (figures.count(512), "512"),
            (figures.size(2_361_600), "2.36 MB"),
            (figures.size(12_000_000_000), "12.00 GB"),
            (figures.share(0.49), "49.0 %"),
            (figures.duration(3.21), "3.2 s"),
            (figures.duration(724), "12 m 04 s"),
            (figures.duration(18_600), "5 h 10 m"),
            (figures.interval(65.05, 78.88), "65 to 78.9"),
            (figures.interval(None, None), ""),
            (figures.measured(4e8, "bytes"), "400.00 MB"),
            (figures.measured(12.5, "tokens/s"), "12.5 tokens/s"),
        ],
    )
    def test_has_unit_and_no_more_digits_than_it_is_worth(self, shown, expected):
        """One way of writing for each kind of number."""
        assert shown == expected

    @given(st.floats(min_value=0, max_value=10**7))
    def test_a_duration_is_told_to_its_last_unit(self, seconds):
        """Read back it is the duration, but for rounding."""
        parts = figures.duration(seconds).split()
        worth = {"h": 3600, "m": 60, "s": 1}
        told = sum(float(number) * worth[unit] for number, unit in zip(parts[::2], parts[1::2], strict=True))
        assert abs(told - seconds) <= (60 if "h" in parts else 1)
