"""The tokenizer: lossless, digits one by one, and a chat template that training and inference share."""

from __future__ import annotations

import json
import unicodedata
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.pico import shapes, vocabulary
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
        """Text without special tokens comes back as it was, in any script, accents composed."""
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if not any(token in text for token in vocabulary.SPECIAL_TOKENS):
            assert tokenizer.decode(ids, skip_special_tokens=False) == unicodedata.normalize("NFC", text)

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

    @pytest.mark.parametrize("name", shapes.NAMES)
    def test_every_model_has_the_tokens_it_was_trained_on(self, tokenizer, tmp_path, name):
        """Whatever class transformers gives a model, it cuts text as training did and has no token of its own."""
        from transformers import AutoTokenizer

        shapes.config(name, vocabulary_size=600).save_pretrained(tmp_path)
        vocabulary.save(tokenizer, tmp_path)
        loaded = AutoTokenizer.from_pretrained(tmp_path)
        assert len(loaded) == tokenizer.get_vocab_size()
        for item in islice(items("train", seed=1), 200):
            for text in (item.document, item.user, item.answer):
                assert loaded(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text).ids

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
