"""A root folder with nothing in it but what Python needs, read-only, and a private folder of bounded size.

/usr/lib, /lib, /lib64, the interpreter's library, asked packages     bound read-only
/dev/null, /dev/zero, /dev/urandom                                    bound
/tmp                                                                  tmpfs: bounded, nothing in it can be executed
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import kernel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .limits import Limits

PRIVATE_FOLDER: Final = "/tmp"  # noqa: S108 - of a root of its own
SYSTEM: Final = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache")
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/urandom")
MASKED: Final = ("_ctypes", "_ctypes_test", "_testcapi", "_testinternalcapi", "_testbuffer", "_xxtestfuzz")
"""Modules of the standard library that read and write raw memory."""
FILE_OVERHEAD: Final = 2
"""Inodes of a tmpfs that are its own."""


def readable_paths(packages: Iterable[str]) -> tuple[str, ...]:
    """What a program needs to read: the loader's folders, this interpreter's library, ``packages``."""
    mapped = [line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()]
    libraries = [os.path.dirname(path) for path in mapped if path.startswith("/") and ".so" in path]  # noqa: PTH120
    wanted = dict.fromkeys([*SYSTEM, *libraries, *sys.path, *packages])
    return tuple(path for path in wanted if path.startswith("/") and Path(path).exists())


def build(root: str, readable: tuple[str, ...], limits: Limits, owner: int, *, masked: bool) -> None:
    """Make the root in this mount namespace and go there; the current folder is then the private one.

    Args:
        root: an empty folder to build it in.
        readable: absolute paths of folders and files that stay visible, read-only.
        limits: bound the private folder.
        owner: user and group of the private folder, as this user namespace numbers them.
        masked: whether the modules of `MASKED` are hidden.
    """
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("sandbox", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=0755")
    empty = Path(root, "empty")
    empty.touch()
    for path in _outermost(readable):
        _bind(path, root + path)
        kernel.make_read_only(root + path)
    _link_aliases(root, readable)
    if masked:
        _mask(root, str(empty))
    for device in DEVICES:
        _bind(device, root + device)
    os.mkdir(root + PRIVATE_FOLDER)  # noqa: PTH102 - a path of the new root
    options = f"size={limits.folder_bytes},nr_inodes={limits.folder_files + FILE_OVERHEAD},mode=0700"
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("sandbox", root + PRIVATE_FOLDER, "tmpfs", flags, f"{options},uid={owner},gid={owner}")
    os.chdir(root)
    kernel.pivot_here()
    kernel.mount("none", "/", None, kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY | kernel.MS_NOSUID)
    os.chdir(PRIVATE_FOLDER)


def _outermost(paths: Iterable[str]) -> list[str]:
    """The real paths without those that lie in another of them; shortest first."""
    kept: list[str] = []
    for path in sorted({os.path.realpath(path) for path in paths}, key=len):
        if not any(Path(path).is_relative_to(other) for other in kept):
            kept.append(path)
    return kept


def _link_aliases(root: str, paths: Iterable[str]) -> None:
    """Make the symbolic links by which the paths are known besides, such as ``/lib`` for ``/usr/lib``."""
    for path in paths:
        real, alias = os.path.realpath(path), Path(root + path)
        if real != path and not os.path.lexists(alias):
            alias.parent.mkdir(parents=True, exist_ok=True)
            alias.symlink_to(real)


def _bind(source: str, target: str) -> None:
    place = Path(target)
    place.parent.mkdir(parents=True, exist_ok=True)
    if Path(source).is_dir():
        place.mkdir(exist_ok=True)
    else:
        place.touch()
    kernel.mount(source, target, None, kernel.MS_BIND | kernel.MS_REC)


def _mask(root: str, empty: str) -> None:
    """Put the file ``empty`` over the modules of `MASKED`."""
    for folder in {os.path.realpath(path) for path in sys.path if path.endswith("lib-dynload")}:
        for name in MASKED:
            for module in Path(root + folder).glob(f"{name}.*"):
                kernel.mount(empty, str(module), None, kernel.MS_BIND)
