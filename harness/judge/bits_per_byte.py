"""Bits per byte on held-out text: comparable across tokenizers, and paired window by window.

    text ── its first span_bytes ──> window ── tokenizer ──> rows of at most window_tokens, after the start token
                                       |                                          |
                                   UTF-8 bytes                    negative log-likelihood of every token, nats
                                       └────────── bits per byte = sum of bits / sum of bytes ──────────┘

A window is defined on the text, before any tokenizer sees it, so two models score the same bytes. Every token of a
window is scored, the first one given the start token. A tokenizer that loses text would score less than it claims:
decoding what was encoded must give the window back.
"""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from harness.errors import MeasurementFailed
from harness.judge.loading import context_tokens, load_model, load_tokenizer
from harness.judge.results import BitsPerByte, Window, summarise
from harness.judge.variety import Variety

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from harness.judge.requests import BitsPerByteRequest
    from harness.progress import Progress

SPAN_BYTES_PER_TOKEN = 4
"""A window is at most ``window_tokens`` times this many bytes: about one row of English under a large vocabulary."""
BATCH_TOKENS = 8192
BATCH_LOGITS = 1 << 27
"""Logits of one batch, at most, unless a single row needs more."""
LOSS_ROWS = 1024
"""Positions whose log-softmax is taken at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One forward pass's worth of a window."""

    window: int
    token_ids: tuple[int, ...]
    """Start token first; all others are scored."""


def measure_bits_per_byte(request: BitsPerByteRequest, progress: Progress) -> tuple[BitsPerByte, ...]:
    """One figure per checkpoint of ``request``, all on the same windows.

    Raises:
        MeasurementFailed: no text, a tokenizer that loses text, a context shorter than the window, a likelihood that
            is not finite, or a model that predicts the same whatever it read.
    """
    torch.set_num_threads(request.threads)
    windows = read_windows(Path(request.texts), span_bytes=SPAN_BYTES_PER_TOKEN * request.window_tokens)
    return tuple(_figure(Path(checkpoint), windows, request, progress) for checkpoint in request.checkpoints)


def read_windows(texts: Path, *, span_bytes: int) -> tuple[str, ...]:
    """The opening of every text of a JSON lines file, at most ``span_bytes`` of UTF-8, cut between characters.

    Raises:
        MeasurementFailed: a row has no text, or there is none.
    """
    with texts.open(encoding="utf-8") as stream:
        windows = tuple(_opening(line, span_bytes, f"{texts}:{number}") for number, line in enumerate(stream, 1))
    if not any(windows):
        raise MeasurementFailed(f"{texts}: no text to measure on")
    return tuple(window for window in windows if window)


def _opening(line: str, span_bytes: int, place: str) -> str:
    try:
        text = json.loads(line)["text"].encode()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MeasurementFailed(f"{place}: expected a JSON object with a string 'text': {error!r}") from error
    return bytes(text[:span_bytes]).decode(errors="ignore")


def _figure(checkpoint: Path, windows: Sequence[str], request: BitsPerByteRequest, progress: Progress) -> BitsPerByte:
    model = load_model(checkpoint, precision="float32", device=request.device)
    if (context := context_tokens(model.config)) < request.window_tokens:
        raise MeasurementFailed(
            f"{checkpoint}: a context of {context} tokens is shorter than the window of {request.window_tokens}"
        )
    tokenizer = load_tokenizer(checkpoint)
    start = start_token(tokenizer, model)
    encoded = encode(tokenizer, windows, checkpoint)
    rows = make_rows(encoded, start=start, window_tokens=request.window_tokens)
    variety = Variety()
    bits = _window_bits(model, rows, len(windows), progress, checkpoint.name, variety)
    if not all(map(math.isfinite, bits)):
        worst = next(index for index, value in enumerate(bits) if not math.isfinite(value))
        broken = sum(not math.isfinite(value) for value in bits)
        raise MeasurementFailed(
            f"{checkpoint}: the likelihood of held-out window {worst} is {bits[worst]}, and {broken} of {len(bits)} "
            "windows have none; look for NaN or infinite weights: harness validate"
        )
    if variety.fault is not None:
        raise MeasurementFailed(f"{checkpoint}: {variety.fault}; a figure of it would say nothing about the text")
    scored = tuple(Window(value, len(text.encode())) for value, text in zip(bits, windows, strict=True))
    return summarise(
        scored,
        token_count=sum(map(len, encoded)),
        window_tokens=request.window_tokens,
        texts_sha256=_digest(windows),
    )


