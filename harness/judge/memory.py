"""Memory of this process, as the kernel and the device count it, and its cap.

    /proc/self/status  VmHWM    the largest resident memory since exec: what is stated, and what the cap is held against
    RLIMIT_DATA        enforced by the kernel: an allocation beyond it fails, between two looks of any watchdog
    set_per_process_memory_fraction   the same on a GPU, of what torch reserves

``getrusage`` would carry over the parent's peak, and RLIMIT_AS counts every mapped library and file.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import MeasurementFailed

if TYPE_CHECKING:
    from harness.judge.results import GpuMemory

CPU_MEMORY_METHOD: Final = "VmHWM of the measuring process"
GPU_MEMORY_METHOD: Final = "peak of the memory that torch reserved on the device"
DEFAULT_STACK_BYTES: Final = 8 << 20


def peak_resident_bytes(process: str = "self") -> int:
    """VmHWM of a process, bytes.

    Raises:
        MeasurementFailed: the kernel does not say.
    """
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise MeasurementFailed(f"/proc/{process}/status has no VmHWM, so peak memory cannot be measured on this system")


def limit_data(limit_bytes: int, threads: int) -> None:
    """Let the kernel refuse private memory beyond ``limit_bytes`` and the stacks of threads, which are never filled.

    A pool may start a thread on every core beside those that were asked for, so both are allowed their stacks.
    """
    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    stack_bytes = DEFAULT_STACK_BYTES if stack == resource.RLIM_INFINITY else stack
    ceiling = limit_bytes + stack_bytes * (threads + (os.cpu_count() or 1))
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (ceiling if hard == resource.RLIM_INFINITY else min(ceiling, hard), hard))


def require_within(limit_bytes: int | None, peak_bytes: int) -> None:
    """Refuse to have a result where the peak was above the cap, whoever was looking when.

    Raises:
        MeasurementFailed: it was.
    """
    if limit_bytes is not None and peak_bytes > limit_bytes:
        raise MeasurementFailed(over_the_cap(peak_bytes, limit_bytes))


def over_the_cap(found_bytes: int, limit_bytes: int) -> str:
    """How a broken cap is said, whichever guard saw it."""
    return f"needed {found_bytes / 1e6:.1f} MB of memory, allowed {limit_bytes / 1e6:.1f} MB; there is no result"


def limit_gpu(device: str, limit_bytes: int) -> None:
    """Let torch's allocator refuse to reserve more than ``limit_bytes`` on ``device``."""
    import torch

    total: int = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / total), device)


def gpu_in_use_bytes(device: str) -> int:
    """In use on the whole device, other processes included."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return int(total - free)


def gpu_memory(device: str, before_bytes: int) -> GpuMemory:
    """The peaks of this process on ``device``; ``before_bytes`` is what was in use before the weights."""
    import torch

    from harness.judge.results import GpuMemory

    return GpuMemory(
        allocated_bytes=torch.cuda.max_memory_allocated(device),
        reserved_bytes=torch.cuda.max_memory_reserved(device),
        device_bytes=gpu_in_use_bytes(device),
        device_before_bytes=before_bytes,
        total_bytes=torch.cuda.get_device_properties(device).total_memory,
    )
