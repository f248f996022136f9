"""The machine that a figure was measured on, as far as the kernel says: a figure without it cannot be compared.

/proc/cpuinfo   model name, flags that matter to matrix products       /proc/meminfo   memory, swap
/sys/.../cpu0/cpufreq/scaling_governor   where it can be read          /proc/loadavg   who else was at work
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Final

from pydantic import Field

from harness.document import Document

CPU_INFO: Final = Path("/proc/cpuinfo")
MEMORY_INFO: Final = Path("/proc/meminfo")
GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
FLAGS: Final = ("f16c", "avx2", "avx512f", "avx512_fp16", "avx512_bf16", "amx_tile", "fphp", "asimdhp", "sve")
"""Instruction sets that decide how FP16 and FP32 products are computed, on x86 and on Arm."""


class HostFingerprint(Document):
    """What decides a host's figures beside the model; nothing in it names a user or a path."""

    cpu_model: str
    cpu_flags: tuple[str, ...]
    """Of ``FLAGS``, those that the processor has."""
    logical_cores: int = Field(gt=0)
    usable_cores: int = Field(gt=0)
    """Cores that the measuring process may run on."""
    governor: str | None
    """Of the first core's clock; none where the kernel does not show it."""
    memory_bytes: int = Field(gt=0)
    swap_bytes: int = Field(ge=0)
    """With swap, resident memory can be less than what a process holds."""
    kernel: str
    architecture: str
    python: str
    load_at_start: float = Field(ge=0)
    """Load of the last minute before the measurement: above 0, somebody else was at work too."""


def host_fingerprint() -> HostFingerprint:
    """The fingerprint of this machine, now."""
    memory = _fields(MEMORY_INFO)
    return HostFingerprint(
        cpu_model=cpu_model(),
        cpu_flags=_flags(),
        logical_cores=os.cpu_count() or 1,
        usable_cores=len(os.sched_getaffinity(0)),
        governor=GOVERNOR.read_text().strip() if GOVERNOR.is_file() else None,
        memory_bytes=_kibibytes(memory["MemTotal"]),
        swap_bytes=_kibibytes(memory.get("SwapTotal", "0 kB")),
        kernel=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        python=platform.python_version(),
        load_at_start=os.getloadavg()[0],
    )


def cpu_model() -> str:
    """The processor's name; its architecture where the system knows no name, as on many an Arm machine."""
    named = _fields(CPU_INFO).get("model name") if CPU_INFO.is_file() else platform.processor()
    return named or platform.machine()


def _flags() -> tuple[str, ...]:
    info = _fields(CPU_INFO)
    found = set((info.get("flags") or info.get("Features") or "").split())
    return tuple(flag for flag in FLAGS if flag in found)


def _fields(path: Path) -> dict[str, str]:
    """``key: value`` lines; of a key that comes once per core, the first core's."""
    fields: dict[str, str] = {}
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields


def _kibibytes(value: str) -> int:
    return int(value.split(maxsplit=1)[0]) * 1024
