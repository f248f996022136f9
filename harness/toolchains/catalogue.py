"""The toolchains that the harness can provision, as data: a name, a folder of package data, two sizes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from harness.errors import UsageError

PINS = ("requirements.txt", "constraints.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """An engine that cannot share the harness's environment."""

    name: str
    purpose: str
    folder: Path
    """Holds ``requirements.txt`` (what is asked for), ``constraints.txt`` (what it resolves to) and the worker."""
    engine: str
    """The distribution whose version names the engine's."""
    python_versions: tuple[str, ...]
    """Minor versions of CPython that every pin has a wheel for, oldest first."""
    check: tuple[str, ...]
    """Arguments of the environment's Python that import what the worker imports; run with ``folder`` on its path."""
    download_bytes: int
    """To fetch with an empty cache, measured on x86-64 Linux with torch's CPU wheel."""
    disk_bytes: int
    """Of the finished environment, likewise."""

    @property
    def requirements(self) -> Path:
        """The file that an installer is given."""
        return self.folder / "requirements.txt"

    def pins_digest(self) -> str:
        """SHA-256 of the pinned requirements, hexadecimal."""
        digest = hashlib.sha256()
        for name in PINS:
            path = self.folder / name
            content = path.read_bytes() if path.is_file() else b""
            digest.update(f"{name} {len(content)}\n".encode() + content)
        return digest.hexdigest()


def toolchains() -> tuple[Toolchain, ...]:
    """All of them, by name."""
    return (opencompass(),)


def toolchain(name: str) -> Toolchain:
    """The toolchain called ``name``.

    Raises:
        UsageError: there is none.
    """
    known = {toolchain.name: toolchain for toolchain in toolchains()}
    if name not in known:
        raise UsageError(f"no toolchain {name!r}; there are: {', '.join(known)}")
    return known[name]


def opencompass() -> Toolchain:
    """OpenCompass 0.5.4, which scores the six tasks; it needs numpy 1 and datasets 3."""
    return Toolchain(
        name="opencompass",
        purpose="scores the six official tasks",
        folder=Path(str(resources.files("harness.toolchains") / "opencompass")),
        engine="opencompass",
        python_versions=("3.11", "3.12"),
        check=("-P", "-s", "-m", "worker", "CHECK"),
        download_bytes=500_000_000,
        disk_bytes=1_800_000_000,
    )
