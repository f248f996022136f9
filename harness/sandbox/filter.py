"""A seccomp filter for one program: an allow-list, with a look at the arguments where they decide.

    other architecture, x32          the process is ended
    FATAL of calls.py                the process is ended
    ALLOWED                          pass
    open, openat, clone, mmap, ...   pass or not, by their arguments
    everything else                  EPERM; clone3 and openat2 ENOSYS, so that libraries take the older call

An instruction of classic BPF is ``code u16, jump if true u8, jump if false u8, k u32`` (linux/filter.h).
"""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import TYPE_CHECKING, Final

from .calls import ALLOWED, FATAL, JUDGED, this_machine
from .kernel import system_call

if TYPE_CHECKING:
    from .calls import Machine

LOAD: Final = 0x20
AND: Final = 0x54
JUMP_IF_EQUAL: Final = 0x15
JUMP_IF_AT_LEAST: Final = 0x35
RETURN: Final = 0x06

ALLOW: Final = 0x7FFF0000
KILL: Final = 0x80000000
ERRNO: Final = 0x00050000
OFFSET_NUMBER: Final = 0
OFFSET_ARCH: Final = 4
OFFSET_ARGUMENTS: Final = 16
SET_MODE_FILTER: Final = 1

O_WRITING: Final = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000 | 0o20000000
"""O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND, and what O_TMPFILE has beyond O_DIRECTORY."""
CLONE_THREAD: Final = 0x10000
CLONE_NEW_ANYTHING: Final = 0x7E020080
"""All CLONE_NEW* flags, the one for time included."""
IOCTLS: Final = (0x5401, 0x5413, 0x541B, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONCLEX, FIOCLEX: questions, and close-on-exec."""
FCNTLS: Final = (0, 1, 2, 3, 1030)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC. Not F_SETFL: it would change the pipes for the next program."""
PROT_EXEC: Final = 4

Instruction = tuple[int, int, int, int]
Code = list[Instruction]


def build(*, writable: bool, threads: bool, libraries: bool, machine: Machine | None = None) -> bytes:
    """The filter, assembled.

    Args:
        writable: whether files may be opened for writing and folders made, where the other layers let them.
        threads: whether threads may be started.
        libraries: whether native libraries may be loaded, which is to say memory made executable.
        machine: the one to build for; this one by default.
    """
    machine = machine or this_machine()
    code = _head(machine)
    for number in machine.numbers(FATAL).values():
        code += _when(number, [_give(KILL)])
    for number in machine.numbers(ALLOWED).values():
        code += _when(number, [_give(ALLOW)])
    judged = _judged(writable=writable, threads=threads, libraries=libraries)
    for name, number in machine.numbers(JUDGED).items():
        code += _when(number, judged[name])
    code.append(_refuse(errno.EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _head(machine: Machine) -> Code:
    head = [(LOAD, 0, 0, OFFSET_ARCH), (JUMP_IF_EQUAL, 1, 0, machine.audit_arch), _give(KILL)]
    head.append((LOAD, 0, 0, OFFSET_NUMBER))
    if machine.foreign_from is not None:
        head += [(JUMP_IF_AT_LEAST, 0, 1, machine.foreign_from), _give(KILL)]
    return head


def _judged(*, writable: bool, threads: bool, libraries: bool) -> dict[str, Code]:
    memory = [_give(ALLOW)] if libraries else _masked(2, PROT_EXEC, 0)
    make = [_give(ALLOW) if writable else _refuse(errno.EACCES)]
    return {
        "open": _open(1, writable=writable),
        "openat": _open(2, writable=writable),
        "openat2": [_refuse(errno.ENOSYS)],
        "clone": _masked(0, CLONE_THREAD | CLONE_NEW_ANYTHING, CLONE_THREAD) if threads else [_refuse(errno.EPERM)],
        "clone3": [_refuse(errno.ENOSYS)],
        "ioctl": _one_of(1, IOCTLS, errno.ENOTTY),
        "fcntl": _one_of(1, FCNTLS, errno.EPERM),
        # Only to ask: the new limit is a null pointer, in both its halves.
        "prlimit64": [*_unless_zero(_low(2)), *_unless_zero(_low(2) + 4), _give(ALLOW)],
        "mmap": memory,
        "mprotect": memory,
        "mkdir": make,
        "mkdirat": make,
    }


def _open(argument: int, *, writable: bool) -> Code:
    return [_give(ALLOW)] if writable else _masked(argument, O_WRITING, 0, errno.EACCES)


def _masked(argument: int, mask: int, wanted: int, otherwise: int = errno.EPERM) -> Code:
    """Allow where the masked argument is ``wanted``."""
    return [
        (LOAD, 0, 0, _low(argument)),
        (AND, 0, 0, mask),
        (JUMP_IF_EQUAL, 0, 1, wanted),
        _give(ALLOW),
        _refuse(otherwise),
    ]


def _one_of(argument: int, values: tuple[int, ...], otherwise: int) -> Code:
    code: Code = [(LOAD, 0, 0, _low(argument))]
    for value in values:
        code += _when(value, [_give(ALLOW)])
    return [*code, _refuse(otherwise)]


def _unless_zero(offset: int) -> Code:
    return [(LOAD, 0, 0, offset), (JUMP_IF_EQUAL, 1, 0, 0), _refuse(errno.EPERM)]


def _when(value: int, block: Code) -> Code:
    """``block``, which has to end in a return, where what is loaded equals ``value``."""
    return [(JUMP_IF_EQUAL, 0, len(block), value), *block]


def _low(argument: int) -> int:
    """Offset of the low half of an argument; both machines are little-endian."""
    return OFFSET_ARGUMENTS + 8 * argument


def _give(action: int) -> Instruction:
    return (RETURN, 0, 0, action)


def _refuse(error: int) -> Instruction:
    return _give(ERRNO | error)


def install(code: bytes) -> None:
    """Put this process under the filter ``code``, for good; it needs ``no_new_privs``."""
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
    system_call("seccomp", SET_MODE_FILTER, 0, program)
