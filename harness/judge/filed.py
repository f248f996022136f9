"""The judge's figures as a submission files them: without every window, with what they were measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.submission import measurements

if TYPE_CHECKING:
    from harness.judge.results import BitsPerByte, Performance


def file_bits_per_byte(
    figure: BitsPerByte, *, data: str, split: str, checkpoint_digest: str
) -> measurements.BitsPerByte:
    """``figure``, measured on ``split`` of the edition's data set ``data``."""
    return measurements.BitsPerByte(
        data=data,
        split=split,
        value=figure.bits_per_byte,
        standard_error=figure.standard_error,
        byte_count=figure.byte_count,
        token_count=figure.token_count,
        window_count=figure.window_count,
        window_tokens=figure.window_tokens,
        checkpoint_digest=checkpoint_digest,
    )


def file_performance(figure: Performance, *, checkpoint_digest: str) -> measurements.Performance:
    """``figure``, with the decode speed of every repeat."""
    return measurements.Performance(
        runtime=figure.runtime,
        device=figure.device,
        dtype=figure.dtype,
        thread_count=figure.thread_count,
        prefill_tokens=figure.prefill_tokens,
        decode_tokens=figure.decode_tokens,
        repeats=figure.repeats,
        prefill_tokens_per_s=figure.prefill_tokens_per_s,
        decode_tokens_per_s=figure.decode_tokens_per_s,
        time_to_first_token_s=figure.time_to_first_token_s,
        peak_memory_bytes=figure.peak_memory_bytes,
        memory_method=figure.memory_method,
        decode_tokens_per_s_samples=tuple(figure.decode_tokens / duration_s for duration_s in figure.decode_s),
        checkpoint_digest=checkpoint_digest,
    )
