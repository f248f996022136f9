"""What can be drawn of a step's notes: a plugin may write anything, and nothing of it is lost or fatal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.report import recorded
from harness.submission.model_result import StepRecord

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def step(**notes):
    return StepRecord(
        stage="train",
        method="lora",
        key="0" * 64,
        checkpoint_digest="1" * 64,
        parameter_count=1,
        duration_s=1.0,
        peak_memory_bytes=1,
        notes=notes,
    )


class TestNotes:
    @given(st.dictionaries(st.sampled_from(["history", "loss_first", "loss_last", "ranks", "x"]), JSON))
    def test_every_note_is_shown_once(self, notes):
        """Drawn or written, whatever its form."""
        found = step(**notes)
        drawn = [one.title for one in (*recorded.bars(found), *recorded.grids(found))]
        written = [name for name, _ in recorded.plain(found)]
        curved = ["history"] if recorded.curves(found) else []
        assert sorted([*drawn, *written, *curved]) == sorted(notes)
        for curve in recorded.curves(found).values():
            assert len(curve.updates) == len(curve.values) > 1
        recorded.ends(found)

    def test_a_curve_knows_its_updates(self):
        """Those that were recorded, or counted from 1."""
        given_updates = recorded.curves(step(history={"loss": [3, 2, 1], "optimizer_step": [1, 10, 20]}))
        assert given_updates["loss"].updates == (1, 10, 20)
        assert recorded.curves(step(history={"loss": [3, 2]}))["loss"].updates == (1, 2)

    def test_updates_that_do_not_rise_are_not_believed(self):
        """Or that are not as many: then the points are counted."""
        for updates in ([1, 1, 2], [1, 2], ["a", "b", "c"]):
            curve = recorded.curves(step(history={"loss": [3, 2, 1], "optimizer_step": updates}))["loss"]
            assert curve.updates == (1, 2, 3)

    def test_tables_are_rectangles_of_numbers(self):
        """Ragged or mixed ones are text."""
        assert recorded.grids(step(x=[[1, 2], [3, 4]]))[0].values == ((1, 2), (3, 4))
        for other in ([[1, 2], [3]], [[1, "a"]], [[]], [], [[True]]):
            assert recorded.grids(step(x=other)) == ()

    def test_both_ends_or_none(self):
        """Of the loss."""
        assert recorded.ends(step(loss_first=3, loss_last=1.5)) == (3.0, 1.5)
        assert recorded.ends(step(loss_first=3)) is None
        assert recorded.ends(step(loss_first=3, loss_last="low")) is None
