"""A table of layers' latency: exact where costs add up, refused where nothing was timed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.methods.latency import LatencyTable

LAYERS, WHOLE = 6, {"kv_group": 4, "intermediate": 384}
costs = st.floats(1e-7, 1e-4)


def seconds_of(shapes, fixed, group, channel):
    """A device on which a layer's cost is linear in its widths."""
    return fixed + sum(group * shape["kv_group"] + channel * shape["intermediate"] for shape in shapes)


def table_of(fixed, group, channel):
    def timed(axis, value, layers=LAYERS):
        return seconds_of([{**WHOLE, axis: value}] * layers, fixed, group, channel)

    return LatencyTable.of(
        "imagined",
        whole_s=timed("kv_group", 4),
        shortened=(timed("kv_group", 4, layers=2), 2),
        layer_count=LAYERS,
        by_axis={
            "kv_group": {1: timed("kv_group", 1)},
            "intermediate": {width: timed("intermediate", width) for width in (64, 200)},
        },
        whole_shape=WHOLE,
    )


class TestLatencyTable:
    @given(
        costs,
        costs,
        costs,
        st.lists(st.fixed_dictionaries({"kv_group": st.integers(1, 4), "intermediate": st.integers(64, 384)})),
    )
    def test_exact_where_costs_add_up(self, fixed, group, channel, shapes):
        """Any shapes of any layers, between the values that were timed too."""
        expected = seconds_of(shapes, fixed, group, channel)
        assert table_of(fixed, group, channel).model(shapes) == pytest.approx(expected, rel=1e-6, abs=1e-9)

    def test_an_axis_left_out_is_whole(self):
        """A layer nobody cut costs what it costs."""
        table = table_of(1e-5, 1e-6, 1e-7)
        assert table.layer({}) == table.layer(WHOLE) == pytest.approx(4e-6 + 384e-7)

    def test_a_file(self, tmp_path):
        """Numbers of axes are numbers again."""
        table = table_of(1e-5, 1e-6, 1e-7)
        table.write(tmp_path / "table.json")
        assert LatencyTable.read(tmp_path / "table.json") == table

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ({"rank": 8}, "'rank' was not timed; there are kv_group, intermediate"),
            ({"intermediate": 32}, "intermediate was timed from 64 to 384, asked for 32"),
            ({"kv_group": 5}, "kv_group was timed from 1 to 4, asked for 5"),
        ],
    )
    def test_no_guess_outside_what_was_timed(self, shape, message):
        """Neither a new axis nor a line beyond its ends."""
        with pytest.raises(ValueError, match=message):
            table_of(1e-5, 1e-6, 1e-7).layer(shape)

    @pytest.mark.parametrize("kept", [0, LAYERS])
    def test_the_shorter_model_is_shorter(self, kept):
        """A layer's cost is a difference over at least one layer."""
        with pytest.raises(ValueError, match="must have 1 to 5 layers"):
            LatencyTable.of(
                "imagined", whole_s=2.0, shortened=(1.0, kept), layer_count=LAYERS, by_axis={}, whole_shape=WHOLE
            )
