"""Bits per byte: windows belong to the text, every byte is scored, and batches do not show."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import MeasurementFailed
from harness.judge.bits_per_byte import (
    encode,
    make_batches,
    make_rows,
    measure_bits_per_byte,
    read_windows,
    row_nats,
    start_token,
)
from harness.judge.loading import load_model, load_tokenizer
from harness.judge.requests import BitsPerByteRequest
from harness.progress import silent

token_lists = st.lists(st.lists(st.integers(0, 260), max_size=40), min_size=1, max_size=8)


@pytest.fixture
def texts(tmp_path):
    def write(*rows):
        path = tmp_path / "texts.jsonl"
        path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
        return path

    return write


def request(texts, *checkpoints, window_tokens=32):
    return BitsPerByteRequest(
        checkpoints=tuple(map(str, checkpoints)), texts=str(texts), window_tokens=window_tokens, threads=1
    )


class TestReadWindows:
    @given(st.text(min_size=1), st.integers(4, 50))
    @settings(max_examples=50)
    def test_is_an_opening_of_the_text(self, tmp_path_factory, text, span_bytes):
        """A window is the longest opening of whole characters that fits."""
        path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
        try:
            path.write_text(json.dumps({"text": text}))
            text.encode()
        except UnicodeEncodeError:
            return
        (window,) = read_windows(path, span_bytes=span_bytes)
        assert text.startswith(window)
        assert len(window.encode()) <= span_bytes
        assert window == text or len(text[: len(window) + 1].encode()) > span_bytes

    @pytest.mark.parametrize("row", ["{}", "[]", '{"text": 3}', "no json", '{"text": "\\ud800"}'])
    def test_a_row_without_text_is_named(self, tmp_path, row):
        """A row that holds no text is an error with file and line."""
        (tmp_path / "texts.jsonl").write_text('{"text": "fine"}\n' + row + "\n")
        with pytest.raises(MeasurementFailed, match=r"texts\.jsonl:2: expected"):
            read_windows(tmp_path / "texts.jsonl", span_bytes=8)

    def test_no_text_at_all(self, texts):
        """Nothing to measure on is an error, not a perfect score."""
        with pytest.raises(MeasurementFailed, match="no text"):
            read_windows(texts("", ""), span_bytes=8)


class TestRows:
    @given(token_lists, st.integers(2, 20))
    def test_every_token_is_scored_once(self, encoded, window_tokens):
        """The rows of a window, start tokens taken off, are its tokens."""
        rows = make_rows(encoded, start=1, window_tokens=window_tokens)
        assert all(row.token_ids[0] == 1 and 2 <= len(row.token_ids) <= window_tokens for row in rows)
        for index, token_ids in enumerate(encoded):
            assert [token for row in rows if row.window == index for token in row.token_ids[1:]] == token_ids

    @given(token_lists, st.integers(20, 100))
    def test_batches_hold_every_row_once(self, encoded, token_limit):
        """Nothing is lost to batching, and no batch is larger than its limit."""
        rows = make_rows(encoded, start=1, window_tokens=16)
        batches = list(make_batches(rows, token_limit=token_limit))
        assert sorted(map(repr, rows)) == sorted(repr(row) for batch in batches for row in batch)
        assert all(len(batch) * len(batch[0].token_ids) <= token_limit for batch in batches)


class TestEncode:
    def test_a_special_token_in_the_text_is_text(self, tiny_checkpoint):
        """Text that spells a special token is scored as the characters that it is."""
        (token_ids,) = encode(load_tokenizer(tiny_checkpoint), ["a<|end|>b"], tiny_checkpoint)
        assert len(token_ids) == len("a<|end|>b")

    def test_a_tokenizer_that_loses_text_is_refused(self, tiny_checkpoints):
        """Text that cannot be decoded again was not predicted."""
        tokenizer = load_tokenizer(tiny_checkpoints["llama"])
        tokenizer.backend_tokenizer.normalizer = __import__("tokenizers").normalizers.Lowercase()
        with pytest.raises(MeasurementFailed, match="loses text"):
            encode(tokenizer, ["fine", "Not Fine"], tiny_checkpoints["llama"])


class TestRowNats:
    def test_equals_one_row_at_a_time_in_double_precision(self, tiny_checkpoint):
        """Padding, batching and FP32 do not show: each row's sum is that of the plain definition in FP64."""
        model = load_model(tiny_checkpoint, precision="float32", device="cpu")
        rows = make_rows([[5, 6, 7, 8], [9, 200], list(range(100, 160))], start=1, window_tokens=48)
        found = row_nats(model, rows)
        slow = load_model(tiny_checkpoint, precision="float32", device="cpu").double()
        for row, nats in zip(rows, found, strict=True):
            logits = slow(input_ids=torch.tensor([row.token_ids])).logits[0]
            log_probabilities = torch.log_softmax(logits.double(), -1)
            expected = -sum(float(log_probabilities[i, token]) for i, token in enumerate(row.token_ids[1:]))
            assert nats == pytest.approx(expected, rel=1e-5)


