"""What this machine can and cannot do, line by line: each is fine, or missing with the way out. Imports no engine.

python  torch  transformers  threads  memory  disk   |  edge  mlc_llm  opencompass   |  gpu  adb  sandbox
needed for everything                                   engines                         optional
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from harness.document import Document
from harness.judge.devices import gpus, phones
from harness.judge.fingerprint import host_fingerprint
from harness.judge.runtimes import edge_absence
from harness.toolchains.provision import listing

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.judge.devices import DeviceEntry

OLDEST_PYTHON: Final = (3, 11)
NEEDED: Final = ("torch", "transformers", "datasets", "peft")
DEMO_MEMORY_BYTES: Final = 4 * 10**9
"""A worker's libraries, a pico model and its training, with room."""
DEMO_DISK_BYTES: Final = 5 * 10**9
"""The OpenCompass toolchain and a demo run's checkpoints."""
SANDBOX: Final = "harness.sandbox.run"


class DoctorLine(Document):
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "missing"]
    needed: bool
    """Whether the demo needs it; what is not needed only opens a door."""
    found: str
    way_out: str = ""
    """What to do about it; empty where it is fine."""


def examine(workspace: Path) -> tuple[DoctorLine, ...]:
    """Every line, in order; nothing is installed, started or changed."""
    looks: tuple[Callable[[], tuple[DoctorLine, ...]], ...] = (
        _python,
        _packages,
        _machine,
        lambda: _disk(workspace),
        _edge,
        _mlc,
        _toolchains,
        lambda: _devices("gpu", gpus()),
        lambda: _devices("phone", phones()),
        _sandbox,
    )
    return tuple(line for look in looks for line in look())


def line(name: str, *, fine: bool, found: str, way_out: str, needed: bool = True) -> DoctorLine:
    """A line; ``way_out`` is dropped where it is fine."""
    state: Literal["ok", "missing"] = "ok" if fine else "missing"
    return DoctorLine(name=name, state=state, needed=needed, found=found, way_out="" if fine else way_out)


def _python() -> tuple[DoctorLine, ...]:
    wanted = ".".join(map(str, OLDEST_PYTHON))
    fine = sys.version_info >= OLDEST_PYTHON
    return (line("python", fine=fine, found=platform.python_version(), way_out=f"install Python {wanted} or newer"),)


def _packages() -> tuple[DoctorLine, ...]:
    lines = []
    for name in NEEDED:
        found = _version(name)
        way_out = "pip install edge-llm-harness"
        lines.append(line(name, fine=found is not None, found=found or "not installed", way_out=way_out))
    return tuple(lines)


def _machine() -> tuple[DoctorLine, ...]:
    host = host_fingerprint()
    free = _available_bytes()
    cores = f"{host.usable_cores} of {host.logical_cores} cores, {host.cpu_model}, load {host.load_at_start:.2f}"
    memory = f"{free / 1e9:.1f} GB free of {host.memory_bytes / 1e9:.1f} GB, swap {host.swap_bytes / 1e9:.1f} GB"
    way_out = f"the demo wants {DEMO_MEMORY_BYTES / 1e9:.0f} GB free: end other programs"
    return (
        line("threads", fine=True, found=cores, way_out=""),
        line("memory", fine=free >= DEMO_MEMORY_BYTES, found=memory, way_out=way_out),
    )


def _disk(workspace: Path) -> tuple[DoctorLine, ...]:
    stands = next(folder for folder in (workspace.resolve(), *workspace.resolve().parents) if folder.is_dir())
    free, writable = shutil.disk_usage(stands).free, os.access(stands, os.W_OK)
    found = f"{free / 1e9:.1f} GB free where the workspace is{'' if writable else ', which cannot be written to'}"
    way_out = f"the demo wants {DEMO_DISK_BYTES / 1e9:.0f} GB: free some, or set HARNESS_WORKSPACE to another folder"
    return (line("disk", fine=writable and free >= DEMO_DISK_BYTES, found=found, way_out=way_out),)


def _edge() -> tuple[DoctorLine, ...]:
    absence = edge_absence()
    found = f"executorch {_version('executorch')}" if absence is None else "not installed"
    return (line("edge", fine=absence is None, found=found, way_out=absence or "", needed=False),)


def _mlc() -> tuple[DoctorLine, ...]:
    fine = find_spec("mlc_llm") is not None or shutil.which("mlc_llm") is not None
    way_out = "harness deploy --target mlc writes packages without it; to compile them, build mlc_llm from its source"
    found = f"mlc_llm {_version('mlc_llm') or 'found'}" if fine else "not installed"
    return (line("mlc_llm", fine=fine, found=found, way_out=way_out, needed=False),)


def _toolchains() -> tuple[DoctorLine, ...]:
    return tuple(
        line(
            item.toolchain.name,
            fine=item.environment is not None,
            found="installed" if item.environment else "not installed",
            way_out=f"made on first use, or now: harness toolchain install {item.toolchain.name}",
            needed=False,
        )
        for item in listing()
    )


def _devices(name: str, entries: tuple[DeviceEntry, ...]) -> tuple[DoctorLine, ...]:
    usable = [entry for entry in entries if entry.usable]
    found = "; ".join(entry.detail for entry in usable) or "none"
    way_out = "; ".join(entry.detail for entry in entries if not entry.usable)
    return (line(name, fine=bool(usable), found=found, way_out=way_out, needed=False),)


def _sandbox() -> tuple[DoctorLine, ...]:
    """What a program that a model wrote is kept from here, as the sandbox's own probe finds it, where there is one."""
    if find_spec("harness.sandbox") is None or find_spec(SANDBOX) is None:
        way_out = "this version of the harness contains children by time and memory only"
        return (line("sandbox", fine=False, found="no sandbox", way_out=way_out, needed=False),)
    from importlib import import_module

    try:
        properties = import_module(SANDBOX).probe()
    except (RuntimeError, OSError, ValueError) as error:
        return (line("sandbox", fine=False, found=f"cannot start: {error}", way_out="see docs/sandbox.md"),)
    return tuple(
        line(
            f"sandbox: {item.name}",
            fine=item.holds,
            found=f"by {', '.join(item.by)}" if item.holds else "; ".join(item.lacking) or "no layer provides it",
            way_out=item.way_out,
            needed=item.required,
        )
        for item in properties
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _available_bytes() -> int:
    for text in Path("/proc/meminfo").read_text().splitlines():
        if text.startswith("MemAvailable:"):
            return int(text.split()[1]) * 1024
    return 0
