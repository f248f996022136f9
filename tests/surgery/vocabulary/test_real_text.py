"""On real text, where there is some: what a cut costs in tokens per character."""

from __future__ import annotations

import gzip
import json
import os
from itertools import islice
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from harness.surgery.vocabulary.frequencies import count_tokens
from harness.surgery.vocabulary.mandatory import mandatory_tokens
from harness.surgery.vocabulary.selection import select_by_frequency, select_by_rank
from harness.surgery.vocabulary.tokenizer import read_tokenizer
from harness.surgery.vocabulary.tokenizer_files import rewrite_files

ENGLISH_COUNT, CHINESE_COUNT, HELD_OUT_COUNT = 400, 4000, 500
DROP_FRACTION = 0.4


def rows(file, key):
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        yield from (text for line in stream if (text := json.loads(line)[key]))


@pytest.fixture(scope="module")
def shared_train():
    default = Path(__file__).parents[4] / "shared" / "data"
    folder = Path(os.environ.get("HARNESS_SHARED_DATA", default)) / "train"
    if not folder.is_dir():
        pytest.skip("no real data here")
    return folder


@pytest.fixture(scope="module")
def real_texts(shared_train):
    """English and Chinese to learn and count from, and Chinese that was not looked at."""
    english = list(islice(rows(shared_train / "c4_en.jsonl.gz", "text"), ENGLISH_COUNT))
    chinese = list(islice(rows(shared_train / "alpaca_zh.jsonl.gz", "output"), CHINESE_COUNT + HELD_OUT_COUNT))
    return english, chinese[:CHINESE_COUNT], chinese[CHINESE_COUNT:]


@pytest.fixture(scope="module")
def real_folder(real_texts, tmp_path_factory):
    """A tokenizer of 8,000 tokens, learned from mostly English text as Llama's was."""
    english, chinese, _ = real_texts
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=8000, initial_alphabet=alphabet, show_progress=False)
    engine.train_from_iterator([*english, *chinese[:500]], trainer)
    folder = tmp_path_factory.mktemp("real")
    engine.save(str(folder / "tokenizer.json"))
    return folder


def fertility(path, texts):
    """Tokens per character."""
    return count_tokens(path, texts).sum() / sum(map(len, texts))


def fertility_after(folder, keep, texts, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(rewrite_files(folder, keep)["tokenizer.json"])
    return fertility(path, texts)


class TestFertility:
    def test_counting_spares_chinese(self, real_texts, real_folder, tmp_path):
        """A cut by counts of both languages costs held-out Chinese fewer tokens per character than a cut by rank."""
        english, chinese, held_out = real_texts
        tokenizer = read_tokenizer(real_folder)
        by_rank = select_by_rank(tokenizer, DROP_FRACTION)
        counts = count_tokens(tokenizer.path, [*english, *chinese])
        counted = select_by_frequency(tokenizer, counts, len(by_rank), mandatory_tokens(real_folder, tokenizer))
        assert len(counted) == len(by_rank)
        before = fertility(tokenizer.path, held_out)
        by_counts = fertility_after(real_folder, counted, held_out, tmp_path)
        assert before <= by_counts < fertility_after(real_folder, by_rank, held_out, tmp_path)

    def test_texts_come_back(self, real_texts, real_folder):
        """Every held-out text is the same after encoding and decoding with the smaller vocabulary."""
        keep = select_by_rank(read_tokenizer(real_folder), DROP_FRACTION)
        engine = Tokenizer.from_str(rewrite_files(real_folder, keep)["tokenizer.json"].decode())
        assert all(engine.decode(engine.encode(text).ids) == text for text in real_texts[2])
