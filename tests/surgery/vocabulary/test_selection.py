"""The kept tokens are as many as asked, the mandatory among them, and can be made from each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.surgery.vocabulary.ancestry import check_closed, with_ancestors
from harness.surgery.vocabulary.frequencies import count_tokens
from harness.surgery.vocabulary.selection import cut_id, kept_row_count, select_by_frequency, select_by_rank
from harness.surgery.vocabulary.tokenizer import read_tokenizer

relaxed = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class TestKeptRowCount:
    @pytest.mark.parametrize(
        ("length", "added_count", "drop_fraction", "rows"),
        [(128_256, 256, 0.4, 77_209), (151_646, 3, 0.3, 106_155), (50_295, 39, 0.05, 47_819)],
        ids=["llama-3.1", "qwen2", "phi-2"],
    )
    def test_published(self, length, added_count, drop_fraction, rows):
        """NICS's three vocabularies have the sizes that were published."""
        assert kept_row_count(length, added_count, drop_fraction) == rows

    @given(length=st.integers(1, 200_000), share=st.floats(0, 1), drop=st.floats(0, 1, exclude_max=True))
    def test_bounds(self, length, share, drop):
        """At most all tokens stay, at least the added ones do, and dropping nothing keeps all."""
        added_count = int(share * length)
        assert added_count <= kept_row_count(length, added_count, drop) <= length
        assert kept_row_count(length, added_count, 0.0) == length

    @pytest.mark.parametrize("drop_fraction", [-0.1, 1.0, float("nan")])
    def test_a_share_that_is_none(self, drop_fraction):
        """Only shares from 0 to less than 1 can be dropped."""
        with pytest.raises(ValueError, match="drop_fraction must be"):
            cut_id(100, drop_fraction)


class TestSelectByRank:
    @pytest.mark.parametrize("style", ["llama", "qwen", "phi"])
    @pytest.mark.parametrize("drop_fraction", [0.0, 0.05, 0.2, 0.4])
    def test_is_the_lowest_ids_and_the_added_ones(self, folder_of, style, drop_fraction):
        """What NICS kept: every id below the cut, and every added token; as many as the arithmetic says."""
        tokenizer = read_tokenizer(folder_of(style))
        keep = select_by_rank(tokenizer, drop_fraction)
        cut = cut_id(tokenizer.length, drop_fraction)
        assert set(keep) == {*range(cut), *tokenizer.added.values()}
        assert len(keep) == kept_row_count(tokenizer.length, len(tokenizer.added), drop_fraction)

    @relaxed
    @given(drop_fraction=st.floats(0, 0.5))
    def test_is_closed(self, folder_of, style, drop_fraction):
        """Tokens are made from earlier ones, so cutting by rank cuts none off; also where specials come first."""
        tokenizer = read_tokenizer(folder_of(style))
        if cut_id(tokenizer.length, drop_fraction) >= 261:
            check_closed(tokenizer, select_by_rank(tokenizer, drop_fraction))

    def test_mandatory_tokens_take_the_place_of_the_highest(self, folder_of):
        """A mandatory token stays with its ancestors, and the count stays what it was."""
        tokenizer = read_tokenizer(folder_of("pico"))
        last = max(tokenizer.token_of)
        keep = select_by_rank(tokenizer, 0.5, [last])
        assert last in keep
        assert len(keep) == len(select_by_rank(tokenizer, 0.5))
        check_closed(tokenizer, keep)


class TestSelectByFrequency:
    @relaxed
    @given(data=st.data())
    def test_exact_count(self, folder_of, style, data):
        """Any number of tokens that is possible is met exactly, in ascending order, closed, mandatory ones within."""
        tokenizer = read_tokenizer(folder_of(style))
        seed = data.draw(st.integers(0, 100))
        generator = np.random.default_rng(seed)
        counts = generator.integers(0, 50, tokenizer.row_count)
        mandatory = generator.choice(list(tokenizer.token_of), 20, replace=False).tolist()
        row_count = data.draw(st.integers(tokenizer.length * 4 // 5, tokenizer.length))
        keep = select_by_frequency(tokenizer, counts, row_count, mandatory)
        assert len(keep) == row_count
        assert list(keep) == sorted(set(keep))
        assert {*mandatory, *tokenizer.byte_ids(), *tokenizer.added.values()} <= set(keep)
        check_closed(tokenizer, keep)

    def test_all(self, folder_of, style, ones):
        """Keeping as many as there are keeps all."""
        tokenizer = read_tokenizer(folder_of(style))
        assert select_by_frequency(tokenizer, ones(tokenizer), tokenizer.length, ()) == tuple(tokenizer.token_of)

    def test_equal_counts_are_the_rank(self, folder_of, style, ones):
        """Where all tokens are equally frequent the lower ids stay."""
        tokenizer = read_tokenizer(folder_of(style))
        by_rank = select_by_rank(tokenizer, 0.2)
        assert select_by_frequency(tokenizer, ones(tokenizer), len(by_rank), ()) == by_rank

    def test_frequent_tokens_stay(self, folder_of, style, corpus):
        """Of the text that was counted, at least as many tokens are kept as by rank."""
        tokenizer = read_tokenizer(folder_of(style))
        counts = count_tokens(tokenizer.path, corpus[4:7])
        by_rank = select_by_rank(tokenizer, 0.25)
        keep = select_by_frequency(tokenizer, counts, len(by_rank), ())
        assert counts[list(keep)].sum() >= counts[list(by_rank)].sum()

    def test_what_is_counted_stays_with_its_ancestors(self, folder_of, style):
        """With room for just the counted tokens and what they are made from, just these stay."""
        tokenizer = read_tokenizer(folder_of(style))
        counts = np.zeros(tokenizer.row_count, dtype=np.int64)
        counted = [token_id for token_id in tokenizer.token_of if token_id >= 400][::9]
        counts[counted] = range(1, len(counted) + 1)
        fixed = {*tokenizer.byte_ids(), *tokenizer.added.values()}
        needed = set(with_ancestors(tokenizer, fixed | set(counted)))
        assert set(select_by_frequency(tokenizer, counts, len(needed), ())) == needed

    @pytest.mark.parametrize("row_count", [10, 10_000])
    def test_a_number_that_is_impossible(self, folder_of, ones, row_count):
        """Less than what must stay, or more than there is, is refused with what can be had."""
        tokenizer = read_tokenizer(folder_of("qwen"))
        with pytest.raises(UsageError, match=rf"259 to \d+ tokens can be kept, asked for {row_count}"):
            select_by_frequency(tokenizer, ones(tokenizer), row_count, ())

    def test_counts_of_another_tokenizer(self, folder_of):
        """Counts must have a row for every token."""
        tokenizer = read_tokenizer(folder_of("qwen"))
        with pytest.raises(ValueError, match="counts must have at least"):
            select_by_frequency(tokenizer, np.zeros(5, dtype=np.int64), 300, ())
