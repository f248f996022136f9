"""Files of items: what goes in comes out, same items same bytes, and no stranger's file fills the memory."""

from __future__ import annotations

import gzip
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.submission import items, layout
from harness.submission.items import NotItems, pack, share_of, unpack
from harness.submission.measurements import ItemRecord
from harness.validation.record import MAX_FILE_BYTES

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
records = st.lists(
    st.builds(
        ItemRecord,
        subset=st.sampled_from(["bbh-navigate", "bbh-snarks"]),
        index=st.integers(0, 99),
        prediction=texts,
        extracted=texts | st.none(),
        reference=texts | st.lists(texts, max_size=2),
        correct=st.booleans() | st.none(),
        prompt_tokens=st.integers(0, 10**6),
        generated_tokens=st.integers(0, 10**6),
        ended_by=st.sampled_from(["eos", "limit"]),
    ),
    max_size=5,
)


def record(number, *, correct=True, prediction="42", subset="gsm8k"):
    return ItemRecord(subset=subset, index=number, prediction=prediction, correct=correct)


class TestPack:
    @given(records)
    def test_unpack_gives_them_back(self, given_records):
        """Whatever a model wrote: line breaks, quotes, other scripts."""
        assert list(unpack(pack(given_records))) == given_records

    @given(records)
    def test_same_items_same_bytes(self, given_records):
        """No time and no name gets into the file."""
        assert pack(given_records) == pack(given_records)

    def test_a_file_is_never_larger_than_a_record_s_file(self, monkeypatch):
        """Long predictions go first; every item, its verdict and the short predictions stay."""
        monkeypatch.setattr(layout, "MAX_ITEMS_BYTES", 10_000)
        noise = "".join(random.Random(0).choices("abcdefgh", k=30_000))
        packed = pack([record(0, prediction=noise), record(1, correct=False)])
        assert len(packed) <= 10_000
        kept = [(one.index, one.correct, one.prediction) for one in unpack(packed)]
        assert kept == [(0, True, None), (1, False, "42")]

    def test_the_bound_is_the_record_s(self):
        """A file that fits here is read there."""
        assert layout.MAX_ITEMS_BYTES == MAX_FILE_BYTES


class TestUnpack:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            pytest.param(b"plain", "not compressed", id="plain"),
            pytest.param(gzip.compress(b"x" * 50)[:-9], "not compressed", id="torn"),
            pytest.param(gzip.compress(b"{}\n"), "no item", id="other lines"),
            pytest.param(gzip.compress(b'{"subset": "a"'), "no item", id="half a line"),
        ],
    )
    def test_what_is_no_file_of_items_is_said(self, content, words):
        """An error with a reason, whatever the bytes are."""
        with pytest.raises(NotItems, match=words):
            unpack(content)

    def test_a_bomb_is_not_unpacked(self, monkeypatch):
        """Bounded text, bounded items."""
        monkeypatch.setattr(items, "MAX_TEXT_BYTES", 1000)
        with pytest.raises(NotItems, match="more than 1000 bytes"):
            unpack(gzip.compress(b"\n" * 1001))
        monkeypatch.setattr(items, "MAX_RECORDS", 10)
        with pytest.raises(NotItems, match="more than 10 items"):
            unpack(gzip.compress(b"\n" * 11))


class TestShareOf:
    def test_parts_count_the_same_however_many_items_they_have(self):
        """1 of 1 and 0 of 3 are a half; what the metric leaves out does not count."""
        rows = [record(0, subset="a"), *(record(n, correct=False, subset="b") for n in range(3))]
        assert share_of([*rows, record(1, correct=None, subset="a")]) == 0.5

    def test_nothing_counted_is_no_share(self):
        """Not zero."""
        assert math.isnan(share_of([record(0, correct=None)]))
        assert math.isnan(share_of([]))
