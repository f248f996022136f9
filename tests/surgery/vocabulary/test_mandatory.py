"""What prompts, answers and settings are made of stays whole."""

from __future__ import annotations

import pytest

from harness.errors import CheckpointCorrupt
from harness.surgery.vocabulary.mandatory import mandatory_tokens, template_texts
from harness.surgery.vocabulary.tokenizer import read_tokenizer


class TestTemplateTexts:
    def test_text_and_literals(self):
        """Text outside of tags, and both kinds of literals within, with their escapes resolved."""
        template = "Answer: {{ '<|user|>\\n' + message['role'] }}\n{% if x == \"it\\'s\" %}!{# 'not' #}{% endif %}"
        found = template_texts(template)
        assert {"Answer: ", "<|user|>\n", "role", "\n", "it's", "!"} <= set(found)

    def test_nothing(self):
        """An empty template puts in nothing."""
        assert template_texts("") == ()


class TestMandatoryTokens:
    @pytest.mark.parametrize("style", ["llama", "qwen", "pico"])
    def test_templates_are_encoded_as_before(self, cut_of, style):
        """Every text of a chat template, digits, marks and option letters have the tokens that they had."""
        cut = cut_of(style)
        for text in ("assistant", "user", "system", "A", " H", " 7", "?", '"', "\n", "\n\n"):
            old = cut.before.encode(text, add_special_tokens=False).ids
            if text.strip() or style == "llama":
                assert cut.after.encode(text, add_special_tokens=False).ids == [cut.new_ids[old_id] for old_id in old]

    def test_template_file(self, own_folder):
        """A template in a file of its own counts as well."""
        folder = own_folder("gpt2")
        tokenizer = read_tokenizer(folder)
        before = mandatory_tokens(folder, tokenizer)
        (folder / "chat_template.jinja").write_text("{{ 'vocabulary' }} gathered together")
        more = {tokenizer.token_of[token_id] for token_id in mandatory_tokens(folder, tokenizer) - before}
        assert any("gather" in token for token in more)

    def test_several_templates(self, own_folder, edit):
        """Templates by name all count."""
        folder = own_folder("gpt2")
        tokenizer = read_tokenizer(folder)
        before = mandatory_tokens(folder, tokenizer)
        named = [{"name": "default", "template": "gathered"}, {"name": "tool", "template": " together"}]
        edit(folder / "tokenizer_config.json", lambda document: document.update(chat_template=named))
        assert mandatory_tokens(folder, tokenizer) > before

    def test_ids_and_names_in_settings(self, own_folder, edit):
        """Base tokens that a setting uses, by id or by name, stay; ids of padding rows are no tokens."""
        folder = own_folder("qwen")
        tokenizer = read_tokenizer(folder)
        learned = [token_id for token, token_id in tokenizer.ids.items() if token.isascii() and token.isalpha()]
        first, second, third = learned[-3:]
        edit(folder / "config.json", lambda document: document.update(pad_token_id=first, sep_token_id=900_000))
        edit(folder / "generation_config.json", lambda document: document.update(forced_decoder_ids=[[1, second]]))
        name = {"content": tokenizer.token_of[third]}
        edit(folder / "tokenizer_config.json", lambda document: document.update(unk_token=name))
        found = mandatory_tokens(folder, tokenizer)
        assert {first, second, third} <= found
        assert found <= tokenizer.token_of.keys()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"chat_template": 3}, "chat_template: must be a text, found 3"),
            ({"chat_template": [{"name": "default"}]}, "chat_template: must be a text, found None"),
            ({"eos_token": 3}, "eos_token: must be a text, found 3"),
            ({"additional_special_tokens": [["a"]]}, "additional_special_tokens: must be a text, found a list"),
        ],
    )
    def test_settings_of_the_wrong_type(self, own_folder, edit, change, message):
        """The error says which field."""
        folder = own_folder("gpt2")
        edit(folder / "tokenizer_config.json", lambda document: document.update(change))
        with pytest.raises(CheckpointCorrupt, match=message):
            mandatory_tokens(folder, read_tokenizer(folder))