class TestMeasure:
    @pytest.fixture
    def made(self, tmp_path, tiny_checkpoints):
        """A tiny model after a change of its weights."""

        def make(change):
            model = load_model(tiny_checkpoints["llama"], precision="float32", device="cpu")
            change(model)
            model.save_pretrained(tmp_path / "made")
            load_tokenizer(tiny_checkpoints["llama"]).save_pretrained(tmp_path / "made")
            return tmp_path / "made"

        return make

    def test_a_model_that_knows_nothing_needs_the_uniform_bits(self, made, texts):
        """With logits almost equal, a byte costs log2 of the vocabulary: the tiny tokenizer has a token per byte."""
        flat = made(lambda model: model.lm_head.weight.mul_(1e-3))
        (figure,) = measure_bits_per_byte(request(texts("some text", "你好"), flat), silent)
        assert figure.bits_per_byte == pytest.approx(math.log2(261), rel=1e-3)
        assert figure.byte_count == len("some text") + len("你好".encode())
        assert figure.token_count == figure.byte_count

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda model: model.lm_head.weight.zero_(), "every token the same probability"),
            (lambda model: model.model.norm.weight.zero_(), "every token the same probability"),
        ],
        ids=["no head", "nothing comes out of the layers"],
    )
    def test_a_model_that_reads_nothing_is_a_failure(self, made, texts, change, words):
        """What predicts the same whatever stands before has no score, however finite its likelihood is."""
        with pytest.raises(MeasurementFailed, match=words):
            measure_bits_per_byte(request(texts("some text", "more of it"), made(change)), silent)

    def test_several_checkpoints_score_the_same_bytes(self, texts, tiny_checkpoints):
        """Figures of one request are pairs: the same windows, the same bytes."""
        path = texts("first text", "二", "a longer third text " * 20)
        figures = measure_bits_per_byte(request(path, *tiny_checkpoints.values()), silent)
        assert len({figure.texts_sha256 for figure in figures}) == 1
        assert len({tuple(window.byte_count for window in figure.windows) for figure in figures}) == 1

    def test_weights_that_are_not_finite_are_a_failure(self, tmp_path, texts, tiny_checkpoints):
        """A model that predicts nothing has no score."""
        model = load_model(tiny_checkpoints["llama"], precision="float32", device="cpu")
        model.lm_head.weight[7, 3] = math.nan
        model.save_pretrained(tmp_path / "broken")
        load_tokenizer(tiny_checkpoints["llama"]).save_pretrained(tmp_path / "broken")
        with pytest.raises(MeasurementFailed, match="likelihood of held-out window 0 is nan"):
            measure_bits_per_byte(request(texts("text"), tmp_path / "broken"), silent)

    def test_a_context_shorter_than_the_window(self, texts, tiny_checkpoints):
        """A model is not scored on more than it can see."""
        with pytest.raises(MeasurementFailed, match="context of 512 tokens is shorter than the window of 513"):
            measure_bits_per_byte(request(texts("text"), tiny_checkpoints["phi"], window_tokens=513), silent)

    def test_start_token_is_begin_of_text(self, tiny_checkpoints):
        """Every row starts as a document does."""
        tokenizer = load_tokenizer(tiny_checkpoints["llama"])
        model = load_model(tiny_checkpoints["llama"], precision="float32", device="cpu")
        assert start_token(tokenizer, model) == tokenizer.bos_token_id
