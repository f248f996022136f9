"""One program in a process of its own: bounded, sealed, compiled, run; it never returns.

Descriptors: 0 cannot be read (input raises), 1 and 2 go to the supervisor, 3 takes the verdict, 4 holds the nonce until
it is read. What a program prints is not buffered, so that nothing is lost however it ends.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import resource
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from . import ending, identity, landlock
from . import filter as seccomp
from .ending import NONCE_BYTES, VERDICT_DESCRIPTOR

if TYPE_CHECKING:
    from .ending import Ending
    from .limits import Limits

NONCE_DESCRIPTOR: Final = 4
FIRST_OTHER: Final = 5
LAST_OTHER: Final = 1 << 12
MESSAGE_CHARACTERS: Final = 2_000
STACK_BYTES: Final = 8 << 20
SEAL_FAILED: Final = 99
"""Exit code of a process that could not be sealed: nothing was run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """The last walls, put up by each program's own process; None where one is missing."""

    limits: Limits
    bounded: bool
    """Whether the kernel is told of them."""
    address_space_bytes: int
    """Of the bare interpreter."""
    count_threads: bool
    """Whether the limit on processes counts those of this program alone."""
    ruleset: int | None
    filter: bytes | None
    ending: Ending | None
    private_folder: bool
    """Whether ``/tmp`` is the cell's own; the machine's is never touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Descriptors of the cell that the program gets under the numbers above."""

    stdout: int
    stderr: int
    verdict: int
    nonce: int


def play(source: str, seal: Seal, channels: Channels) -> NoReturn:
    """Seal this process, run ``source`` and end."""
    try:
        # Before the filter, under which no memory may become executable.
        place = ending.lay(seal.ending) if seal.ending else 0
        _put_up(seal, channels)
    except OSError:
        os._exit(SEAL_FAILED)
    try:
        code = compile(source, "<string>", "exec", dont_inherit=True)
    except BaseException as error:  # noqa: BLE001 - whatever the compiler says is the program's failure
        _report(type(error), error)
        os._exit(1)
    # As `exec` of an empty dictionary has it: the module's name is then that of `builtins`.
    names: dict[str, Any] = {"__builtins__": builtins.__dict__}
    if seal.ending is None:
        _run_openly(code, names)
    ending.run(seal.ending, place, code, names, _report, NONCE_DESCRIPTOR)


def _put_up(seal: Seal, channels: Channels) -> None:
    os.setsid()
    identity.die_with_parent()
    if seal.bounded:
        bound(seal)
    if seal.ruleset is not None:
        landlock.restrict(seal.ruleset)
    targets = (channels.stdout, channels.stdout, channels.stderr, channels.verdict, channels.nonce)
    for number, channel in enumerate(targets):
        os.dup2(channel, number)
    os.closerange(FIRST_OTHER, LAST_OTHER)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, "r", closefd=False), encoding="utf-8")
    sys.stdout, sys.stderr = _unbuffered(1), _unbuffered(2)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    if seal.filter is not None:
        seccomp.install(seal.filter)


def _unbuffered(descriptor: int) -> io.TextIOWrapper:
    raw: Any = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def bound(seal: Seal) -> None:
    """Lower this process's limits, for good."""
    limits = seal.limits
    for limit, value in (
        (resource.RLIMIT_AS, seal.address_space_bytes + limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_STACK, STACK_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        _, most = resource.getrlimit(limit)
        lowered = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (lowered, lowered))
    if seal.count_threads:
        # Besides the program: the two processes of the cell, of the same user.
        processes = limits.threads + 3
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


def _run_openly(code: Any, names: dict[str, Any]) -> NoReturn:  # noqa: ANN401 - a code object
    """Run without the native ending: whoever looks for the verdict's pipe can forge what it says."""
    try:
        exec(code, names)  # noqa: S102 - what this is for
    except BaseException as error:  # noqa: BLE001 - whatever it raises is its failure
        _report(type(error), error)
        os._exit(1)
    os.write(VERDICT_DESCRIPTOR, os.read(NONCE_DESCRIPTOR, NONCE_BYTES))
    os._exit(0)


def _report(kind: type[BaseException], value: BaseException | None = None) -> None:
    """Tell the supervisor what was raised: a claim, of which nothing but a message depends."""
    try:
        message = str(value)
    except BaseException:  # noqa: BLE001 - the program's own `__str__`
        message = "an exception that cannot be shown"
    text = json.dumps({"exception": kind.__name__[:100], "message": message[:MESSAGE_CHARACTERS]})
    os.write(VERDICT_DESCRIPTOR, text.encode())