def start_token(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> int:
    """The id that stands before every row: begin of text, or what the model has in its place."""
    for found in (tokenizer.bos_token_id, model.config.bos_token_id, tokenizer.eos_token_id):
        if isinstance(found, int) and 0 <= found < model.config.vocab_size:
            return found
    raise MeasurementFailed(f"{tokenizer.name_or_path}: no begin-of-text or end-of-text token within the vocabulary")


def encode(tokenizer: PreTrainedTokenizerBase, windows: Sequence[str], checkpoint: Path) -> list[list[int]]:
    """Token ids of every window; text that spells a special token is text.

    Raises:
        MeasurementFailed: decoding does not give a window back, up to Unicode's canonical form and outer white space.
    """
    encoded: list[list[int]] = tokenizer(list(windows), add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]
    for index, (text, token_ids) in enumerate(zip(windows, encoded, strict=True)):
        decoded = str(tokenizer.decode(token_ids, clean_up_tokenization_spaces=False))
        if _canonical(decoded) != _canonical(text):
            raise MeasurementFailed(
                f"{checkpoint}: its tokenizer loses text, so bits per byte mean nothing: held-out window {index} reads "
                f"{text[:60]!r} before and {decoded[:60]!r} after"
            )
    return encoded


def _canonical(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def make_rows(encoded: Sequence[Sequence[int]], *, start: int, window_tokens: int) -> tuple[Row, ...]:
    """Cut every window's tokens into rows of at most ``window_tokens``, the start token included."""
    step = window_tokens - 1
    return tuple(
        Row(window=index, token_ids=(start, *token_ids[first : first + step]))
        for index, token_ids in enumerate(encoded)
        for first in range(0, len(token_ids), step)
    )


def make_batches(rows: Sequence[Row], *, token_limit: int) -> Iterator[tuple[Row, ...]]:
    """Rows of like length together, at most ``token_limit`` tokens a batch with padding, or one row."""
    ordered = sorted(rows, key=lambda row: -len(row.token_ids))
    first = 0
    while first < len(ordered):
        count = max(1, token_limit // len(ordered[first].token_ids))
        yield tuple(ordered[first : first + count])
        first += count


def _window_bits(  # noqa: PLR0913, PLR0917 - what is scored, and who watches
    model: PreTrainedModel, rows: Sequence[Row], window_count: int, progress: Progress, label: str, variety: Variety
) -> list[float]:
    bits, done = [0.0] * window_count, 0
    token_limit = min(BATCH_TOKENS, BATCH_LOGITS // model.config.vocab_size)
    for batch in make_batches(rows, token_limit=token_limit):
        for row, nats in zip(batch, row_nats(model, batch, variety), strict=True):
            bits[row.window] += nats / math.log(2)
        done += len(batch)
        progress(f"bits per byte {label}", done, len(rows))
    return bits


@torch.inference_mode()
def row_nats(model: PreTrainedModel, batch: Sequence[Row], variety: Variety | None = None) -> list[float]:
    """Negative log-likelihood of each row's scored tokens, summed in float64, nats; ``variety`` sees the first row."""
    lengths = [len(row.token_ids) for row in batch]
    # The filling stands after every scored token, so a causal model never sees it.
    padded = torch.tensor([[*row.token_ids, *[0] * (max(lengths) - len(row.token_ids))] for row in batch])
    token_ids = padded.to(model.device)
    logits = model(input_ids=token_ids, use_cache=False).logits[:, :-1]
    if variety is not None:
        variety.see(logits[0, : lengths[0] - 1])
    losses = _token_nats(logits.flatten(0, 1), token_ids[:, 1:].flatten()).view(len(batch), -1)
    return [float(losses[index, : length - 1].double().sum()) for index, length in enumerate(lengths)]


def _token_nats(logits: Tensor, labels: Tensor) -> Tensor:
    """``[positions, vocab]``, ``[positions]`` -> float32 ``[positions]``, a few rows of the vocabulary at a time."""
    parts = zip(torch.split(logits, LOSS_ROWS), torch.split(labels, LOSS_ROWS), strict=True)
    return torch.cat([functional.cross_entropy(part.float(), label, reduction="none") for part, label in parts])


def _digest(windows: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for window in windows:
        content = window.encode()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()
