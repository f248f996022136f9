"""The worker's items are taken only where they make the score that it gave."""

from __future__ import annotations

import gzip
import json

import pytest

from harness.errors import MeasurementFailed
from harness.judge.items import gather
from harness.judge.scores import SubsetRecord, TaskRecord


def subset(name="bbh-navigate", *, score=50.0, count=2, path="items.gz"):
    return SubsetRecord(
        name=name,
        metrics={"score": score},
        item_count=count,
        config="bbh_gen_5b92b0",
        version="5b92b0",
        predictions_path="p.json",
        empty_count=0,
        items_path=path,
    )


def record(*subsets):
    count = sum(one.item_count for one in subsets)
    return TaskRecord(subsets=subsets, score=50.0, metric="naive_average", scale=100, item_count=count)


@pytest.fixture
def write(tmp_path):
    def lines(*rows, name="items.gz"):
        rows = [{"prediction": "the answer is (A)", **row} for row in rows]
        (tmp_path / name).write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
        return tmp_path

    return lines


RIGHT, WRONG = {"index": 0, "correct": True, "ended_by": "eos"}, {"index": 1, "correct": False}


class TestGather:
    def test_all_parts_with_their_names(self, write):
        """One after another; fields that this side does not know are dropped."""
        folder = write(RIGHT, WRONG | {"prompt_ids": [1]})
        write({"index": 0, "correct": False}, name="other.gz")
        found = gather(record(subset(), subset("bbh-snarks", score=0.0, count=1, path="other.gz")), folder)
        assert [(one.subset, one.index, one.correct) for one in found] == [
            ("bbh-navigate", 0, True),
            ("bbh-navigate", 1, False),
            ("bbh-snarks", 0, False),
        ]
        assert found[0].ended_by == "eos"

    def test_without_files_there_are_none(self, tmp_path):
        """A worker that keeps no items still has a score."""
        assert gather(record(subset(path=None)), tmp_path) is None

    @pytest.mark.parametrize(
        ("rows", "words"),
        [
            pytest.param((RIGHT,), "one line for each of its 2 items", id="one is missing"),
            pytest.param((RIGHT, RIGHT), "one line for each", id="one twice"),
            pytest.param((RIGHT, WRONG | {"correct": True}), "make a score of 100", id="another score"),
            pytest.param(
                (RIGHT | {"correct": None}, WRONG | {"correct": None}), "make a score of nan", id="none counts"
            ),
            pytest.param(({"index": 0}, WRONG), "cannot be read", id="no verdict"),
        ],
    )
    def test_items_that_do_not_make_the_score_are_a_failure(self, write, rows, words):
        """The score or the items are wrong, and nobody knows which."""
        with pytest.raises(MeasurementFailed, match=words):
            gather(record(subset()), write(*rows))

    def test_a_torn_file_is_a_failure(self, write):
        """As is one that is not there."""
        folder = write(RIGHT, WRONG)
        (folder / "items.gz").write_bytes((folder / "items.gz").read_bytes()[:-8])
        with pytest.raises(MeasurementFailed, match="cannot be read"):
            gather(record(subset()), folder)
        with pytest.raises(MeasurementFailed, match="cannot be read"):
            gather(record(subset(path="absent.gz")), folder)
