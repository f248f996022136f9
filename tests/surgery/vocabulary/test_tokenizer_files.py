"""The rewritten tokenizer knows the kept tokens, encodes any text, and encodes what it can as the old one did."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from harness.errors import UsageError
from harness.surgery.vocabulary.ancestry import with_ancestors
from harness.surgery.vocabulary.tokenizer import read_tokenizer
from harness.surgery.vocabulary.tokenizer_files import has_tokenizer, rewrite_files

TEXTS = (
    "The smaller a model is, the more of its memory is vocabulary. (A) 12345",
    "今天天气很好，我们一起去公园散步。龘靐齉",  # noqa: RUF001 - Chinese punctuation is meant
    "def f(x):\n        return x  +  1\n\n\n\tpass   # why?\r\n",
    "🙂🚀👩\u200d👩\u200d👧 naïve — ½ £5",
    "   spaces    and\ttabs \n\n",
    "\x00\x7f\u2028\ufeff",
    "",
)
MESSAGES = [{"role": "user", "content": "今天是 the day?"}, {"role": "assistant", "content": "def f(): 🙂"}]
WORDS = ("the", " the", "her", " she", "sea shells", "我们", "模型", "answer", "return", "    ", "12", "(A)", "é", "🙂")
texts = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(WORDS), max_size=12).map("".join))
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def encode(engine, text):
    return engine.encode(text, add_special_tokens=False).ids


def decode(engine, ids):
    return engine.decode(ids, skip_special_tokens=False)


def normal(style, text):
    return unicodedata.normalize("NFC", text) if style == "qwen" else text


def tokens_by_merges(engine, token):
    """What merges alone make of the symbols of ``token``."""
    engine.model.ignore_merges = False
    try:
        return [part.value for part in engine.model.tokenize(token)]
    finally:
        engine.model.ignore_merges = True


class TestAnyText:
    @pytest.mark.parametrize("text", TEXTS)
    def test_round_trip(self, cut_of, style, text):
        """English, Chinese, code, emoji and runs of spaces come back from the smaller vocabulary unchanged."""
        engine = cut_of(style).after
        assert decode(engine, encode(engine, text)) == normal(style, text)

    @relaxed
    @given(text=texts)
    def test_round_trip_of_any_text(self, cut_of, style, text):
        """Whatever is written comes back."""
        engine = cut_of(style).after
        assert decode(engine, encode(engine, text)) == normal(style, text)

    def test_every_id_is_a_row(self, cut_of, style, corpus):
        """The new ids are exactly the rows 0 to the number of kept tokens less one."""
        cut = cut_of(style)
        assert sorted(cut.after.get_vocab().values()) == list(range(len(cut.keep)))
        assert all(max(encode(cut.after, text)) < len(cut.keep) for text in corpus)


class TestSameTokens:
    """The promise: a text whose old tokens are all kept is encoded to the same tokens.

    It holds for every set of kept tokens that is closed under ``ancestry.parents``, which ``rewrite_files`` demands.
    """

    @relaxed
    @given(text=texts)
    def test_kept_tokens_stay_the_tokens(self, cut_of, style, text):
        """Where all old tokens are kept, the new ids are theirs, renumbered."""
        cut = cut_of(style)
        old = encode(cut.before, text)
        if all(token_id in cut.new_ids for token_id in old):
            assert encode(cut.after, text) == [cut.new_ids[token_id] for token_id in old]

    def test_of_every_word(self, cut_of, style, corpus):
        """It is no empty promise: many words of a text are of kept tokens alone, and some are not."""
        cut = cut_of(style)
        kept, cut_up = 0, 0
        for word in {word for text in corpus for word in text.split(" ")}:
            old, new = encode(cut.before, word), encode(cut.after, word)
            if all(token_id in cut.new_ids for token_id in old):
                assert new == [cut.new_ids[token_id] for token_id in old]
                kept += 1
            else:
                cut_up += len(new) > len(old)
        assert kept > 20
        assert cut_up > 0

    def test_kept_tokens_are_reachable(self, cut_of, style):
        """What merges alone could make of bytes they still make."""
        cut = cut_of(style)
        tokenizer = read_tokenizer(cut.folder)
        made = [
            token
            for token, token_id in tokenizer.ids.items()
            if token_id in cut.new_ids and tokens_by_merges(cut.before, token) == [token]
        ]
        assert len(made) > 256
        assert all(tokens_by_merges(cut.after, token) == [token] for token in made)

    def test_a_word_that_is_kept_needs_no_merges(self, cut_of):
        """``ignore_merges`` stays: a whole word in the vocabulary is that token, one that was dropped falls apart."""
        cut = cut_of("llama")
        assert cut.json("tokenizer.json")["model"]["ignore_merges"] is True
        words = (token for token in read_tokenizer(cut.folder).ids if token.isascii() and token.isalpha())
        word = next(word for word in words if cut.before.token_to_id(word) not in cut.new_ids)
        assert len(encode(cut.before, word)) == 1
        assert len(encode(cut.after, word)) > 1


class TestKeepAll:
    @relaxed
    @given(text=texts)
    def test_changes_no_id(self, keep_all_of, style, text):
        """Keeping every token gives every text the ids that it had, with special tokens and without."""
        cut = keep_all_of(style)
        assert cut.after.encode(text).ids == cut.before.encode(text).ids
        assert encode(cut.after, text) == encode(cut.before, text)

    def test_changes_no_value(self, keep_all_of, style):
        """Every file says what it said."""
        cut = keep_all_of(style)
        for name, content in cut.files.items():
            old = (cut.folder / name).read_bytes()
            assert content == old if name == "merges.txt" else json.loads(content) == json.loads(old)

    def test_same_bytes_each_time(self, cut_of, style):
        """The same input gives the same bytes."""
        cut = cut_of(style)
        assert rewrite_files(cut.folder, cut.keep) == cut.files


class TestFiles:
    def test_names(self, cut_of):
        """Files that hold ids are rewritten where they are present; the others are left to be copied."""
        tokenizer = {"tokenizer.json", "tokenizer_config.json"}
        slow = {"vocab.json", "merges.txt"}
        assert cut_of("gpt2").files.keys() == tokenizer
        assert cut_of("llama").files.keys() == tokenizer | {"generation_config.json"}
        assert cut_of("qwen").files.keys() == tokenizer | slow | {"generation_config.json"}
        assert cut_of("phi").files.keys() == tokenizer | slow | {"added_tokens.json"}

    def test_weights_alone(self, own_folder):
        """A checkpoint without a tokenizer has its generation settings renumbered all the same."""
        folder = own_folder("qwen")
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
            assert has_tokenizer(folder)
            (folder / name).unlink()
        assert not has_tokenizer(folder)
        end = json.loads((folder / "generation_config.json").read_text())["bos_token_id"]
        files = rewrite_files(folder, [7, end, end + 1, end + 2])
        assert json.loads(files.pop("generation_config.json"))["eos_token_id"] == [3, 1]
        assert not files

    def test_slow_files_alone(self, own_folder):
        """A tokenizer that is there but cannot be cut is not passed over."""
        folder = own_folder("qwen")
        (folder / "tokenizer.json").unlink()
        with pytest.raises(UsageError, match=r"no tokenizer.json; only a fast tokenizer"):
            rewrite_files(folder, range(300))

    def test_added_tokens(self, cut_of, style):
        """Every added token is still one, under the id that all files agree on."""
        cut = cut_of(style)
        old = read_tokenizer(cut.folder).added
        new = {entry["content"]: entry["id"] for entry in cut.json("tokenizer.json")["added_tokens"]}
        assert new == {token: cut.new_ids[token_id] for token, token_id in old.items()}
        listed = cut.json("tokenizer_config.json").get("added_tokens_decoder", {})
        assert all(new[entry["content"]] == int(key) for key, entry in listed.items())

    @pytest.mark.parametrize(("style", "form"), [("gpt2", list), ("strings", str)])
    def test_merges_keep_their_form(self, cut_of, style, form):
        """Old files write a merge as a text, new ones as a list; both stay what they are and say the same."""
        merges = cut_of(style).json("tokenizer.json")["model"]["merges"]
        assert {type(merge) for merge in merges} == {form}
        other = cut_of("gpt2").json("tokenizer.json")["model"]["merges"]
        assert [merge.split(" ") if form is str else merge for merge in merges] == other

    def test_slow_files_agree(self, cut_of):
        """``vocab.json`` and ``merges.txt`` say what ``tokenizer.json`` says."""
        cut = cut_of("qwen")
        model = cut.json("tokenizer.json")["model"]
        assert cut.json("vocab.json") == model["vocab"]
        lines = cut.files["merges.txt"].decode().splitlines()
        assert lines[0] == "#version: 0.2"
        assert [line.split(" ") for line in lines[1:]] == model["merges"]

    def test_beginning_of_text_is_put_in(self, cut_of):
        """The id that the post-processor puts in front is the new one."""
        cut = cut_of("llama")
        assert cut.after.encode("the").tokens[0] == "<|begin_of_text|>"
        assert cut.after.encode("the").ids[0] == cut.json("generation_config.json")["bos_token_id"]

    def test_generation_settings(self, cut_of):
        """Each of several end tokens is renumbered, and what is no id is left alone."""
        cut = cut_of("llama")
        old = json.loads((cut.folder / "generation_config.json").read_text())
        new = cut.json("generation_config.json")
        assert new["eos_token_id"] == [cut.new_ids[token_id] for token_id in old["eos_token_id"]]
        assert new["temperature"] == 0.6

    @pytest.mark.parametrize("kind", ["BertProcessing", "RobertaProcessing"])
    def test_ends_of_other_processors(self, own_folder, edit, kind):
        """Post-processors that name two ends by id are renumbered, also within a sequence; padding as well."""
        folder = own_folder("qwen")
        ids = read_tokenizer(folder).added
        ends = {"sep": ["<|im_end|>", ids["<|im_end|>"]], "cls": ["<|im_start|>", ids["<|im_start|>"]]}
        roberta = {"trim_offsets": True, "add_prefix_space": False} if kind == "RobertaProcessing" else {}
        processor = {"type": "Sequence", "processors": [{"type": kind, **ends, **roberta}]}
        padding = {
            "strategy": {"Fixed": 8},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": ids["<|endoftext|>"],
            "pad_type_id": 0,
            "pad_token": "<|endoftext|>",
        }
        edit(folder / "tokenizer.json", lambda document: document.update(post_processor=processor, padding=padding))
        keep = [*range(300), *sorted(ids.values())]
        keep = sorted(with_ancestors(read_tokenizer(folder), keep))
        (folder / "short").mkdir()
        path = folder / "short" / "tokenizer.json"
        path.write_bytes(rewrite_files(folder, keep)["tokenizer.json"])
        tokens = AutoTokenizer.from_pretrained(folder / "short").backend_tokenizer.encode("Z")
        assert tokens.tokens[:3] == ["<|im_start|>", "Z", "<|im_end|>"]
        assert tokens.ids[-1] == keep.index(ids["<|endoftext|>"])


class TestTransformers:
    def test_loads(self, cut_of, style, tmp_path, corpus):
        """``AutoTokenizer`` has as many tokens as were kept and encodes as the tokenizers library does."""
        cut = cut_of(style)
        loaded = AutoTokenizer.from_pretrained(cut.write(tmp_path / "cut"))
        assert len(loaded) == len(cut.keep)
        for text in (*corpus, *TEXTS):
            assert loaded(text, add_special_tokens=False)["input_ids"] == encode(cut.after, text)

    @pytest.mark.parametrize("style", ["llama", "qwen", "pico"])
    def test_chat(self, cut_of, style, tmp_path):
        """The chat template gives the same text, whose special tokens are single, renumbered ids."""
        cut = cut_of(style)
        old, new = (AutoTokenizer.from_pretrained(path) for path in (cut.folder, cut.write(tmp_path / "cut")))
        text = old.apply_chat_template(MESSAGES, tokenize=False)
        assert new.apply_chat_template(MESSAGES, tokenize=False) == text
        special = [cut.new_ids[token_id] for token_id in encode(cut.before, text) if token_id in old.all_special_ids]
        assert [token_id for token_id in encode(cut.after, text) if token_id in new.all_special_ids] == special
        assert special

    @pytest.mark.parametrize("style", ["llama", "qwen", "phi", "pico"])
    def test_special_tokens(self, cut_of, style, tmp_path):
        """Beginning, end and padding are the same tokens under their new ids."""
        cut = cut_of(style)
        old, new = (AutoTokenizer.from_pretrained(path) for path in (cut.folder, cut.write(tmp_path / "cut")))
        assert new.special_tokens_map == old.special_tokens_map
        assert new.eos_token_id == cut.new_ids[old.eos_token_id]
