"""Who a cell is: the numbers of a user namespace, and then nobody, with nothing.

outside      inside
root         0 and 65534 keep their numbers; the program is 65534
any other    that one user keeps its number; there is no other
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from . import kernel

NOBODY: Final = 65534


def write_maps(pid: int) -> None:
    """From outside: give the fresh user namespace of ``pid`` its users and groups."""
    process = Path("/proc", str(pid))
    if os.geteuid() == 0:
        try:
            for name in ("gid_map", "uid_map"):
                (process / name).write_text(f"0 0 1\n{NOBODY} {NOBODY} 1\n", encoding="ascii")
        except PermissionError:
            # Root without the right to be others: one user, as everybody else has.
            pass
        else:
            return
    (process / "setgroups").write_text("deny", encoding="ascii")
    (process / "gid_map").write_text(f"{os.getegid()} {os.getegid()} 1", encoding="ascii")
    (process / "uid_map").write_text(f"{os.geteuid()} {os.geteuid()} 1", encoding="ascii")


def future_owner() -> int:
    """The user that `become_nobody` will leave: as this namespace numbers it."""
    return NOBODY if os.geteuid() == 0 else os.geteuid()


def become_nobody(needed: tuple[str, ...]) -> None:
    """As root: become a user who owns nothing; as anybody else, stay.

    Raises:
        OSError: the user cannot be changed, or could not read the folders ``needed``; nothing has changed then.
    """
    if os.geteuid() != 0:
        return
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    unreadable = [path for path in needed if not os.access(path, os.R_OK, effective_ids=True)]
    os.setresuid(0, 0, 0)
    os.setresgid(0, 0, 0)
    if unreadable:
        raise PermissionError(f"{', '.join(unreadable)} is not readable for user {NOBODY}")
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def give_up_privileges() -> None:
    """No capability, none to be gained by starting a program, and out of reach of debuggers."""
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def die_with_parent() -> None:
    """Be killed when the parent goes; a change of user undoes it."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
