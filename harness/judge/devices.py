"""What a model could be measured on here: this machine, its GPUs, attached phones. The list imports no torch."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Final, Literal

from harness.document import Document
from harness.errors import MeasurementFailed
from harness.judge.adb import NO_ADB, READY, Adb
from harness.judge.fingerprint import host_fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

NVIDIA_SMI: Final = "nvidia-smi"
QUERY: Final = ("--query-gpu=index,name,memory.total,driver_version", "--format=csv,noheader,nounits")
SMI_S: Final = 20.0
MEBIBYTE: Final = 1 << 20


class DeviceEntry(Document):
    """One thing that computes, or one kind of which none is there."""

    kind: Literal["host", "gpu", "phone"]
    name: str
    """What ``--device`` and ``--serial`` call it; empty where there is none."""
    usable: bool
    memory_bytes: int | None
    detail: str
    """What it is; or why it cannot be used, with the way out."""


def attached() -> tuple[DeviceEntry, ...]:
    """Everything that is attached; of a kind that is absent, an entry that says so."""
    return (host(), *gpus(), *phones())


def host() -> DeviceEntry:
    """This machine."""
    found = host_fingerprint()
    detail = (
        f"{found.cpu_model}, {found.usable_cores} of {found.logical_cores} cores, {' '.join(found.cpu_flags) or '-'}"
    )
    return DeviceEntry(kind="host", name="host", usable=True, memory_bytes=found.memory_bytes, detail=detail)


def gpus() -> tuple[DeviceEntry, ...]:
    """The GPUs that the driver's own tool lists."""
    tool = shutil.which(NVIDIA_SMI)
    if tool is None:
        return (_absent("gpu", f"{NVIDIA_SMI} is not installed here, so no NVIDIA driver is"),)
    try:
        done = subprocess.run([tool, *QUERY], check=False, capture_output=True, text=True, timeout=SMI_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return (_absent("gpu", f"{NVIDIA_SMI} does not answer: {error}"),)
    if done.returncode != 0:
        return (_absent("gpu", f"{NVIDIA_SMI} ended with {done.returncode}: {done.stdout.strip()[-200:]}"),)
    return tuple(parse_gpus(done.stdout.splitlines())) or (_absent("gpu", f"{NVIDIA_SMI} lists none"),)


def parse_gpus(lines: Sequence[str]) -> list[DeviceEntry]:
    """The rows of the tool's answer; a device whose memory it does not know, as a part of one, is listed without."""
    entries = []
    for line in lines:
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == len(QUERY[0].split(",")):
            index, name, memory, driver = cells
            size = int(memory) * MEBIBYTE if memory.isdigit() else None
            detail = f"{name}, driver {driver}"
            entries.append(DeviceEntry(kind="gpu", name=f"cuda:{index}", usable=True, memory_bytes=size, detail=detail))
    return entries


def phones(adb: Adb | None = None) -> tuple[DeviceEntry, ...]:
    """The phones that adb sees, ready or not."""
    adb = adb or Adb.find()
    if adb is None:
        return (_absent("phone", NO_ADB),)
    try:
        found = adb.devices()
    except MeasurementFailed as error:
        return (_absent("phone", str(error)),)
    entries = [
        DeviceEntry(
            kind="phone",
            name=phone.serial,
            usable=phone.state == READY,
            memory_bytes=None,
            detail=f"{phone.model or 'model not said'}, {phone.state}",
        )
        for phone in found
    ]
    return tuple(entries) or (_absent("phone", "adb sees no phone; switch USB debugging on and confirm its question"),)


def _absent(kind: Literal["gpu", "phone"], why: str) -> DeviceEntry:
    return DeviceEntry(kind=kind, name="", usable=False, memory_bytes=None, detail=why)
