"""Tokenizers as the three base models have them, trained here on a little English, Chinese and code.

gpt2    ByteLevel alone, merges as lists                         strings   the same, merges as texts
llama   every split of a token is a merge, ignore_merges, BOS put in front by id, 256 specials at the end, two EOS
qwen    NFC, three specials at the end, vocab.json and merges.txt, rows of padding in the model
phi     <|endoftext|> is a base token too; runs of spaces are added tokens at the end
pico    the shipped one: specials have the lowest ids
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from harness.surgery.vocabulary.frequencies import count_tokens
from harness.surgery.vocabulary.mandatory import mandatory_tokens
from harness.surgery.vocabulary.selection import select_by_frequency
from harness.surgery.vocabulary.settings import Renumbering
from harness.surgery.vocabulary.tokenizer import read_tokenizer
from harness.surgery.vocabulary.tokenizer_files import rewrite_files

STYLES = ("gpt2", "strings", "llama", "qwen", "phi", "pico")
PICO = Path(__file__).parents[3] / "harness" / "pico" / "models" / "pico-llama"

ENGLISH = (
    "The smaller a model is, the more of its memory is vocabulary.",
    "She sells sea shells by the sea shore; the shells that she sells are sea shells for sure.",
    "What is the answer? (A) 12 (B) 345 (C) None of these. The answer is B.",
    "In the morning the other children gathered together there, and then they went to their mother.",
)
CHINESE = (
    "今天天气很好，我们一起去公园散步。",  # noqa: RUF001 - Chinese punctuation is meant
    "机器学习模型的词表越大，嵌入层占用的内存就越多。",  # noqa: RUF001
    "问题：下列哪一项是正确的？答案是甲。我们的模型很小。",  # noqa: RUF001
)
CODE = (
    "def add(left, right):\n    return left + right\n\n\nfor index in range(10):\n    print(add(index, 1))\n",
    "if (value != null) {\n\treturn value.size();\n}\n",
)
CORPUS = ENGLISH + CHINESE + CODE

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' }}"
    "\n{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA_CHAT = (
    "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' "
    "+ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
)


@dataclass(frozen=True)
class Cut:
    """A checkpoint's small files before and after."""

    folder: Path
    keep: tuple

    @cached_property
    def files(self):
        return rewrite_files(self.folder, self.keep)

    @cached_property
    def before(self):
        return Tokenizer.from_file(str(self.folder / "tokenizer.json"))

    @cached_property
    def after(self):
        return Tokenizer.from_str(self.files["tokenizer.json"].decode())

    @cached_property
    def new_ids(self):
        return Renumbering.of(self.keep).new_ids

    def json(self, name):
        return json.loads(self.files[name])

    def write(self, folder):
        """The checkpoint without weights, rewritten."""
        folder.mkdir()
        for file in self.folder.iterdir():
            if file.suffix != ".safetensors":
                (folder / file.name).write_bytes(self.files.get(file.name, file.read_bytes()))
        return folder


def bpe(size=700):
    """A GPT-2-like tokenizer file as JSON."""
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    engine.train_from_iterator(
        CORPUS * 3, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    )
    return json.loads(engine.to_str())


def added(token, token_id, *, special=True):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    return {"id": token_id, "content": token, **flags, "normalized": not special, "special": special}


def append(document, tokens, *, special=True):
    """Add ``tokens`` behind the last id and give their ids."""
    first = len({**document["model"]["vocab"], **{entry["content"]: 0 for entry in document["added_tokens"]}})
    document["added_tokens"] += [added(token, first + place, special=special) for place, token in enumerate(tokens)]
    return {token: first + place for place, token in enumerate(tokens)}


def every_split(vocabulary):
    """Merges as a converted tiktoken file has them: by the rank of the result, each way to halve it."""
    ordered = sorted(vocabulary, key=vocabulary.get)
    halves = [(token[:place], token[place:]) for token in ordered for place in range(1, len(token))]
    return [[left, right] for left, right in halves if left in vocabulary and right in vocabulary]


def words(pattern):
    """The pre-tokenizer that splits a text by ``pattern``."""
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, BYTE_LEVEL]}


def decoder_entries(document):
    return {str(entry["id"]): {key: entry[key] for key in entry if key != "id"} for entry in document["added_tokens"]}


