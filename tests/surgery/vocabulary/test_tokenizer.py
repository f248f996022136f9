"""Tokenizer files are taken as the tokenizers library takes them, or refused."""

from __future__ import annotations

import json
import os

import pytest
from tokenizers import Tokenizer, pre_tokenizers

from harness.errors import CheckpointCorrupt, UsageError
from harness.surgery.vocabulary.foreign import MAX_VOCABULARY_BYTES
from harness.surgery.vocabulary.tokenizer import BYTE_SYMBOLS, read_tokenizer
from harness.surgery.vocabulary.tokenizer_files import rewrite_files


def in_model(**fields):
    return lambda document: document["model"].update(fields)


def add(content, token_id):
    return lambda document: document["added_tokens"].append({"content": content, "id": token_id})


class TestReadTokenizer:
    def test_byte_symbols(self):
        """The alphabet is the one that ByteLevel writes bytes in."""
        assert set(pre_tokenizers.ByteLevel.alphabet()) == BYTE_SYMBOLS

    def test_says_what_the_library_says(self, folder_of, style):
        """Tokens and ids are those that the tokenizers library has, ascending."""
        tokenizer = read_tokenizer(folder_of(style))
        engine = Tokenizer.from_file(str(tokenizer.path))
        assert {token: token_id for token_id, token in tokenizer.token_of.items()} == engine.get_vocab()
        assert list(tokenizer.token_of) == sorted(tokenizer.token_of)
        assert tokenizer.length == tokenizer.row_count == engine.get_vocab_size()


class TestKind:
    def test_no_fast_tokenizer(self, tmp_path):
        """Without ``tokenizer.json`` the way out is to make one."""
        with pytest.raises(UsageError, match=r"no tokenizer.json; only a fast tokenizer's vocabulary can be cut"):
            read_tokenizer(tmp_path)

    @pytest.mark.parametrize(
        ("change", "found"),
        [
            (in_model(type="Unigram"), "model type 'Unigram'"),
            (in_model(type="WordPiece"), "model type 'WordPiece'"),
            (in_model(byte_fallback=True), "byte_fallback True"),
            (in_model(end_of_word_suffix="</w>"), "end_of_word_suffix '</w>'"),
            (in_model(dropout=0.1), "dropout 0.1"),
            (lambda document: document.update(pre_tokenizer={"type": "Whitespace"}), "a pre_tokenizer without"),
            (lambda document: document.update(pre_tokenizer={"type": "Sequence", "pretokenizers": 3}), "a pre_tok"),
            (lambda document: document.update(decoder=None), "a decoder without ByteLevel"),
        ],
    )
    def test_other_kinds(self, own_folder, edit, change, found):
        """Only byte-level BPE is cut; anything else is said, not guessed at."""
        folder = own_folder("gpt2")
        edit(folder / "tokenizer.json", change)
        with pytest.raises(UsageError, match=f"byte-level BPE can be cut, found {found}"):
            read_tokenizer(folder)

    def test_missing_bytes(self, own_folder, edit):
        """A vocabulary that lacks bytes cannot write every text."""
        folder = own_folder("gpt2")

        def drop(document):
            document["model"] = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}

        edit(folder / "tokenizer.json", drop)
        with pytest.raises(UsageError, match="no token for 254 of the 256 bytes"):
            read_tokenizer(folder)


class TestHostile:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda document: document.update(model=[]), "model: must be an object, found a list"),
            (in_model(vocab=["a"]), "vocab: must be an object, found a list"),
            (lambda document: document["model"]["vocab"].update(zz="7"), "must be an integer, found '7'"),
            (lambda document: document["model"]["vocab"].update(zz=True), "must be an integer, found True"),
            (lambda document: document["model"]["vocab"].update(zz=-1), r"id must be in 0\.\.16777215, found -1"),
            (lambda document: document["model"]["vocab"].update(zz=10**400), "found a huge integer"),
            (lambda document: document["model"]["vocab"].update(zz=5), "id 5 belongs to several tokens"),
            (lambda document: document["model"]["vocab"].update({"z" * 5000: 999}), "characters are read, found 5000"),
            (in_model(merges="a b"), "merges: must be a list, found 'a b'"),
            (in_model(merges=["a b c"]), "a merge must be two tokens, found 'a b c'"),
            (in_model(merges=[["a", 3]]), "a merge must be two tokens, found a list"),
            (in_model(merges=[["a", ""]]), "a merge must be two tokens"),
            (in_model(merges=[["龘", "a"]]), "both halves and their sum must be in the vocabulary"),
            (lambda document: document.update(added_tokens={}), "added_tokens: must be a list"),
            (lambda document: document.update(added_tokens=[7]), "added_tokens: must be an object, found 7"),
            (add(3, 9), "content: must be a text, found 3"),
            (add("<x>", 5000), "'<x>' must stand there once with id"),
            (add("a", 5000), "'a' must stand there once with id"),
            (add("<x>", None), "must be an integer, found None"),
        ],
    )
    def test_wrong_values(self, own_folder, edit, change, message):
        """Each value that is not what it must be is an error that names it."""
        folder = own_folder("gpt2")
        edit(folder / "tokenizer.json", change)
        with pytest.raises(CheckpointCorrupt, match=message):
            read_tokenizer(folder)

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 200_000, b'{"model": ' * 50_000, b"1" * 10_000]
    )
    def test_no_json_object(self, tmp_path, content):
        """What is no JSON object is said so, however deep it is nested."""
        (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(CheckpointCorrupt, match=r"tokenizer\.json: (cannot be read as JSON|must be an object)"):
            read_tokenizer(tmp_path)

    def test_too_large(self, tmp_path):
        """A file over the limit is not parsed."""
        with (tmp_path / "tokenizer.json").open("wb") as stream:
            stream.truncate(MAX_VOCABULARY_BYTES + 1)
        with pytest.raises(CheckpointCorrupt, match=f"at most {MAX_VOCABULARY_BYTES} bytes are read"):
            read_tokenizer(tmp_path)

    def test_a_pipe(self, tmp_path):
        """Nothing is waited for."""
        os.mkfifo(tmp_path / "tokenizer.json")
        with pytest.raises(CheckpointCorrupt, match="is no plain file"):
            read_tokenizer(tmp_path)

    def test_half_a_character(self, own_folder):
        """A lone surrogate, which no UTF-8 file can hold, is refused when it would be written."""
        folder = own_folder("gpt2")
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps({"note": "\ud800"}))
        with pytest.raises(CheckpointCorrupt, match="cannot be written again"):
            rewrite_files(folder, tuple(read_tokenizer(folder).token_of))
