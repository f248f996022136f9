"""The toolchains that there are: what each is for, and the pins that its environment is made from."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from harness.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """An engine with an environment of its own."""

    name: str
    purpose: str
    disk_bytes: int
    """Roughly, of the environment; as measured with the CPU build of torch."""

    def folder(self) -> Path:
        """Its pins and its worker, in the package."""
        return Path(str(resources.files("harness.toolchains") / self.name))

    def requirements(self) -> Path:
        """The lock for this Python where there is one, else the pins that every lock was solved from."""
        lock = self.folder() / f"lock-{sys.version_info.major}.{sys.version_info.minor}.txt"
        return lock if lock.is_file() else self.folder() / "pins.txt"

    def pins_digest(self) -> str:
        """SHA-256 of the requirements and of the Python that they are for, hexadecimal."""
        version = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}\n"
        return hashlib.sha256(version.encode() + self.requirements().read_bytes()).hexdigest()


OPENCOMPASS = Toolchain(name="opencompass", purpose="scores the tasks: OpenCompass 0.5.4", disk_bytes=1_900_000_000)
TOOLCHAINS = (OPENCOMPASS,)


def toolchain(name: str) -> Toolchain:
    """The toolchain of that name; raises ``UsageError``."""
    for found in TOOLCHAINS:
        if found.name == name:
            return found
    raise UsageError(f"no toolchain {name!r}; there are: {', '.join(item.name for item in TOOLCHAINS)}")
