"""Speed and memory of one model, in this process, which does nothing else.

runtime's code ── VmHWM ──> load ──> warm-up ──> repeats x ( prefill | decode, decode, … ) ──> VmHWM ──> cap held?
                  floor              time to the first token   batch 1, key-value cache        peak      else none
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from harness.judge.fingerprint import cpu_model, host_fingerprint
from harness.judge.memory import (
    CPU_MEMORY_METHOD,
    GPU_MEMORY_METHOD,
    gpu_in_use_bytes,
    gpu_memory,
    limit_data,
    limit_gpu,
    peak_resident_bytes,
    require_within,
)
from harness.judge.protocol import SpeedProtocol, run_protocol
from harness.judge.requests import FloorAnswer
from harness.judge.results import Performance
from harness.judge.runtimes import open_runner, runtime_name, touch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.deployment.runner import Runner
    from harness.judge.fingerprint import HostFingerprint
    from harness.judge.protocol import Timing
    from harness.judge.requests import FloorRequest, PerformanceRequest
    from harness.judge.results import GpuMemory
    from harness.progress import Progress


def measure_performance(request: PerformanceRequest, progress: Progress) -> Performance:
    """Load, warm up, repeat, under the cap that ``request`` states.

    Raises:
        MeasurementFailed: the model's context is too short for the protocol, its logits are not finite, or the cap
            was reached; there is no half result.
    """
    host = host_fingerprint()
    limit = request.memory_limit_bytes
    if limit is not None and not on_gpu(request.device):
        limit_data(limit, request.threads)
    touch(request)
    floor_bytes, before = peak_resident_bytes(), None
    if on_gpu(request.device):
        before = gpu_in_use_bytes(request.device)
        if limit is not None:
            limit_gpu(request.device, limit)
    runner = open_runner(request)
    timings = run_protocol(runner, _protocol(request), progress)
    gpu = None if before is None else gpu_memory(request.device, before)
    found = _figures(runner, request, timings, host=host, floor_bytes=floor_bytes, gpu=gpu)
    require_within(limit, found.peak_memory_bytes)
    return found


def measure_floor(request: FloorRequest) -> FloorAnswer:
    """What the runtime takes before it sees a weight.

    Raises:
        MeasurementFailed: the runtime is not installed.
    """
    touch(request)
    return FloorAnswer(runtime=runtime_name(request.runtime), resident_bytes=peak_resident_bytes())


def on_gpu(device: str) -> bool:
    """Whether ``device`` is a GPU."""
    return device.startswith("cuda")


def _protocol(request: PerformanceRequest) -> SpeedProtocol:
    return SpeedProtocol(
        prefill_tokens=request.prefill_tokens,
        decode_tokens=request.decode_tokens,
        repeats=request.repeats,
        warm_up=request.warm_up,
    )


def _figures(  # noqa: PLR0913 - everything that one document states
    runner: Runner,
    request: PerformanceRequest,
    timings: Sequence[Timing],
    *,
    host: HostFingerprint,
    floor_bytes: int,
    gpu: GpuMemory | None,
) -> Performance:
    prefill_s, decode_s = tuple(t.prefill.wall_s for t in timings), tuple(t.decode.wall_s for t in timings)
    host_peak = peak_resident_bytes()
    return Performance(
        runtime=runner.name,
        dtype=runner.dtype,
        device=request.device,
        device_name=_device_name(request.device),
        thread_count=request.threads,
        prefill_tokens=request.prefill_tokens,
        decode_tokens=request.decode_tokens,
        repeats=request.repeats,
        prefill_tokens_per_s=request.prefill_tokens / median(prefill_s),
        decode_tokens_per_s=request.decode_tokens / median(decode_s),
        time_to_first_token_s=median(prefill_s),
        peak_memory_bytes=gpu.reserved_bytes if gpu else host_peak,
        memory_method=GPU_MEMORY_METHOD if gpu else CPU_MEMORY_METHOD,
        host_peak_memory_bytes=host_peak,
        runtime_memory_bytes=floor_bytes,
        prefill_s=prefill_s,
        decode_s=decode_s,
        prefill_cpu_s=tuple(t.prefill.cpu_s for t in timings),
        decode_cpu_s=tuple(t.decode.cpu_s for t in timings),
        host=host,
        gpu=gpu,
    )


def _device_name(device: str) -> str:
    if on_gpu(device):
        import torch

        return str(torch.cuda.get_device_name(device))
    return cpu_model()
