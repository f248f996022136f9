"""What cannot be rewritten truthfully is refused, by name."""

from __future__ import annotations

import pytest

from harness.errors import CheckpointCorrupt, UsageError
from harness.surgery.vocabulary.ancestry import with_ancestors
from harness.surgery.vocabulary.tokenizer import read_tokenizer
from harness.surgery.vocabulary.tokenizer_files import rewrite_files


class TestRefusal:
    def test_a_lost_ancestor(self, cut_of):
        """A token that could no longer be merged is not kept silently."""
        cut = cut_of("gpt2")
        tokenizer = read_tokenizer(cut.folder)
        parent = next(
            parent for pair in with_ancestors(tokenizer, cut.keep).values() for parent in pair if parent >= 256
        )
        with pytest.raises(UsageError, match=f"is kept without {parent}, which it is merged from"):
            rewrite_files(cut.folder, [token_id for token_id in cut.keep if token_id != parent])

    def test_a_lost_byte_or_special_token(self, cut_of):
        """Bytes and added tokens cannot be dropped."""
        cut = cut_of("qwen")
        with pytest.raises(UsageError, match="keep lacks 2 tokens that must stay"):
            rewrite_files(cut.folder, cut.keep[1:-1])

    def test_padding_rows(self, cut_of):
        """Rows behind the tokenizer's tokens are no tokens."""
        cut = cut_of("qwen")
        with pytest.raises(UsageError, match="there is no token 900000; leave padding rows out"):
            rewrite_files(cut.folder, [*cut.keep, 900_000])

    def test_an_order_that_is_none(self, cut_of):
        """The new id is the position, so the order must be the old one."""
        cut = cut_of("gpt2")
        with pytest.raises(ValueError, match="ascending"):
            rewrite_files(cut.folder, cut.keep[::-1])

    def test_a_special_token_from_elsewhere(self, own_folder, edit):
        """A special token that loading would append has no row in the smaller model."""
        folder = own_folder("gpt2")
        edit(folder / "tokenizer_config.json", lambda document: document.update(pad_token="[PAD]"))  # noqa: S106
        with pytest.raises(UsageError, match=r"lacks the special token '\[PAD\]'"):
            rewrite_files(folder, tuple(read_tokenizer(folder).token_of))

    @pytest.mark.parametrize(
        ("name", "change", "message"),
        [
            ("vocab.json", lambda document: document.update(a=4), "'a' has id 4, in tokenizer.json"),
            ("vocab.json", lambda document: document.update(a="4"), "must be an integer, found '4'"),
            (
                "tokenizer_config.json",
                lambda document: document["added_tokens_decoder"].update({"-3": {"content": "<|im_end|>"}}),
                r"'<\|im_end\|>' has id '-3', in tokenizer.json",
            ),
            ("tokenizer_config.json", lambda document: document.update(added_tokens_decoder=[1]), "must be a"),
            ("generation_config.json", lambda document: document.update(eos_token_id={}), "must be an integer"),
            ("tokenizer.json", lambda document: document.update(post_processor=[]), "post_processor: must be an obj"),
            ("tokenizer.json", lambda document: document.update(padding={"pad_id": True}), "must be an integer"),
            (
                "tokenizer.json",
                lambda document: document.update(post_processor={"type": "BertProcessing", "sep": 3}),
                r"sep: must be \[token, id\], found 3",
            ),
        ],
    )
    def test_files_that_contradict_each_other(self, own_folder, edit, name, change, message):
        """A file that says something else than the tokenizer, or holds the wrong type, is corrupt."""
        folder = own_folder("qwen")
        keep = tuple(read_tokenizer(folder).token_of)
        edit(folder / name, change)
        with pytest.raises(CheckpointCorrupt, match=message):
            rewrite_files(folder, keep)

    def test_an_unknown_post_processor(self, own_folder, edit):
        """What might hold ids in a way that we do not know is not guessed at."""
        folder = own_folder("gpt2")
        edit(folder / "tokenizer.json", lambda document: document.update(post_processor={"type": "New"}))
        with pytest.raises(UsageError, match="no way to renumber a 'New'"):
            rewrite_files(folder, tuple(read_tokenizer(folder).token_of))

    def test_merges_that_are_none(self, own_folder):
        """A line of ``merges.txt`` is two tokens."""
        folder = own_folder("qwen")
        (folder / "merges.txt").write_text("#version: 0.2\na b c\n")
        with pytest.raises(CheckpointCorrupt, match="a merge must be two tokens, found 'a b c'"):
            rewrite_files(folder, tuple(read_tokenizer(folder).token_of))
