"""The kernel's calls that Python 3.11 has no name for, through the C library; a failure is an ``OSError``.

Flags are those of the kernel's headers (sched.h, mount.h, prctl.h).
"""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache
from typing import Final

from .calls import FATAL, OWN, this_machine

LIBC: Final = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS: Final = 0x20000
CLONE_NEWCGROUP: Final = 0x2000000
CLONE_NEWUTS: Final = 0x4000000
CLONE_NEWIPC: Final = 0x8000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2
AT_FDCWD: Final = -100
AT_RECURSIVE: Final = 0x8000

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
LAST_CAPABILITY: Final = 63
CAPABILITY_VERSION_3: Final = 0x20080522
EINVAL: Final = 22


def system_call(name: str, *arguments: int | bytes | None) -> int:
    """Make the system call ``name``, which has to stand in the lists of what the sandbox calls or denies."""
    number = _numbers()[name]
    given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _checked(LIBC.syscall(ctypes.c_long(number), *given), name)


@cache
def _numbers() -> dict[str, int]:
    machine = this_machine()
    return machine.numbers(OWN) | machine.numbers(FATAL)


def _checked(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Leave the namespaces named by ``flags`` for fresh ones."""
    _checked(LIBC.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """``mount(2)``."""
    encoded = kind.encode() if kind else None
    result = LIBC.mount(
        os.fsencode(source), os.fsencode(target), encoded, ctypes.c_ulong(flags), options.encode() or None
    )
    _checked(result, f"mount of {source} at {target}")


def make_read_only(target: str) -> None:
    """Make the mount at ``target``, and those below it, read-only, without devices and set-user-id programs."""
    attributes = struct.pack("=QQQQ", MS_RDONLY | MS_NOSUID | MS_NODEV, 0, 0, 0)
    try:
        system_call("mount_setattr", AT_FDCWD, os.fsencode(target), AT_RECURSIVE, attributes, len(attributes))
    except OSError:
        # Before Linux 5.12 only the topmost mount can be changed.
        mount("none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)


def pivot_here() -> None:
    """Make the current folder, which has to be a mount, the root, and let go of the old one."""
    system_call("pivot_root", b".", b".")
    _checked(LIBC.umount2(b".", MNT_DETACH), "umount2")
    os.chdir("/")


def prctl(option: int, value: int = 0) -> None:
    """``prctl(2)`` with one argument."""
    _checked(LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def drop_capabilities() -> None:
    """Give up every capability, for good: bounding, ambient, inheritable, permitted and effective."""
    for capability in range(LAST_CAPABILITY + 1):
        # Past the last one that this kernel knows, or without the right to drop, which is then nothing to drop.
        LIBC.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
    LIBC.prctl(PR_CAP_AMBIENT, ctypes.c_ulong(PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)
    system_call("capset", struct.pack("=Ii", CAPABILITY_VERSION_3, 0), bytes(24))
