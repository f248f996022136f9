"""What cutting an axis means for a dimension that is written in axes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.surgery.dimension import axes_of, kept_positions, length, parse_dimension, unit_sums

SIZES = {"kv_group": 3, "head": 2, "head_dim": 4, "intermediate": 5, "hidden": 7}
DIMENSIONS = [
    "kv_group * head * head_dim",
    "kv_group * head_dim",
    "intermediate + intermediate",
    "kv_group * head * head_dim + kv_group * head_dim + kv_group * head_dim",
]


class TestKeptPositions:
    def test_query_rows_of_a_group(self):
        """Group 1 of three has query heads 2 and 3, so rows 8 to 15."""
        dimension = parse_dimension("kv_group * head * head_dim")
        assert kept_positions(dimension, SIZES, {"kv_group": np.array([1])}).tolist() == list(range(8, 16))

    def test_fused_blocks_are_cut_alike(self):
        """[gate; up] loses the same rows in both halves."""
        positions = kept_positions(
            parse_dimension("intermediate + intermediate"), SIZES, {"intermediate": np.array([0, 3])}
        )
        assert positions.tolist() == [0, 3, 5, 8]

    def test_untouched_dimension(self):
        """Where no cut axis is named, nothing is to be taken."""
        assert kept_positions(parse_dimension("hidden"), SIZES, {"intermediate": np.array([0])}) is None

    @given(text=st.sampled_from(DIMENSIONS), data=st.data())
    def test_keeps_exactly_the_positions_of_kept_units(self, text, data):
        """A position stays if and only if its unit does, and order is kept."""
        dimension = parse_dimension(text)
        axis = data.draw(st.sampled_from(sorted(axes_of(dimension))))
        keep = np.array(sorted(data.draw(st.sets(st.integers(0, SIZES[axis] - 1), min_size=1))))
        positions = kept_positions(dimension, SIZES, {axis: keep})
        assert (np.diff(positions) > 0).all()
        assert len(positions) == length(dimension, {**SIZES, axis: len(keep)})
        marks = np.zeros(length(dimension, SIZES))
        marks[positions] = 1
        touched = unit_sums(dimension, axis, SIZES, marks)
        assert set(np.flatnonzero(touched)) == set(keep)


class TestUnitSums:
    @given(text=st.sampled_from(DIMENSIONS), axis=st.sampled_from(["kv_group", "intermediate", "head", "head_dim"]))
    def test_nothing_is_lost(self, text, axis):
        """Where every block names the axis, the sums over units add up to the whole."""
        dimension = parse_dimension(text)
        values = np.random.default_rng(0).normal(size=length(dimension, SIZES))
        sums = unit_sums(dimension, axis, SIZES, values)
        assert sums.shape == (SIZES[axis],)
        if all(axis in block for block in dimension):
            assert sums.sum() == pytest.approx(values.sum())


@pytest.mark.parametrize("text", ["", "2 * hidden", "hidden -", "a.b"])
def test_refuses_what_is_no_dimension(text):
    """Only names, products and sums."""
    with pytest.raises(ValueError, match="sum of products"):
        parse_dimension(text)