def gpt2(document):
    return {"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}}


def strings(document):
    document["model"]["merges"] = [" ".join(merge) for merge in document["model"]["merges"]]
    return gpt2(document)


def llama(document):
    named = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    ids = append(document, [*named, *(f"<|reserved_special_token_{place}|>" for place in range(251))])
    document["model"] |= {"ignore_merges": True, "merges": every_split(document["model"]["vocab"])}
    document["pre_tokenizer"] = words(r"\p{L}+| ?[^\s\p{L}]+|\s+")
    bos = named[0]
    text, start = ({"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": bos, "type_id": 0}})
    special = {bos: {"id": bos, "ids": [ids[bos]], "tokens": [bos]}}
    template = {"type": "TemplateProcessing", "single": [start, text], "pair": [start, text], "special_tokens": special}
    document["post_processor"] = {"type": "Sequence", "processors": [BYTE_LEVEL, template]}
    eos = [ids["<|end_of_text|>"], ids["<|eot_id|>"]]
    return {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "added_tokens_decoder": decoder_entries(document),
            "bos_token": bos,
            "eos_token": "<|eot_id|>",
            "chat_template": LLAMA_CHAT,
        },
        "generation_config.json": {"bos_token_id": ids[bos], "eos_token_id": eos, "temperature": 0.6},
        "config.json": {"bos_token_id": ids[bos], "eos_token_id": eos, "pad_token_id": None, "vocab_size": 10_000},
    }


def qwen(document):
    ids = append(document, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    document |= {"normalizer": {"type": "NFC"}, "pre_tokenizer": words(PRETOKENIZE_REGEX)}
    merges = "".join(" ".join(merge) + "\n" for merge in document["model"]["merges"])
    end, turn = ids["<|endoftext|>"], ids["<|im_end|>"]
    return {
        "tokenizer_config.json": {
            "tokenizer_class": "Qwen2Tokenizer",
            "added_tokens_decoder": decoder_entries(document),
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "chat_template": CHATML,
        },
        "generation_config.json": {"bos_token_id": end, "pad_token_id": end, "eos_token_id": [turn, end]},
        "config.json": {"bos_token_id": end, "eos_token_id": turn, "vocab_size": turn + 100},
        "vocab.json": document["model"]["vocab"],
        "merges.txt": "#version: 0.2\n" + merges,
    }


def phi(document):
    end = len(document["model"]["vocab"])
    document["model"]["vocab"]["<|endoftext|>"] = end
    document["added_tokens"] = [added("<|endoftext|>", end)]
    spaces = append(document, [" " * count for count in range(9, 1, -1)], special=False)
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    return {
        "tokenizer_config.json": {
            "tokenizer_class": "CodeGenTokenizer",
            "added_tokens_decoder": decoder_entries(document),
            **names,
        },
        "special_tokens_map.json": names,
        "added_tokens.json": spaces,
        "vocab.json": document["model"]["vocab"],
        "merges.txt": "#version: 0.2\n" + "".join(" ".join(merge) + "\n" for merge in document["model"]["merges"]),
        "config.json": {"bos_token_id": end, "eos_token_id": end, "pad_token_id": None, "vocab_size": end + 60},
    }


def write_style(style, folder):
    """The small files of a checkpoint in the style of a base model."""
    if style == "pico":
        for file in PICO.glob("*.json"):
            (folder / file.name).write_bytes(file.read_bytes())
        return folder
    document = bpe()
    files = {"tokenizer.json": document, **globals()[style](document)}
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=2)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """The checkpoint of a style, by its name; not to be changed."""
    made = {}

    def folder(style):
        if style not in made:
            made[style] = write_style(style, tmp_path_factory.mktemp(style))
        return made[style]

    return folder


@pytest.fixture(scope="session")
def corpus():
    return CORPUS


@pytest.fixture(scope="session")
def cut_of(folder_of):
    """The cut of a style that keeps half of the tokens that need not stay, by frequency."""
    made = {}

    def cut(style):
        if style not in made:
            folder = folder_of(style)
            tokenizer = read_tokenizer(folder)
            counts = count_tokens(tokenizer.path, ENGLISH)
            mandatory = mandatory_tokens(folder, tokenizer)
            fixed = len({*mandatory, *tokenizer.byte_ids(), *tokenizer.added.values()})
            keep = select_by_frequency(tokenizer, counts, (2 * fixed + tokenizer.length) // 3, mandatory)
            made[style] = Cut(folder=folder, keep=keep)
        return made[style]

    return cut


@pytest.fixture(scope="session")
def keep_all_of(folder_of):
    """The cut of a style that drops nothing."""
    return lambda style: Cut(folder=folder_of(style), keep=tuple(read_tokenizer(folder_of(style)).token_of))


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


@pytest.fixture
def own_folder(tmp_path):
    """A checkpoint of a style that a test may change."""

    def write(style):
        folder = tmp_path / style
        folder.mkdir()
        return write_style(style, folder)

    return write


@pytest.fixture
def edit():
    """Change a JSON file: ``edit(path, function)`` lets the function change the parsed document."""

    def change(path, function):
        document = json.loads(path.read_text(encoding="utf-8"))
        function(document)
        path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")

    return change


@pytest.fixture(scope="session")
def ones():
    return lambda tokenizer: np.ones(tokenizer.row_count, dtype=np.int64)
