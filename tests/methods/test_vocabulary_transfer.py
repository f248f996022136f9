"""A body takes another tokenizer: rows of the same text, tied, and it still loads and speaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers import decoders as token_decoders
from transformers import PreTrainedTokenizerFast

from harness.checkpoint.checkpoint import Checkpoint
from harness.checkpoint.reader import open_checkpoint
from harness.methods import models as whole_models
from harness.methods.vocabulary_transfer import EMBEDDING, HEAD_BIAS, swap_vocabulary, transferred_rows
from harness.surgery.count import parameter_count


def byte_tokenizer(extra=(), specials=("<s>",)):
    """One token per byte, some pairs on top, specials in front."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate((*specials, *alphabet, *extra))}
    merges = [(token[0], token[1]) for token in extra]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = token_decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="<s>")  # noqa: S106


OLD, NEW = byte_tokenizer(("th",)), byte_tokenizer(("th", "ab", "he"), specials=("<s>", "<t>"))
ROWS = np.random.default_rng(0).standard_normal((len(OLD) + 3, 8)).astype(np.float32)


def new_id(token):
    return NEW.convert_tokens_to_ids(token)


def old_row(token):
    return ROWS[OLD.convert_tokens_to_ids(token)]


class TestTransferredRows:
    @given(st.sampled_from([*"abcxyz0189", "th"]))
    def test_a_token_of_both_is_copied(self, token):
        """To the bit."""
        made = transferred_rows(ROWS, OLD, NEW, row_count=len(NEW))
        assert np.array_equal(made[new_id(token)], old_row(token))

    @pytest.mark.parametrize("token", ["ab", "he"])
    def test_a_token_of_one_is_the_mean_of_its_pieces(self, token):
        """What the old tokenizer writes in two tokens."""
        made = transferred_rows(ROWS, OLD, NEW, row_count=len(NEW))
        np.testing.assert_allclose(made[new_id(token)], (old_row(token[0]) + old_row(token[1])) / 2, rtol=1e-6)

    def test_the_same_tokenizer_is_the_identity_but_for_specials(self):
        """Nothing moves where nothing changes."""
        made = transferred_rows(ROWS, OLD, OLD, row_count=len(OLD))
        plain = [token for token in range(1, len(OLD)) if OLD.decode([token]).isascii()]
        assert np.array_equal(made[plain], ROWS[plain])

    def test_rows_without_a_token_are_near_the_mean_and_seeded(self):
        """Padding is no token, and the same seed makes the same rows."""
        first, again, other = (
            transferred_rows(ROWS, OLD, NEW, row_count=len(NEW) + 5, seed=seed)[-5:] for seed in (1, 1, 2)
        )
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        assert np.abs(first - ROWS[: len(OLD)].mean(0)).max() < 1

    def test_too_few_rows_are_told(self):
        """The message has the number of tokens."""
        with pytest.raises(ValueError, match=f"at least {len(NEW)}"):
            transferred_rows(ROWS, OLD, NEW, row_count=3)


class TestSwapVocabulary:
    def test_the_result_is_a_checkpoint_with_the_new_tokenizer(self, tiny_checkpoint, tmp_path):
        """It loads, is tied, has a zero bias where there is one, and every layer's bits."""
        NEW.save_pretrained(tmp_path / "tokenizer")
        source = Checkpoint.of(tiny_checkpoint)
        output = swap_vocabulary(
            source.path, source.config(), tmp_path / "tokenizer", tmp_path / "out", row_count=len(NEW) + 2
        )
        model = whole_models.load(output)
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
        assert model.config.vocab_size == len(NEW) + 2
        assert sum(p.numel() for p in model.parameters()) == parameter_count(Checkpoint.of(output).config())
        with open_checkpoint(source.path) as old, open_checkpoint(output) as new:
            for entry in new.layout.tensors:
                if entry.name not in {EMBEDDING, HEAD_BIAS}:
                    assert np.array_equal(old.read(entry.name), new.read(entry.name))
            if source.config()["model_type"] == "phi":
                assert not new.read(HEAD_BIAS).any()
        assert (output / "tokenizer.json").read_bytes() == (tmp_path / "tokenizer" / "tokenizer.json").read_bytes()
