from __future__ import annotations

import gzip
import hashlib
import json
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.corpora.door import DataDoor, DoorSettings
from harness.corpora.held_out import held_out_samples
from harness.corpora.ledger import Ledger
from harness.corpora.rows import user_turn
from harness.errors import DataNotAllowed
from harness.pico import corpus
from harness.rules.edition import DataRule, load_edition

RULE = DataRule(hub_id="allenai/c4", revision="abc", data_schema="c4")


def texts(door, name="c4", split="train", count=None):
    return [sample.text for sample in islice(door.open(name, split=split), count)]


class TestDataDoor:
    @pytest.mark.parametrize("name", ["wikitext", ""])
    def test_what_the_edition_does_not_allow_is_refused(self, settings, name):
        """The message names what is allowed, and refusal comes before the first sample is asked for."""
        with pytest.raises(DataNotAllowed, match="allowed: alpaca, alpaca-zh, c4"):
            DataDoor(settings).open(name)

    def test_a_slip_is_met_with_the_near_name(self, settings):
        """A near name is offered."""
        with pytest.raises(DataNotAllowed, match=r"'alpacca' is not allowed .*did you mean 'alpaca'\?"):
            DataDoor(settings).open("alpacca")

    def test_a_copy_of_an_unknown_data_set_is_refused(self, rules):
        """`--data c5=PATH` does not add a data set."""
        with pytest.raises(DataNotAllowed, match="'c5' is not allowed"):
            DataDoor(DoorSettings(rules=rules, local={"c5": "x.jsonl"}))

    def test_only_two_splits_are_given_out(self, settings):
        """The test items of the demo are not behind the door."""
        with pytest.raises(DataNotAllowed, match="no split 'test'"):
            DataDoor(settings).open("c4", split="test")

    def test_a_closed_door_gives_nothing(self, settings):
        """A step that says that it reads no data is held to it."""
        with pytest.raises(DataNotAllowed, match="reads no data"):
            DataDoor(settings, closed=True).open("c4")

    def test_a_copy_equals_the_stream_that_it_is_a_copy_of(self, rules, tmp_path):
        """The same rows from jsonl.gz and from the embedded corpus are the same samples in the same order."""
        rows = list(islice(corpus.instructions("train"), 200))
        path = tmp_path / "alpaca.jsonl.gz"
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
        copy, embedded = DoorSettings(rules=rules, local={"alpaca": str(path)}), DoorSettings(rules=rules)
        parts = [texts(DataDoor(copy), "alpaca", split) for split in ("train", "validation")]
        expected = texts(DataDoor(embedded), "alpaca", count=200)
        assert sorted(parts[0] + parts[1]) == sorted(expected)
        once = {text for text in expected if expected.count(text) == 1}
        assert [text for text in parts[0] if text in once] == [text for text in expected if text in once & {*parts[0]}]

    def test_the_embedded_prompt_is_the_one_the_corpus_trains_on(self, settings):
        """Both sides write a user's turn in one way."""
        row = next(corpus.instructions("train"))
        sample = next(DataDoor(settings).open("alpaca"))
        assert sample.prompt == corpus.user_turn(row["instruction"], row["input"])
        assert user_turn("Add.", "1, 2") == corpus.user_turn("Add.", "1, 2")

    @given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=60))
    def test_no_text_is_in_both_splits(self, tmp_path_factory, documents):
        """Every document is on one side, and all its copies with it."""
        path = tmp_path_factory.mktemp("c4") / "c4.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
        door = DataDoor(DoorSettings(rules={"c4": RULE}, local={"c4": str(path)}))
        train, validation = texts(door), texts(door, split="validation")
        assert not set(train) & set(validation)
        assert sorted(train + validation) == sorted(documents)

    @pytest.mark.parametrize("split", ["train", "validation"])
    def test_the_embedded_corpus_parts_its_own_items(self, settings, split):
        """The door hands out the corpus's own split and parts nothing again."""
        expected = [row["text"] for row in islice(corpus.documents(split), 100)]
        assert texts(DataDoor(settings), split=split, count=100) == expected


