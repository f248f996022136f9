"""Provision toolchains: find, make, repair, list and remove their environments.

ensure ─> locate ── found ─────────────────────────────> Environment
             └───── absent, half made, broken ─> install ─┘
install: lock ─> check what stands ─> (re)make in place ─> import check ─> record last
"""

from __future__ import annotations

import fcntl
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from harness.errors import ToolchainFailed
from harness.toolchains.catalogue import toolchains
from harness.toolchains.environment import (
    RECORD,
    Environment,
    damaged_files,
    describe,
    folder_of,
    read_environment,
)
from harness.toolchains.interpreter import python_version
from harness.toolchains.making import CommandFailed, Making

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.containment import Event
    from harness.toolchains.catalogue import Toolchain
    from harness.toolchains.environment import Maker

    OnEvent = Callable[[Event], None]

STAGES = 3
"""Install, check, record: what ``done`` of a progress event counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A toolchain and how it stands."""

    toolchain: Toolchain
    folder: Path
    state: Literal["ready", "absent", "broken"]
    environment: Environment | None
    size_bytes: int
    """On disk, files that are linked from a cache counted in full."""


def locate(toolchain: Toolchain, root: Path | None = None) -> Environment | None:
    """The environment of ``toolchain`` if it stands and is whole; quick, makes nothing."""
    return read_environment(folder_of(toolchain, python_version(toolchain), root))


def ensure(toolchain: Toolchain, *, root: Path | None = None, on_event: OnEvent) -> Environment:
    """The environment of ``toolchain``, made now if need be.

    Raises:
        ToolchainFailed: it could not be made; the message holds the command to run and the installer's last words.
    """
    return locate(toolchain, root) or install(toolchain, root=root, on_event=on_event)


def install(toolchain: Toolchain, *, root: Path | None = None, on_event: OnEvent) -> Environment:
    """Make the environment, or examine the one that stands file by file and remake it where it is broken.

    Safe to run from several processes at once: one makes, the others wait and find it made.

    Raises:
        ToolchainFailed: as for ``ensure``.
    """
    version = python_version(toolchain)
    folder = folder_of(toolchain, version, root)
    folder.parent.mkdir(parents=True, exist_ok=True)

    def say(remark: str, done: int = 0) -> None:
        label = f"toolchain {toolchain.name}"
        on_event({"event": "progress", "label": label, "done": done, "total": STAGES, "detail": remark})

    log = folder.with_name(f"{folder.name}.log")
    making = Making(toolchain=toolchain, version=version, folder=folder, log=log, say=say)
    with _locked(folder, say):
        standing = read_environment(folder)
        if standing is None:
            return _make(making, say)
        return standing if _sound(making, standing) else _make(replace(making, cached=False), say)


def remove(toolchain: Toolchain, root: Path | None = None) -> bool:
    """Delete the environment; returns whether there was one."""
    folder = folder_of(toolchain, python_version(toolchain), root)
    if not folder.exists():
        return False
    with _locked(folder, lambda _remark: None):
        _clear(folder)
    folder.with_name(f"{folder.name}.log").unlink(missing_ok=True)
    return True


def listing(root: Path | None = None) -> tuple[Listed, ...]:
    """Every toolchain of the catalogue, with what stands of it."""
    return tuple(_listed(toolchain, root) for toolchain in toolchains())


def _listed(toolchain: Toolchain, root: Path | None) -> Listed:
    folder = folder_of(toolchain, python_version(toolchain), root)
    environment = read_environment(folder)
    return Listed(
        toolchain=toolchain,
        folder=folder,
        state="ready" if environment else "broken" if folder.exists() else "absent",
        environment=environment,
        size_bytes=sum(path.lstat().st_size for path in folder.rglob("*")),
    )


def _sound(making: Making, environment: Environment) -> bool:
    """Whether every file is there and the imports work."""
    if damaged_files(environment):
        return False
    try:
        making.check()
    except CommandFailed:
        return False
    return True


def _make(making: Making, say: Callable[[str, int], None]) -> Environment:
    toolchain = making.toolchain
    making.log.unlink(missing_ok=True)
    _clear(making.folder)
    _check_space(toolchain, making.folder.parent)
    say(f"about {_size(toolchain.download_bytes)} to fetch, {_size(toolchain.disk_bytes)} in {making.folder}", 0)
    made_by = _made_and_importing(making, say)
    record = describe(making.folder, toolchain, making.version, made_by)
    record.write(making.folder / RECORD)
    say(f"ready, {len(record.packages)} packages", STAGES)
    return Environment(folder=making.folder, record=record)


def _made_and_importing(making: Making, say: Callable[[str, int], None]) -> Maker:
    """Make and import; what does not import is made once more without the cache, where the fault may lie."""
    made_by = making.make()
    say("importing it for the first time", 1)
    try:
        making.check()
    except CommandFailed as failed:
        if made_by == "uv" and making.cached:
            say("it does not import, making it anew without uv's cache", 0)
            _clear(making.folder)
            return _made_and_importing(replace(making, cached=False), say)
        raise ToolchainFailed(
            f"toolchain {making.toolchain.name!r} was installed but does not import; run: harness toolchain install "
            f"{making.toolchain.name}; log: {making.log}\n{failed}"
        ) from failed
    return made_by


def _clear(folder: Path) -> None:
    """Remove the record first: a removal that is interrupted must not leave something that looks whole."""
    (folder / RECORD).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def _check_space(toolchain: Toolchain, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < toolchain.disk_bytes:
        raise ToolchainFailed(
            f"toolchain {toolchain.name!r} needs {_size(toolchain.disk_bytes)} in {folder}, found {_size(free)} free; "
            "name another folder with HARNESS_TOOLCHAINS"
        )


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"  # noqa: PLR2004


@contextmanager
def _locked(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of ``folder``; another process that holds it is waited for."""
    with folder.with_name(f"{folder.name}.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is making it, waiting")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
