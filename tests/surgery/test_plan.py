"""A plan is a file one can read, and it is held against the model before anything moves."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.errors import UsageError
from harness.surgery.anatomy import load
from harness.surgery.plan import AxisPlan, Plan, format_ranges, keep_all, parse_ranges, plan_of
from harness.surgery.shape import reduced_config

ANATOMY = load(
    {
        "model_type": "llama",
        "vocab_size": 300,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
)


class TestRanges:
    @given(units=st.sets(st.integers(0, 200), min_size=1).map(sorted))
    def test_round_trip(self, units):
        """Every set of units survives, and in one spelling only."""
        assert parse_ranges(format_ranges(units)) == tuple(units)

    def test_reads_well(self):
        """Runs are short."""
        assert format_ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"

    @pytest.mark.parametrize("text", ["", "a", "1-2-3", "5-2", "0-99999999999", "0-9,,2"])
    def test_refuses(self, text):
        """What is no range of reasonable size is refused before it is spelt out."""
        with pytest.raises(ValueError, match=r"range must|invalid literal"):
            parse_ranges(text)


class TestPlan:
    def test_file_round_trip(self, tmp_path):
        """Written and read, it is the same plan; the file shows ranges."""
        plan = plan_of(ANATOMY, {"intermediate": [range(0, 96, 2), range(48)], "kv_group": [[0], [1]]})
        plan.write(tmp_path / "plan.json")
        assert Plan.read(tmp_path / "plan.json") == plan
        assert json.loads((tmp_path / "plan.json").read_text())["axes"]["intermediate"]["keep"][1] == "0-47"

    @pytest.mark.parametrize("keep", [(), ((),), ((1, 0),), ((0, 0),), ((0, 4),), ((-1,),)])
    def test_units_must_be_ascending_and_within(self, keep):
        """Nothing kept, twice, out of order or out of range is a plan."""
        with pytest.raises(ValidationError):
            AxisPlan(unit_count=4, keep=keep)

    @pytest.mark.parametrize(
        ("keep", "message"),
        [
            ({"intermediate": [[0]]}, "2 entries"),
            ({"hidden": [[0], [1]]}, "1 entries"),
            ({"kv_group": [[0]] * 3}, "2 entries"),
        ],
    )
    def test_one_entry_per_layer(self, keep, message):
        """Axes of layers have one entry per layer, axes of the model have one."""
        with pytest.raises(UsageError, match=message):
            plan_of(ANATOMY, keep)

    def test_is_for_one_model(self):
        """Another architecture, another size and an unknown axis are told apart."""
        with pytest.raises(UsageError, match="for a phi"):
            Plan(model_type="phi").check(ANATOMY)
        with pytest.raises(UsageError, match="planned for 8 units, the checkpoint has 96"):
            Plan(model_type="llama", axes={"intermediate": AxisPlan(unit_count=8, keep=((0,), (0,)))}).check(ANATOMY)
        with pytest.raises(UsageError, match="no axis 'channel'"):
            Plan(model_type="llama", axes={"channel": AxisPlan(unit_count=8, keep=((0,),))}).check(ANATOMY)

    def test_rotated_dimensions_stay(self):
        """The rotation pairs the dimensions of a head, so they are no axis to cut."""
        with pytest.raises(UsageError, match="rotation pairs"):
            plan_of(ANATOMY, {"head_dim": [range(8)]})

    def test_unit_counts_of_ragged_layers(self):
        """A plan for layers of different widths says each width, and is held against each."""
        ragged = load(reduced_config(ANATOMY.config, plan_of(ANATOMY, {"intermediate": [range(80), range(64)]})))
        plan = plan_of(ragged, {"intermediate": [range(70), range(60)]})
        assert plan.axes["intermediate"].unit_count == (80, 64)
        with pytest.raises(UsageError, match="planned for 96 units, the checkpoint has 80"):
            plan_of(ANATOMY, {"intermediate": [range(64)] * 2}).check(ragged)

    def test_keep_all_removes_nothing(self):
        """All sizes stay."""
        assert keep_all(ANATOMY).sizes(ANATOMY, 1) == ANATOMY.sizes
