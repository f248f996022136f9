"""Ancestors are what the encoder really merges."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from harness.errors import UsageError
from harness.surgery.vocabulary.ancestry import check_closed, last_pair, parents, with_ancestors
from harness.surgery.vocabulary.tokenizer import read_tokenizer


@st.composite
def merge_tables(draw):
    """Merges over three letters in any order that builds them, with several ways to the same token."""
    vocabulary, merges = ["a", "b", "c"], []
    for _ in range(draw(st.integers(1, 12))):
        left, right = draw(st.sampled_from(vocabulary)), draw(st.sampled_from(vocabulary))
        if (left, right) not in merges and len(left + right) <= 6:
            merges.append((left, right))
            vocabulary += [left + right] if left + right not in vocabulary else []
    return vocabulary, draw(st.permutations(merges))


def library(vocabulary, merges):
    ids = {token: place for place, token in enumerate(vocabulary)}
    model = {"type": "BPE", "vocab": ids, "merges": [list(merge) for merge in merges]}
    return Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))


class TestLastPair:
    @given(table=merge_tables(), text=st.text("abc", min_size=1, max_size=8))
    def test_agrees_with_the_library(self, table, text):
        """A text ends in one merge exactly where the tokenizers library makes it one token."""
        vocabulary, merges = table
        found = last_pair(text, {pair: rank for rank, pair in enumerate(merges)})
        alone = [token.value for token in library(vocabulary, merges).model.tokenize(text)] == [text]
        assert (found is not None) == (alone and len(text) > 1)
        assert found is None or "".join(found) == text

    def test_is_not_the_first_merge_of_the_token(self):
        """Of two ways to a token the one counts that the encoder goes, not the one that stands first."""
        merges = [("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc")]
        assert last_pair("abc", {pair: rank for rank, pair in enumerate(merges)}) == ("a", "bc")

    def test_leftmost_first(self):
        """Of equal pairs the leftmost is merged."""
        assert last_pair("aaa", {("a", "a"): 0, ("aa", "a"): 1, ("a", "aa"): 2}) == ("aa", "a")


class TestWithAncestors:
    def test_is_closed(self, folder_of, style):
        """Ancestors of ancestors are among them, down to bytes, which have none."""
        tokenizer = read_tokenizer(folder_of(style))
        found = with_ancestors(tokenizer, list(tokenizer.token_of)[-300:])
        assert all(parent in found for pair in found.values() for parent in pair)
        check_closed(tokenizer, sorted(found))
        assert all(parents(tokenizer, token_id) == () for token_id in tokenizer.byte_ids())

    def test_parents_make_the_token(self, folder_of, style):
        """Parents, put together, are the token; every learned token has them."""
        tokenizer = read_tokenizer(folder_of(style))
        for token_id, token in tokenizer.token_of.items():
            pair = parents(tokenizer, token_id)
            if len(token) == 1 or token in tokenizer.added:
                assert pair == ()
            else:
                assert "".join(tokenizer.token_of[parent] for parent in pair) == token

    def test_a_missing_parent_is_named(self, folder_of):
        """The error says which token lacks which."""
        tokenizer = read_tokenizer(folder_of("gpt2"))
        last = max(tokenizer.token_of)
        with pytest.raises(UsageError, match=rf"token {last} \('.*'\) is kept without"):
            check_closed(tokenizer, [last])
