"""The workspace: finished is one rename away from unfinished, and touched files are noticed."""

from __future__ import annotations

import pytest

from harness.document import digest_of
from harness.run.stepping import Product, perform, perform_together
from harness.run.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "w")


def make(folder, text="weights"):
    made = folder / "work" / "made"
    made.mkdir(parents=True, exist_ok=True)
    (made / "model").write_text(text)
    return Product(value={"n": 1}, duration_s=1.0, peak_memory_bytes=2, made=made)


class TestPerform:
    def test_work_is_done_once(self, workspace):
        """The second time the record comes back and the work is not called."""
        first = perform(workspace, {"a": 1}, make)
        second = perform(workspace, {"a": 1}, lambda _folder: pytest.fail("called again"))
        assert not first.reused
        assert second.reused
        assert first.record == second.record
        assert (workspace.output(first.record.key) / "model").read_text() == "weights"

    def test_other_dependences_are_other_work(self, workspace):
        """A changed value anywhere in what it depends on is another step."""
        keys = {perform(workspace, {"a": value}, make).record.key for value in (1, 2)}
        assert len(keys) == 2

    def test_touched_output_is_done_again(self, workspace):
        """A file that was changed behind the workspace's back is not taken for the step's result."""
        done = perform(workspace, {"a": 1}, make)
        (workspace.output(done.record.key) / "model").write_text("something else")
        again = perform(workspace, {"a": 1}, make)
        assert not again.reused
        assert (workspace.output(done.record.key) / "model").read_text() == "weights"

    def test_failed_work_leaves_its_folder_to_the_next_try(self, workspace):
        """State that a step kept before it died is there when it is tried again."""

        def die(folder):
            (folder / "work" / "state").write_text("half way")
            raise RuntimeError("killed")

        with pytest.raises(RuntimeError):
            perform(workspace, {"a": 1}, die)

        def resume(folder):
            assert (folder / "work" / "state").read_text() == "half way"
            return make(folder)

        assert not perform(workspace, {"a": 1}, resume).reused

    def test_a_try_that_was_killed_while_it_finished_is_no_hindrance(self, workspace):
        """An output without a record is made again."""
        key = digest_of({"a": 1})
        left = workspace.partial(key) / "output"
        left.mkdir()
        (left / "model").write_text("torn")
        done = perform(workspace, {"a": 1}, make)
        assert (workspace.output(done.record.key) / "model").read_text() == "weights"

    def test_half_a_record_is_no_record(self, workspace):
        """A finished folder without a whole record is not finished."""
        done = perform(workspace, {"a": 1}, make)
        (workspace.folder(done.record.key) / "record.json").write_text("{")
        assert workspace.finished(done.record.key) is None


class TestPerformTogether:
    def test_only_what_is_missing_is_worked_on_and_each_is_kept_by_itself(self, workspace):
        """Two of three were not there: one call for the two, and afterwards none."""
        perform(workspace, {"n": "a"}, lambda folder: make(folder, "a"))
        calls = []

        def work(folders):
            calls.append(sorted(folders))
            return {name: make(folder, name) for name, folder in folders.items()}

        pieces = {name: {"n": name} for name in "abc"}
        first, second = (perform_together(workspace, pieces, work) for _ in range(2))
        assert calls == [["b", "c"]]
        assert [first[name].reused for name in "abc"] == [True, False, False]
        assert all(one.reused for one in second.values())
        texts = [(workspace.output(first[name].record.key) / "model").read_text() for name in "abc"]
        assert texts == ["a", "b", "c"]

    def test_a_failure_keeps_none_of_them(self, workspace):
        """What one call did not finish is not there."""

        def fail(_folders):
            raise RuntimeError("no")

        with pytest.raises(RuntimeError):
            perform_together(workspace, {"a": {"n": 1}, "b": {"n": 2}}, fail)
        assert workspace.finished(digest_of({"n": 1})) is None
