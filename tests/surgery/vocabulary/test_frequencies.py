"""Counts are those of the encodings, whatever the batches."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from harness.errors import CheckpointCorrupt
from harness.surgery.vocabulary.frequencies import count_tokens


class TestCountTokens:
    @pytest.mark.parametrize("batch_characters", [1, 100, 1 << 20])
    def test_counts_every_token(self, folder_of, style, corpus, batch_characters):
        """Every occurrence is counted once, and no token that a post-processor puts in."""
        path = folder_of(style) / "tokenizer.json"
        engine = Tokenizer.from_file(str(path))
        ids = [token_id for text in corpus for token_id in engine.encode(text, add_special_tokens=False).ids]
        counts = count_tokens(path, iter(corpus), batch_characters=batch_characters)
        assert counts.dtype == np.int64
        assert counts.shape == (engine.get_vocab_size(),)
        assert np.array_equal(counts, np.bincount(ids, minlength=len(counts)))

    def test_no_text(self, folder_of):
        """Of nothing there is nothing."""
        path = folder_of("llama") / "tokenizer.json"
        assert not count_tokens(path, []).any()
        assert not count_tokens(path, ["", ""]).any()

    def test_truncation_and_padding_do_not_count(self, own_folder, edit):
        """What a tokenizer file says of lengths is for batches of a model, not for counting."""
        path = own_folder("gpt2") / "tokenizer.json"
        full = count_tokens(path, ["the shells", "she sells sea shells by the sea shore"])
        cut = {"max_length": 2, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}
        fill = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None}
        fill |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "!"}
        edit(path, lambda document: document.update(truncation=cut, padding=fill))
        assert np.array_equal(count_tokens(path, ["the shells", "she sells sea shells by the sea shore"]), full)

    def test_a_file_that_is_no_tokenizer(self, tmp_path):
        """The error names the file."""
        path = tmp_path / "tokenizer.json"
        path.write_text("{}")
        with pytest.raises(CheckpointCorrupt, match=r"tokenizer\.json: the tokenizers library cannot load it"):
            count_tokens(path, ["a"])
