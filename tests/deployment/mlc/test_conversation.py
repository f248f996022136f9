"""Conversation templates speak the checkpoint's own tokens."""

from __future__ import annotations

import json

import pytest

from harness.deployment.mlc.conversation import (
    ConversationTemplate,
    choose_template,
    conversation,
    shipped_template,
    template_names,
)
from harness.deployment.mlc.tokenizer import Tokens, read_tokens, tokenizer_info
from harness.errors import CheckpointCorrupt, UsageError

LLAMA = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>")


def tokens(*names, first=100):
    return Tokens(document={}, ids={name: first + place for place, name in enumerate(names)})


def prompt(talk, messages):
    """What MLC's runtime makes of a chat, by the fields of its template."""
    text = talk["system_template"].replace("{system_message}", talk["system_message"])
    for role, content in messages:
        if content is None:
            text += talk["roles"][role] + talk["role_empty_sep"]
        else:
            said = talk["role_templates"][role].replace(f"{{{role}_message}}", content)
            text += talk["roles"][role] + talk["role_content_sep"] + said + talk["seps"][0]
    return text


class TestChoose:
    @pytest.mark.parametrize(
        ("model_type", "found", "name"),
        [
            ("llama", (*LLAMA, "<|eom_id|>"), "llama-3_1"),
            ("llama", LLAMA, "llama-3"),
            ("qwen2", ("<|im_start|>", "<|im_end|>", "<|endoftext|>"), "qwen2"),
            ("phi", ("<|endoftext|>",), "phi-2"),
            ("llama", ("<|bos|>", "<|user|>", "<|assistant|>", "<|end|>"), "pico"),
            ("llama", ("<|endoftext|>",), "plain"),
        ],
    )
    def test_auto_takes_what_the_tokenizer_has(self, model_type, found, name):
        """The first template all of whose tokens are there, else plain text."""
        assert choose_template("auto", model_type, tokens(*found)).name == name

    def test_a_template_for_another_vocabulary(self):
        """Refused, with the tokens that are missing: an answer would never stop."""
        with pytest.raises(UsageError, match=r"no '<\|begin_of_text\|>'.*never stop"):
            choose_template("llama-3", "llama", tokens("<|endoftext|>"))

    def test_an_unknown_name(self):
        """Says which there are."""
        with pytest.raises(UsageError, match="chatml, llama-3"):
            choose_template("llama3", "llama", tokens())

    def test_a_file_of_ones_own(self, tmp_path):
        """A path is read as a template; what is none is refused."""
        own = shipped_template("plain").model_copy(update={"name": "mine"})
        own.write(tmp_path / "mine.json")
        assert choose_template(str(tmp_path / "mine.json"), "llama", tokens()) == own
        (tmp_path / "mine.json").write_text("{}")
        with pytest.raises(UsageError, match="is no conversation template"):
            choose_template(str(tmp_path / "mine.json"), "llama", tokens())


class TestConversation:
    @pytest.mark.parametrize("name", template_names())
    def test_every_shipped_one_resolves(self, name):
        """Ids are the tokenizer's, wherever a cut vocabulary put them; the checkpoint's own stop ids are added."""
        template = shipped_template(name)
        names = (*template.system_prefix_tokens, *template.stop_tokens, *template.required_tokens)
        known = tokens(*dict.fromkeys(names), first=7)
        talk = conversation(template, known, [3])
        assert set(talk["stop_token_ids"]) == {3, *(known.ids[token] for token in template.stop_tokens)}
        assert talk["system_prefix_token_ids"] == [known.ids[token] for token in template.system_prefix_tokens]
        assert {"user", "assistant"} <= talk["roles"].keys()

    def test_says_what_the_chat_template_says(self, tiny_checkpoints):
        """The real tokenizer's chat template and MLC's fields make the same text of the same chat."""
        from transformers import AutoTokenizer

        folder = tiny_checkpoints["llama"]
        tokenizer, found = AutoTokenizer.from_pretrained(folder), read_tokens(folder)
        talk = conversation(choose_template("auto", "llama", found), found, [2])
        chat = [("user", "1 + 1?"), ("assistant", "2"), ("user", "and 2 + 2?")]
        asked = [{"role": role, "content": content} for role, content in chat]
        expected = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        prefix = "".join(tokenizer.convert_ids_to_tokens(talk["system_prefix_token_ids"]))
        assert prefix + prompt(talk, [*chat, ("assistant", None)]) == expected

    def test_llama_3_as_the_model_card_has_it(self):
        """The header, a blank line, the text, the end of the turn."""
        talk = conversation(shipped_template("llama-3"), tokens(*LLAMA), [])
        text = prompt(talk, [("user", "Hi"), ("assistant", None)])
        assert text.endswith(
            "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
        )


class TestTokens:
    @pytest.mark.parametrize(
        ("decoder", "method"),
        [
            ({"type": "ByteLevel"}, "byte_level"),
            ({"type": "Sequence", "decoders": [{"type": "Replace"}, {"type": "ByteFallback"}]}, "byte_fallback"),
            (None, "byte_fallback"),
        ],
    )
    def test_how_tokens_become_bytes(self, decoder, method):
        """By the decoder of the tokenizer's file, also within a sequence; bytes as fallback where nothing is said."""
        found = tokenizer_info(Tokens(document={"decoder": decoder}, ids={}))
        assert found["token_postproc_method"] == method

    def test_spaces_of_sentencepiece(self):
        """A mark put before the text, a space taken off the answer."""
        document = {
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}]},
            "decoder": {"type": "Sequence", "decoders": [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        }
        found = tokenizer_info(Tokens(document=document, ids={}))
        assert found["prepend_space_in_encode"]
        assert found["strip_space_in_decode"]

    def test_a_token_that_is_added_twice(self, tmp_path):
        """mlc_llm refuses it, and so do we."""
        twice = [{"content": "<|a|>", "id": 1}, {"content": "<|a|>", "id": 2}]
        (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {}}, "added_tokens": twice}))
        with pytest.raises(CheckpointCorrupt, match="stands there twice"):
            read_tokens(tmp_path)

    def test_template_files_are_templates(self):
        """Every file that is shipped parses, and is named as it is called."""
        for name in template_names():
            assert isinstance(shipped_template(name), ConversationTemplate)
            assert shipped_template(name).name == name
