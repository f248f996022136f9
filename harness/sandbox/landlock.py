"""Landlock: a list of what may be read and of the one folder that may be written, held by the kernel (uapi landlock.h).

An older kernel knows fewer rights; what it does not know is left to the other layers. Rights that have come since: ABI
2 moving between folders, 3 truncation, 4 TCP, 5 ioctl on devices, 6 signals and abstract sockets to outside.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING, Final

from .kernel import system_call

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION: Final = 1
PATH_BENEATH: Final = 1

WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
MAKE_DIR: Final = 1 << 7
MAKE_REG: Final = 1 << 8
TRUNCATE: Final = 1 << 14
FILE_RIGHTS_OF: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many of the rights on files an ABI knows, from bit 0 on; later ones know what 5 knows."""
TCP: Final = 0b11
SCOPES: Final = 0b11
ABI_TCP: Final = 4
ABI_SCOPES: Final = 6


def version() -> int:
    """The kernel's ABI of Landlock; raises ``OSError`` where there is none."""
    return system_call("landlock_create_ruleset", None, 0, VERSION)


def make_ruleset(*, readable: Iterable[str], writable: Iterable[str]) -> int:
    """A descriptor of the rules, which `restrict` puts in force: everything that is not named is denied."""
    abi = version()
    known = (1 << FILE_RIGHTS_OF[min(abi, max(FILE_RIGHTS_OF))]) - 1
    attributes = struct.pack("=Q", known)
    if abi >= ABI_TCP:
        attributes += struct.pack("=Q", TCP)
    if abi >= ABI_SCOPES:
        attributes += struct.pack("=Q", SCOPES)
    ruleset = system_call("landlock_create_ruleset", attributes, len(attributes), 0)
    for path in readable:
        _add(ruleset, path, READ_FILE | READ_DIR)
    for path in writable:
        _add(ruleset, path, known & (READ_FILE | READ_DIR | WRITE_FILE | MAKE_DIR | MAKE_REG | TRUNCATE))
    return ruleset


def _add(ruleset: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= READ_FILE | WRITE_FILE | TRUNCATE
        system_call("landlock_add_rule", ruleset, PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def restrict(ruleset: int) -> None:
    """Put this process under the rules, for good; it needs ``no_new_privs``."""
    system_call("landlock_restrict_self", ruleset, 0)
