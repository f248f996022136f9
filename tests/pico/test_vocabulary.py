"""The tokenizer: lossless, digits one by one, and a chat template that training and inference share."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.pico import vocabulary
from harness.pico.corpus import items


@pytest.fixture(scope="module")
def tokenizer():
    """A small vocabulary from few items."""
    return vocabulary.train(seed=0, vocabulary_size=600, item_count=500)


class TestTokenizer:
    """`train` and `encode`."""

    def test_same_arguments_same_tokenizer(self, tokenizer):
        """Merges depend on the arguments alone."""
        again = vocabulary.train(seed=0, vocabulary_size=600, item_count=500)
        assert again.to_str() == tokenizer.to_str()

    @given(st.text())
    def test_lossless(self, tokenizer, text):
        """Text without special tokens comes back as it was, in any script."""
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if not any(token in text for token in vocabulary.SPECIAL_TOKENS):
            assert tokenizer.decode(ids, skip_special_tokens=False) == text

    @given(st.integers(min_value=0))
    def test_digits_are_single(self, tokenizer, number):
        """A number has as many tokens as digits."""
        assert len(tokenizer.encode(str(number)).ids) == len(str(number))

    def test_special_ids(self, tokenizer):
        """The special tokens have the ids that the configurations name."""
        found = [tokenizer.token_to_id(token) for token in vocabulary.SPECIAL_TOKENS]
        assert found == [vocabulary.PAD, vocabulary.BOS, vocabulary.END, vocabulary.USER, vocabulary.ASSISTANT]

    def test_save_names_a_class_that_both_releases_know(self, tokenizer, tmp_path):
        """The files name the fast class and the two inputs."""
        vocabulary.save(tokenizer, tmp_path)
        config = json.loads((tmp_path / "tokenizer_config.json").read_text())
        assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
        assert config["model_input_names"] == ["input_ids", "attention_mask"]

    def test_chat_template_is_what_training_sees(self, tokenizer, tmp_path):
        """The rendered conversation has the token ids of the training sequence."""
        from transformers import AutoTokenizer

        vocabulary.save(tokenizer, tmp_path)
        loaded = AutoTokenizer.from_pretrained(tmp_path)
        for item in islice(items("train", kind="story"), 5):
            (trained,) = vocabulary.encode(tokenizer, [(item, True)])
            user = f"{item.user}\n{item.context}"
            turns = [{"role": "user", "content": user}, {"role": "assistant", "content": item.answer}]
            rendered = loaded.apply_chat_template(turns, tokenize=False)
            assert loaded(rendered, add_special_tokens=False)["input_ids"] == trained.ids
            asked = loaded.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
            assert loaded(asked, add_special_tokens=False)["input_ids"] == trained.ids[: trained.asked_count]
