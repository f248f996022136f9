"""Make, find and remove the environments of toolchains.

    <cache>/toolchains/<name>-<digest of the pins>/      bin/python ...      ready.json is written last

An environment without ``ready.json`` is half-made: nobody uses it, and ``install`` makes it anew. The folder's name
holds the digest of the pins, so changed pins are another environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from pydantic import ValidationError

from harness.containment import Limits, run_contained
from harness.document import Document
from harness.errors import ToolchainFailed
from harness.toolchains.pip_configuration import pip_settings, uv_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.containment import Event
    from harness.toolchains.catalogue import Toolchain

VARIABLE = "HARNESS_TOOLCHAINS"
READY = "ready.json"
LIMITS = Limits(time_s=3600, memory_bytes=8 << 30)
LOG_LINES = 12


class Ready(Document):
    """``ready.json``: what the environment was made from."""

    name: str
    pins_digest: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A toolchain's environment, ready to use."""

    toolchain: Toolchain
    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"


def toolchains_root() -> Path:
    """Where environments stand: the user's cache, or the folder that the environment names."""
    given = os.environ.get(VARIABLE)
    return Path(given) if given else platformdirs.user_cache_path("edge-llm-harness") / "toolchains"


def place(toolchain: Toolchain) -> Path:
    """Where the environment for the present pins belongs."""
    return toolchains_root() / f"{toolchain.name}-{toolchain.pins_digest()[:12]}"


def locate(toolchain: Toolchain) -> Environment | None:
    """The environment, if it stands whole."""
    folder = place(toolchain)
    try:
        ready = Ready.read(folder / READY)
    except (OSError, ValidationError):
        return None
    whole = ready.pins_digest == toolchain.pins_digest() and (folder / "bin" / "python").exists()
    return Environment(toolchain=toolchain, folder=folder) if whole else None


def ensure(toolchain: Toolchain, on_event: Callable[[Event], None]) -> Environment:
    """The environment, made first where it does not stand; raises ``ToolchainFailed``."""
    return locate(toolchain) or install(toolchain, on_event)


def install(toolchain: Toolchain, on_event: Callable[[Event], None]) -> Environment:
    """Make the environment; what stands half-made in its place is replaced, a whole one is kept.

    Raises:
        ToolchainFailed: neither uv nor pip could make it; the message ends in the log's last lines.
    """
    folder = place(toolchain)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        standing = locate(toolchain)
        if standing is not None:
            return standing
        _tell(on_event, toolchain, 0)
        shutil.rmtree(folder, ignore_errors=True)
        log = folder.with_suffix(".log")
        log.unlink(missing_ok=True)
        if not (_with_uv(toolchain, folder, log) or _with_pip(toolchain, folder, log)):
            raise ToolchainFailed(
                f"toolchain {toolchain.name!r} could not be installed in {folder}; with a network, try again with "
                f"harness toolchain install {toolchain.name}; log: {log}{_tail(log)}"
            )
        Ready(name=toolchain.name, pins_digest=toolchain.pins_digest(), python=sys.version.split()[0]).write(
            folder / READY
        )
        _tell(on_event, toolchain, 1)
    return Environment(toolchain=toolchain, folder=folder)


def remove(toolchain: Toolchain) -> bool:
    """Delete the environment; False where there was none."""
    folder = place(toolchain)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        stood = folder.is_dir()
        shutil.rmtree(folder, ignore_errors=True)
    return stood


def _with_uv(toolchain: Toolchain, folder: Path, log: Path) -> bool:
    import uv

    try:
        binary = uv.find_uv_bin()
    except FileNotFoundError:
        return False
    told = uv_environment(pip_settings(), os.environ)
    requirements = str(toolchain.requirements())
    return _run([binary, "venv", "--python", sys.executable, str(folder)], log, told) and _run(
        [binary, "pip", "install", "--python", str(folder / "bin" / "python"), "-r", requirements], log, told
    )


def _with_pip(toolchain: Toolchain, folder: Path, log: Path) -> bool:
    """The slow way, with nothing but what Python brings."""
    shutil.rmtree(folder, ignore_errors=True)
    python, requirements = str(folder / "bin" / "python"), str(toolchain.requirements())
    return _run([sys.executable, "-m", "venv", str(folder)], log, {}) and _run(
        [python, "-m", "pip", "install", "-r", requirements], log, {}
    )


def _run(command: list[str], log: Path, told: dict[str, str]) -> bool:
    report = run_contained(
        command,
        limits=LIMITS,
        log=log,
        cwd=log.parent,
        environment={**os.environ, **told},
        on_event=lambda _event: None,
    )
    return report.exit_code == 0


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with folder.with_suffix(".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _tell(on_event: Callable[[Event], None], toolchain: Toolchain, done: int) -> None:
    size = f"about {toolchain.disk_bytes / 1e9:.1f} GB on disk, once"
    label = f"installing toolchain {toolchain.name} ({size})"
    on_event({"event": "progress", "label": label, "done": done, "total": 1, "detail": ""})


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.is_file() else []
    return "".join(f"\n    {line}" for line in lines)