class TestLedger:
    def test_counts_what_was_handed_out(self, rules, write):
        """Rows, samples, skipped ones, tokens, and the digest of the texts in order."""
        rows = [
            {"instruction": f"q{number}", "input": "", "output": "" if number == 4 else "a"} for number in range(90)
        ]
        path = write("alpaca.jsonl", rows)
        door = DataDoor(DoorSettings(rules=rules, local={"alpaca": str(path)}))
        taken = list(islice(door.open("alpaca"), 50))
        door.count_tokens("alpaca", 300)
        door.count_tokens("alpaca", 7)
        (entry,) = door.ledger().entries
        lines = "".join(json.dumps([s.prompt, s.text], ensure_ascii=False) + "\n" for s in taken)
        assert entry.text_digest == hashlib.sha256(lines.encode()).hexdigest()
        assert (entry.first_row, entry.last_row, entry.sample_count) == (taken[0].row, taken[-1].row, 50)
        assert (entry.token_count, entry.skipped_count, entry.origin) == (307, 1, "local")
        assert entry.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert [file.sha256 for file in entry.files] == [entry.file_sha256]

    def test_what_was_not_taken_is_not_in_it(self, settings):
        """Opening alone leaves no trace, and reading stops where the taker stops."""
        door = DataDoor(settings)
        stream = door.open("c4")
        assert door.ledger() == Ledger()
        next(stream)
        assert [entry.sample_count for entry in door.ledger().entries] == [1]

    def test_each_opening_is_an_entry(self, settings):
        """Reading twice is two passes with one digest."""
        door = DataDoor(settings)
        assert texts(door, count=5) == texts(door, count=5)
        first, second = door.ledger().entries
        assert first == second

    def test_the_seed_is_part_of_the_embedded_revision(self, rules):
        """Another seed is another corpus, and says so."""
        doors = [DataDoor(DoorSettings(rules=rules, seed=seed)) for seed in (0, 1)]
        assert texts(doors[0], count=20) != texts(doors[1], count=20)
        assert len({door.ledger().entries[0].revision for door in doors}) == 2

    def test_tokens_need_an_opening(self, settings):
        """Tokens of a data set that nobody opened are a mistake."""
        with pytest.raises(ValueError, match="was not opened"):
            DataDoor(settings).count_tokens("c4", 1)

    def test_an_earlier_ledger_can_be_entered(self, settings):
        """A resumed step states what its killed predecessor read."""
        earlier = DataDoor(settings)
        texts(earlier, count=3)
        door = DataDoor(settings)
        door.record(earlier.ledger())
        assert door.ledger() == earlier.ledger()


class TestRevisions:
    def test_name_what_would_be_read(self, rules, write):
        """A local copy by content, the corpus by version and seed, the hub by revision."""
        local = {"c4": str(write("c4.jsonl", [{"text": "a"}]))}
        found = DoorSettings(rules=rules, local=local).revisions()
        assert [found[name].partition(":")[0] for name in ("c4", "alpaca", "alpaca-zh")] == ["local", "embedded", "hub"]
        write("c4.jsonl", [{"text": "b"}])
        assert DoorSettings(rules=rules, local=local).revisions()["c4"] != found["c4"]


class TestHeldOutSamples:
    def test_are_the_same_every_time(self, settings):
        """The judge reads its own text twice alike."""
        first = held_out_samples(settings, "c4", "validation", 50)
        assert first == held_out_samples(settings, "c4", "validation", 50)
        assert len(first) == 50

    def test_a_small_copy_gives_what_it_has(self, rules, write):
        """Fewer samples than asked are no error; none at all is one."""
        some = write("c4.jsonl", [{"text": f"document {number}"} for number in range(320)])
        none = write("one.jsonl", [{"text": ""}])
        found = held_out_samples(DoorSettings(rules=rules, local={"c4": str(some)}), "c4", "validation", 10**6)
        assert 0 < len(found) < 40
        with pytest.raises(DataNotAllowed, match="is empty"):
            held_out_samples(DoorSettings(rules=rules, local={"c4": str(none)}), "c4", "validation", 1)


class TestRealData:
    @pytest.mark.parametrize(
        ("file", "rows", "empty"),
        [("c4_en.jsonl.gz", 3300, 0), ("alpaca_en.jsonl.gz", 52_002, 28), ("alpaca_zh.jsonl.gz", 20_465, None)],
    )
    def test_every_row_of_the_real_files_is_read_once(self, shared_train, file, rows, empty):
        """Both splits together are the file; the empty outputs are counted."""
        name = file.partition("_")[0]
        local = {name: str(shared_train / file)}
        door = DataDoor(DoorSettings(rules=load_edition("neurips-2024").data, local=local))
        for split in ("train", "validation"):
            for _ in door.open(name, split=split):
                pass
        entries = door.ledger().entries
        skipped = sum(entry.skipped_count for entry in entries)
        assert sum(entry.sample_count for entry in entries) + skipped == rows
        assert skipped == empty if empty is not None else skipped > 0
