"""Filtered windows through the door: the same from the same, and nothing that was dropped is in them."""

from __future__ import annotations

import gzip
import json

import pytest
from transformers import AutoTokenizer

from harness.corpora.door import DataDoor, DoorSettings
from harness.corpora.filters.packing import pack_filtered
from harness.corpora.filters.settings import FilterSettings
from harness.corpora.windows import pack
from harness.errors import DataNotAllowed
from harness.rules.edition import load_edition

TOPICS = ("rivers", "stones", "bread", "glass", "wool", "paper", "copper", "salt")


def document(number):
    return " ".join(f"{topic} {number * 31 + place} is {topic[::-1]}{number}" for place, topic in enumerate(TOPICS))


DOCUMENTS = [document(number) for number in range(40)]
BAD = ["casino bonus for everybody", "look at http://a.com", DOCUMENTS[0]]


@pytest.fixture
def tokenizer(tiny_checkpoints):
    return AutoTokenizer.from_pretrained(tiny_checkpoints["llama"])


@pytest.fixture
def new_door(tmp_path):
    """A door on a C4 of these documents."""

    def make(texts=(*DOCUMENTS[:20], *BAD, *DOCUMENTS[20:])):
        path = tmp_path / "c4.jsonl.gz"
        with gzip.open(path, "wt") as stream:
            stream.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        return DataDoor(DoorSettings(rules=load_edition("demo").data, local={"c4": str(path)}))

    return make


def packed(door, tokenizer, path, filters=FilterSettings(), count=64):  # noqa: B008 - frozen
    return pack_filtered(door, {"c4": 1.0}, tokenizer, filters, window_tokens=64, window_count=count, seed=0, path=path)


class TestPackFiltered:
    def test_what_is_dropped_is_not_in_the_windows(self, new_door, tokenizer, tmp_path):
        """The windows hold the documents that were kept, in order, pass after pass; the counts say what was not."""
        windows, report = packed(new_door(), tokenizer, tmp_path / "windows", count=200)
        text = tokenizer.decode(windows.token_ids.flatten())
        assert not any(bad in text for bad in BAD[:2])
        assert text.count(DOCUMENTS[0]) in {2, 3}  # once a pass: a pass begins with filters that have seen nothing
        reasons = {(reason.filter, reason.reason) for reason in report.reasons}
        assert {("words", "sensitive words"), ("exact duplicates", "seen before")} <= reasons

    def test_the_ledger_counts_what_was_held_back(self, new_door, tokenizer, tmp_path):
        """As rows that were read and left out, up to the last one that was taken."""
        door = new_door()
        packed(door, tokenizer, tmp_path / "windows", count=30)
        (entry,) = door.ledger().entries
        assert entry.token_count == 30 * 64
        assert entry.skipped_count == 0
        door = new_door((*BAD[:2], *DOCUMENTS))
        packed(door, tokenizer, tmp_path / "other", count=30)
        (entry,) = door.ledger().entries
        assert entry.skipped_count == 2 or entry.first_row > 0

    def test_standing_windows_keep_their_report(self, new_door, tokenizer, tmp_path):
        """Asked again, the windows and the report are those that stand."""
        first, report = packed(new_door(), tokenizer, tmp_path / "windows")
        again, same = packed(new_door(), tokenizer, tmp_path / "windows")
        assert same == report
        assert (again.token_ids == first.token_ids).all()

    def test_killed_before_the_report(self, new_door, tokenizer, tmp_path):
        """Windows without a report are packed again, to the same."""
        first, report = packed(new_door(), tokenizer, tmp_path / "windows")
        kept = first.token_ids.copy()
        (tmp_path / "windows-filters.json").unlink()
        again, same = packed(new_door(), tokenizer, tmp_path / "windows")
        assert same == report
        assert (again.token_ids == kept).all()

    def test_filters_are_part_of_the_key(self, new_door, tokenizer, tmp_path):
        """Other filters make other windows in the same place."""
        first, _ = packed(new_door(), tokenizer, tmp_path / "windows")
        other, _ = packed(new_door(), tokenizer, tmp_path / "windows", FilterSettings(words=False))
        assert first.key != other.key

    def test_without_a_sieve_nothing_changes(self, new_door, tokenizer, tmp_path):
        """All filters off, the windows are those of ``pack``."""
        off = FilterSettings(urls=False, words=False, repetition=False, exact_duplicates=False, near_duplicates=False)
        filtered, report = packed(new_door(), tokenizer, tmp_path / "filtered", off)
        plain = pack(
            new_door(), {"c4": 1.0}, tokenizer, window_tokens=64, window_count=64, seed=0, path=tmp_path / "plain"
        )
        assert (filtered.token_ids == plain.token_ids).all()
        assert report.seen == report.kept

    def test_nothing_left(self, new_door, tokenizer, tmp_path):
        """A data set of which nothing is left is said to have no text."""
        with pytest.raises(DataNotAllowed, match="no sample with text"):
            packed(new_door(["http://a.com"] * 50), tokenizer, tmp_path / "windows")
