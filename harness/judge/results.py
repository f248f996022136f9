"""What the official measurements say, and how two of them compare.

BitsPerByte   one number, its standard error, and every window it came from, so that two models measured on the same
              texts are compared window by window: their difference is known far better than either figure
Performance   speed and memory of one fresh process, with every repeat and the machine it ran on
"""

from __future__ import annotations

import math
from typing import NamedTuple

from pydantic import Field

from harness.document import Document
from harness.judge.fingerprint import HostFingerprint

NORMAL_95 = 1.959964
"""Half the width of a 95 % interval, in standard errors."""


class Window(NamedTuple):
    """One held-out window, defined on the text and so the same for every tokenizer."""

    bits: float
    """Negative log-likelihood of the window's tokens, summed, in bits."""
    byte_count: int
    """UTF-8 bytes of the window's text, all of them scored."""


class BitsPerByte(Document):
    """How well a model predicts held-out text."""

    bits_per_byte: float = Field(ge=0, allow_inf_nan=False)
    """Bits of all windows over bytes of all windows."""
    standard_error: float = Field(ge=0, allow_inf_nan=False)
    """Of that ratio, over windows."""
    window_count: int = Field(gt=0)
    byte_count: int = Field(gt=0)
    token_count: int = Field(gt=0)
    """Tokens that were scored, of the model's own tokenizer."""
    window_tokens: int = Field(gt=0)
    """Context that a token could see, at most."""
    dtype: str = "float32"
    """Of the arithmetic; the checkpoint's own precision is in its weights."""
    texts_sha256: str
    """Over the scored text; only measurements with the same digest can be compared."""
    windows: tuple[Window, ...]


class Difference(Document):
    """How much one model differs from another on the same windows, in bits per byte."""

    mean: float
    """First minus second; negative: the first predicts better."""
    standard_error: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""


class GpuMemory(Document):
    """Peak memory of a GPU at its three levels: what tensors took, what torch held for them, what the device says."""

    allocated_bytes: int = Field(ge=0)
    """Largest sum of live tensors."""
    reserved_bytes: int = Field(ge=0)
    """Largest sum of blocks that torch's allocator held; the cap is enforced on this one."""
    device_bytes: int = Field(ge=0)
    """In use on the whole device at the end: context, libraries and other processes included."""
    device_before_bytes: int = Field(ge=0)
    """The same before the weights, with torch's context made."""
    total_bytes: int = Field(gt=0)


class KitForward(Document):
    """The competition kit's own figure: whole forward passes over one padded prompt, batch 1, by second.

    Beside it, on a GPU, what the kit's script prints: its clock stops before the device has finished.
    """

    forward_tokens: int = Field(gt=0)
    """The kit pads to 2,000; fewer where the model's context is shorter, and then it is not the kit's figure."""
    kit_length: bool
    """Whether ``forward_tokens`` is the kit's."""
    forward_s: tuple[float, ...]
    """Every repeat, wall clock, after the device has finished."""
    forward_cpu_s: tuple[float, ...]
    inferences_per_s: float = Field(gt=0, allow_inf_nan=False)
    """Batch over the mean time, as the kit computes it; synchronised."""
    kit_compatible_inferences_per_s: float | None = None
    """The same without synchronisation; none on a CPU, where the two are one."""
    kit_memory_mb: float | None = None
    """Mean of torch's largest allocation over the repeats, in the kit's MB of 2**20 bytes; none on a CPU."""
    host_peak_memory_bytes: int = Field(gt=0)
    """VmHWM of this figure's own process, libraries and the logits of all positions included."""


class Performance(Document):
    """Speed and memory of a checkpoint in a fresh process of its own: a host's figures, not a phone's."""

    runtime: str
    """What ran the model, with its version, e.g. ``transformers 5.23.0``."""
    dtype: str
    """Of the weights in memory and of the arithmetic."""
    device: str
    device_name: str
    """Model name of the processor that computed."""
    thread_count: int = Field(gt=0)
    prefill_tokens: int = Field(gt=0)
    decode_tokens: int = Field(gt=0)
    repeats: int = Field(gt=0)
    prefill_tokens_per_s: float = Field(gt=0, allow_inf_nan=False)
    """Median over the repeats."""
    decode_tokens_per_s: float = Field(gt=0, allow_inf_nan=False)
    """Median over the repeats; batch 1, one token at a time with a key-value cache."""
    time_to_first_token_s: float = Field(gt=0, allow_inf_nan=False)
    """From the prompt's token ids to the first new token id, median."""
    peak_memory_bytes: int = Field(gt=0)
    """On a CPU the process's peak resident memory (VmHWM), libraries included; on a GPU the peak that was reserved."""
    memory_method: str
    """How ``peak_memory_bytes`` was read."""
    host_peak_memory_bytes: int = Field(gt=0)
    """VmHWM of the process, wherever the arithmetic ran."""
    runtime_memory_bytes: int = Field(gt=0)
    """VmHWM before the weights were touched: what the libraries alone need."""
    prefill_s: tuple[float, ...]
    """Every repeat."""
    decode_s: tuple[float, ...]
    """Every repeat."""
    prefill_cpu_s: tuple[float, ...] = ()
    """CPU time of the process in every repeat, all threads: wall time above it was waiting."""
    decode_cpu_s: tuple[float, ...] = ()
    """Likewise."""
    host: HostFingerprint | None = None
    """The machine, and how busy it was."""
    gpu: GpuMemory | None = None
    """None where no GPU computed."""


def summarise(windows: tuple[Window, ...], *, token_count: int, window_tokens: int, texts_sha256: str) -> BitsPerByte:
    """The ratio of the sums, with its standard error; ``windows`` is not empty and finite."""
    byte_count = sum(window.byte_count for window in windows)
    ratio = math.fsum(window.bits for window in windows) / byte_count
    return BitsPerByte(
        bits_per_byte=ratio,
        standard_error=_ratio_error(windows, ratio),
        window_count=len(windows),
        byte_count=byte_count,
        token_count=token_count,
        window_tokens=window_tokens,
        texts_sha256=texts_sha256,
        windows=windows,
    )


def paired_difference(first: BitsPerByte, second: BitsPerByte) -> Difference:
    """``first`` minus ``second``, with the interval that the pairing of their windows gives.

    Raises:
        ValueError: the two were not measured on the same texts.
    """
    if first.texts_sha256 != second.texts_sha256:
        raise ValueError(
            f"only measurements on the same texts can be paired, found {first.texts_sha256} and {second.texts_sha256}"
        )
    pairs = zip(first.windows, second.windows, strict=True)
    differences = tuple(Window(a.bits - b.bits, a.byte_count) for a, b in pairs)
    mean = math.fsum(window.bits for window in differences) / first.byte_count
    error = _ratio_error(differences, mean)
    return Difference(mean=mean, standard_error=error, low=mean - NORMAL_95 * error, high=mean + NORMAL_95 * error)


def _ratio_error(windows: tuple[Window, ...], ratio: float) -> float:
    """Standard error of a ratio of sums by linearisation (Cochran, Sampling Techniques, section 6.4); 0 for one."""
    count = len(windows)
    if count == 1:
        return 0.0
    squares = math.fsum((window.bits - ratio * window.byte_count) ** 2 for window in windows)
    return math.sqrt(squares * count / (count - 1)) / sum(window.byte_count for window in windows)
