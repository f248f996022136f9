"""The ledger of looks: whole as it was written, broken where anything was changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.submission.looks import append_look, first_break, look_after, read_looks

DIGESTS = st.sampled_from(["a" * 64, "b" * 64])
ASKED = st.lists(st.tuples(st.sampled_from(["llama", "phi"]), st.sampled_from(["gsm8k", "bbh"]), DIGESTS), max_size=6)


def chain(asked):
    looks = []
    for model, task, checkpoint in asked:
        looks.append(look_after(looks, model=model, task=task, checkpoint_digest=checkpoint))
    return looks


class TestChain:
    @given(ASKED)
    def test_what_was_written_is_whole(self, asked):
        """A ledger that only grew has no break."""
        assert first_break(chain(asked)) is None

    @given(ASKED.filter(lambda asked: len(asked) > 1), st.data())
    def test_a_look_that_was_taken_out_is_missed(self, asked, data):
        """Without a look before its end the chain breaks at that place."""
        looks, place = chain(asked), data.draw(st.integers(0, len(asked) - 2))
        assert first_break(looks[:place] + looks[place + 1 :]) == place

    @given(ASKED.filter(bool), st.data())
    def test_a_look_that_was_changed_is_found(self, asked, data):
        """Another task, checkpoint or limit under the same digest breaks the chain there."""
        looks, place = chain(asked), data.draw(st.integers(0, len(asked) - 1))
        change = data.draw(st.sampled_from([{"task": "chid"}, {"checkpoint_digest": "c" * 64}, {"item_limit": 5}]))
        looks[place] = looks[place].model_copy(update=change)
        assert first_break(looks) == place


class TestFile:
    def test_grows_by_a_line_a_look(self, tmp_path):
        """What was there stays, byte for byte, and the new look follows from it."""
        path = tmp_path / "runs" / "looks.jsonl"
        for number in range(3):
            before = path.read_bytes() if path.exists() else b""
            append_look(path, model="llama", task="bbh", checkpoint_digest=str(number) * 64)
            assert path.read_bytes().startswith(before)
        assert len(read_looks(path)) == 3
        assert first_break(read_looks(path)) is None

    def test_a_broken_ledger_is_not_added_to(self, tmp_path):
        """The line is named and the file stays as it is."""
        path = tmp_path / "looks.jsonl"
        for number in range(3):
            append_look(path, model="llama", task="bbh", checkpoint_digest=str(number) * 64)
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(lines[0] + lines[2])
        with pytest.raises(UsageError, match=r"looks\.jsonl:2: "):
            append_look(path, model="llama", task="bbh", checkpoint_digest="9" * 64)
        assert path.read_bytes() == lines[0] + lines[2]

    def test_no_file_is_no_look(self, tmp_path):
        """Nothing was looked at yet; what is no ledger is said to be none."""
        assert read_looks(tmp_path / "none") == ()
        (tmp_path / "bad").write_text("{}\n")
        with pytest.raises(UsageError, match="no ledger"):
            read_looks(tmp_path / "bad")
