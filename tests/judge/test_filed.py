"""A figure is filed as it was measured."""

from __future__ import annotations

from harness.judge.filed import file_bits_per_byte, file_performance
from harness.judge.results import Performance, Window, summarise

DIGEST = "0" * 64


class TestFileBitsPerByte:
    def test_keeps_every_number(self):
        """The ratio goes by ``value``; counts and error keep their names; the windows stay out."""
        windows = (Window(8.0, 4), Window(6.0, 3), Window(9.0, 2))
        figure = summarise(windows, token_count=5, window_tokens=32, texts_sha256="1" * 64)
        filed = file_bits_per_byte(figure, data="c4", split="validation", checkpoint_digest=DIGEST)
        assert filed.value == figure.bits_per_byte
        for name in ("standard_error", "byte_count", "token_count", "window_count", "window_tokens"):
            assert getattr(filed, name) == getattr(figure, name)
        assert (filed.data, filed.split, filed.checkpoint_digest) == ("c4", "validation", DIGEST)
        assert not hasattr(filed, "windows")


class TestFilePerformance:
    def test_keeps_every_number(self):
        """Everything that the claim has a name for is the figure's; each repeat becomes a speed."""
        figure = Performance(
            runtime="transformers 5",
            dtype="float16",
            device="cpu",
            device_name="a processor",
            thread_count=2,
            prefill_tokens=16,
            decode_tokens=4,
            repeats=2,
            prefill_tokens_per_s=100.0,
            decode_tokens_per_s=8.0,
            time_to_first_token_s=0.16,
            peak_memory_bytes=300,
            memory_method="VmHWM",
            host_peak_memory_bytes=300,
            runtime_memory_bytes=200,
            prefill_s=(0.16, 0.16),
            decode_s=(0.5, 0.4),
        )
        filed = file_performance(figure, checkpoint_digest=DIGEST)
        shared = set(type(filed).model_fields) & set(Performance.model_fields)
        assert len(shared) == len(type(filed).model_fields) - 2
        assert {name: getattr(filed, name) for name in shared} == {name: getattr(figure, name) for name in shared}
        assert filed.decode_tokens_per_s_samples == (8.0, 10.0)
        assert filed.checkpoint_digest == DIGEST
