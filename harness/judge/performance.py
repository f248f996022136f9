"""Speed and memory of one checkpoint, in this process, which does nothing else.

    libraries ── VmHWM ──> load ──> warm-up ──> repeats x ( prefill | decode, decode, decode, … ) ──> VmHWM
                 runtime                          time to the first token   batch 1, key-value cache    peak

The clock is read only after the device has finished. The kernel's VmHWM counts from the process's own start;
``getrusage`` would carry over the parent's peak.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import torch
import transformers
from transformers import DynamicCache

from harness.errors import MeasurementFailed
from harness.judge.loading import build_empty, context_tokens, load_config, load_model
from harness.judge.results import Performance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

    from harness.judge.requests import PerformanceRequest
    from harness.progress import Progress

PROMPT_SEED = 0
CPU_MEMORY_METHOD = "VmHWM of the measuring process"
GPU_MEMORY_METHOD = "peak of the memory that torch reserved on the device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One run of the protocol."""

    prefill_s: float
    """Until the first new token is known."""
    decode_s: float
    """All further tokens."""


def measure_performance(request: PerformanceRequest, progress: Progress) -> Performance:
    """Load, warm up, repeat.

    Raises:
        MeasurementFailed: the model's context is too short for the protocol, or its logits are not finite.
    """
    torch.set_num_threads(request.threads)
    checkpoint = Path(request.checkpoint)
    config = load_config(checkpoint)
    _check_context(checkpoint, config, request)
    runtime_memory_bytes = _touch_libraries(config, request.device)
    model = load_model(checkpoint, precision=request.precision, device=request.device)
    timings = _repeat(model, request, progress)
    return _figures(model, request, timings, runtime_memory_bytes)


def _figures(
    model: PreTrainedModel, request: PerformanceRequest, timings: Sequence[Timing], runtime_memory_bytes: int
) -> Performance:
    prefill_s, decode_s = tuple(t.prefill_s for t in timings), tuple(t.decode_s for t in timings)
    on_gpu, host_peak = _on_gpu(request.device), peak_resident_bytes()
    return Performance(
        runtime=f"transformers {transformers.__version__}",
        dtype=str(model.dtype).removeprefix("torch."),
        device=request.device,
        device_name=_device_name(request.device),
        thread_count=torch.get_num_threads(),
        prefill_tokens=request.prefill_tokens,
        decode_tokens=request.decode_tokens,
        repeats=request.repeats,
        prefill_tokens_per_s=request.prefill_tokens / median(prefill_s),
        decode_tokens_per_s=request.decode_tokens / median(decode_s),
        time_to_first_token_s=median(prefill_s),
        peak_memory_bytes=torch.cuda.max_memory_reserved(request.device) if on_gpu else host_peak,
        memory_method=GPU_MEMORY_METHOD if on_gpu else CPU_MEMORY_METHOD,
        host_peak_memory_bytes=host_peak,
        runtime_memory_bytes=runtime_memory_bytes,
        prefill_s=prefill_s,
        decode_s=decode_s,
    )


def peak_resident_bytes() -> int:
    """VmHWM of this process, bytes.

    Raises:
        MeasurementFailed: the kernel does not say.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise MeasurementFailed("/proc/self/status has no VmHWM, so peak memory cannot be measured on this system")


def _check_context(checkpoint: Path, config: PreTrainedConfig, request: PerformanceRequest) -> None:
    needed = request.prefill_tokens + request.decode_tokens
    if (context := context_tokens(config)) < needed:
        raise MeasurementFailed(
            f"{checkpoint}: the protocol needs {needed} tokens ({request.prefill_tokens} prefill, "
            f"{request.decode_tokens} decode), its context is {context}"
        )


def _touch_libraries(config: PreTrainedConfig, device: str) -> int:
    """Import the model's code and start the device, without a weight; returns VmHWM then, bytes."""
    build_empty(config)
    if _on_gpu(device):
        torch.zeros(1, device=device)
    return peak_resident_bytes()


def _repeat(model: PreTrainedModel, request: PerformanceRequest, progress: Progress) -> list[Timing]:
    generator = torch.Generator().manual_seed(PROMPT_SEED)
    prompt = torch.randint(model.config.vocab_size, (1, request.prefill_tokens), generator=generator)
    timings = []
    for run in range(request.warm_up + request.repeats):
        timings.append(_run_once(model, prompt.to(model.device), request.decode_tokens))
        progress("speed and memory", run + 1, request.warm_up + request.repeats)
    return timings[request.warm_up :]


@torch.inference_mode()
def _run_once(model: PreTrainedModel, prompt: Tensor, decode_tokens: int) -> Timing:
    """``prompt`` is ``[1, tokens]``; greedy, and no token ends the run, so every model does the same work."""
    cache = DynamicCache(config=model.config)
    started = _clock(model)
    logits = _forward(model, prompt, cache)
    token = logits.argmax(-1)  # [1, 1]
    first = _clock(model)
    for _ in range(decode_tokens):
        logits = _forward(model, token, cache)
        token = logits.argmax(-1)
    ended = _clock(model)
    if not bool(torch.isfinite(logits).all()):
        raise MeasurementFailed(f"{model.name_or_path}: its logits are not finite in {model.dtype}")
    return Timing(prefill_s=first - started, decode_s=ended - first)


def _forward(model: PreTrainedModel, token_ids: Tensor, cache: DynamicCache) -> Tensor:
    """``[1, tokens]`` -> logits of the last position, ``[1, 1, vocab]``."""
    logits: Tensor = model(input_ids=token_ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
    return logits


def _clock(model: PreTrainedModel) -> float:
    """Seconds, after the device has done what it was given."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


def _on_gpu(device: str) -> bool:
    return device.startswith("cuda")


def _device_name(device: str) -> str:
    if _on_gpu(device):
        return str(torch.cuda.get_device_name(device))
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "cpu")
