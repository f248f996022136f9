"""The graph of the data: every data set that was read, every step, and no arrow from nowhere."""

from __future__ import annotations

from itertools import pairwise

from harness.report.graph import BOX_HEIGHT, BOX_WIDTH, provenance
from harness.report.record import read_record


class TestProvenance:
    def test_has_base_steps_final_and_data(self, entry):
        """From the left to the right, from the top down."""
        record = read_record(entry.path)
        model = record.submission.models[0]
        graph = provenance(model, record.ledger)
        titles = [box.title for box in graph.boxes]
        assert titles == ["c4", "base", "1 compress l1", "2 train lora", "final"]
        assert [edge.kind for edge in graph.edges].count("model") == len(model.steps) + 1
        assert [edge.kind for edge in graph.edges].count("data") == 1
        assert "step 2 read c4" in graph.alternative

    def test_boxes_lie_within_it_and_apart(self, entry):
        """Nothing is cut off, nothing covers another."""
        record = read_record(entry.path)
        graph = provenance(record.submission.models[0], record.ledger)
        for box in graph.boxes:
            assert 0 <= box.x <= graph.width - BOX_WIDTH
            assert 0 <= box.y <= graph.height - BOX_HEIGHT
        places = sorted((box.x, box.y) for box in graph.boxes)
        assert all(a[0] != b[0] or b[1] - a[1] > BOX_HEIGHT for a, b in pairwise(places))

    def test_a_ledger_of_steps_that_are_not_there_draws_no_arrow(self, entry):
        """A claim about step 9 of two leads nowhere."""
        record = read_record(entry.path)
        steps = tuple(step.model_copy(update={"step": 9}) for step in record.ledger.steps)
        ledger = record.ledger.model_copy(update={"steps": steps})
        graph = provenance(record.submission.models[0], ledger)
        assert all(edge.kind == "model" for edge in graph.edges)
