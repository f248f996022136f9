from __future__ import annotations

from harness.submission.page import render
from harness.submission.table import markdown_table


class TestPage:
    def test_says_that_a_demo_is_no_entry(self, bundle):
        """The edition's notice stands at the top, before any number."""
        text = render(bundle.submission, bundle.recipe, bundle.edition)
        assert bundle.edition.notice in text
        assert text.index(bundle.edition.notice) < text.index("## Results")
        assert "not eligible" in text

    def test_tells_the_story_side_by_side(self, bundle):
        """Each model has one table with the four checkpoints as columns and every task as a row."""
        text = render(bundle.submission, bundle.recipe, bundle.edition)
        headers = [line for line in text.splitlines() if line.split("|")[2:6] and "compressed" in line and "|" in line]
        assert len(headers) == 3
        for header in headers:
            assert [cell.strip() for cell in header.split("|")[2:-1]] == ["base", "compressed", "final", "control"]
        for task in bundle.edition.tasks:
            assert sum(line.startswith(f"| {task} ") for line in text.splitlines()) == 3

    def test_says_how_to_run_it_again_and_in_which_units(self, bundle):
        """The command and the units are on the page."""
        text = render(bundle.submission, bundle.recipe, bundle.edition)
        assert "harness submit --plugin baseline-l1" in text
        assert bundle.edition.measurement.memory_unit in text
        assert "TruthfulQA 0-1" in text

    def test_says_which_tasks_are_missing(self, bundle):
        """An entry that was not scored on every task says so before any number; a complete one does not."""
        mean = bundle.submission.mean
        part = bundle.submission.model_copy(update={"mean": mean.model_copy(update={"tasks": mean.tasks[2:]})})
        text = render(part, bundle.recipe, bundle.edition)
        columns = [rule.column for rule in bundle.edition.tasks.values()]
        note = f"incomplete: not scored on {columns[0]}, {columns[1]}"
        assert text.index(note) < text.index("## Results")
        assert "incomplete" not in render(bundle.submission, bundle.recipe, bundle.edition)

    def test_what_was_not_measured_is_a_dash(self, bundle):
        """A missing measurement is never a zero."""
        model = bundle.submission.models[0]
        result = model.checkpoints[0]
        bare = result.model_copy(update={"measurements": type(result.measurements)()})
        model = model.model_copy(update={"checkpoints": (bare,)})
        submission = bundle.submission.model_copy(update={"models": (model,)})
        text = render(submission, bundle.recipe, bundle.edition)
        row = next(line for line in text.splitlines() if line.startswith("| bits per byte"))
        assert row.split("|")[2].strip() == "-"


class TestMarkdownTable:
    def test_lines_up(self):
        """Every line has the same length and the same number of bars."""
        lines = markdown_table(("a", "long header"), [("a longer cell", "1"), ("x", "")]).splitlines()
        assert len({len(line) for line in lines}) == 1
        assert {line.count("|") for line in lines} == {3}

    def test_no_cell_breaks_out(self):
        """Bars and line breaks in a cell stay in the cell."""
        lines = markdown_table(("a",), [("x | y\n| z |",)]).splitlines()
        assert len(lines) == 3
        assert lines[2] == r"| x \| y \| z \| |"
