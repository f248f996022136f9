"""A cell: the process that stands in the walls and forks one sealed process a program.

    supervisor ──fork──> anteroom (leaves the namespaces) ──fork──> cell (process 1 of its namespace, root of its own)
                                                                    └──fork──> program, one after the other

Both are killed when what forked them goes, and with process 1 the kernel kills every process of its namespace. The cell
runs no code of a program: it forks, waits, measures, and empties the private folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from . import ending, identity, kernel, landlock, program, root
from . import filter as seccomp
from .layers import Layer
from .messages import EVENT, JOB, KILL, receive, send
from .program import Channels, Seal

if TYPE_CHECKING:
    from collections.abc import Callable

    from .limits import Limits

CHANNELS: Final = Channels(stdout=202, stderr=203, verdict=204, nonce=205)
ENDS: Final = (JOB, EVENT, CHANNELS.stdout, CHANNELS.stderr, CHANNELS.verdict, CHANNELS.nonce)
"""Numbers that the cell's ends of the supervisor's pipes get, in this order."""
NAMESPACES: Final = {
    Layer.MOUNT: kernel.CLONE_NEWNS,
    Layer.NET: kernel.CLONE_NEWNET,
    Layer.IPC: kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS,
    Layer.PID: kernel.CLONE_NEWPID,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a cell is to be."""

    layers: frozenset[Layer]
    limits: Limits
    readable: tuple[str, ...]
    packages: tuple[str, ...]
    """Folders that programs import from, besides the standard library."""
    folder: str
    """An empty folder, to build the root in."""


class LayerFailed(Exception):
    """A layer cannot be had here."""

    def __init__(self, layer: Layer, reason: str) -> None:
        super().__init__(layer, reason)
        self.layer, self.reason = layer, reason


def enter(plan: Plan, ends: tuple[int, ...]) -> NoReturn:
    """Become a cell, serve until the supervisor goes, and end; never returns to the caller's code."""
    code = 1
    try:
        _keep_only(ends)
        _stand(plan)
        code = 0
    except LayerFailed as failed:
        send({"failed": failed.layer.value, "reason": failed.reason})
    except OSError as error:
        send({"broken": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(code)


def _keep_only(ends: tuple[int, ...]) -> None:
    """Give the pipes their numbers, close everything else, and point the standard streams nowhere."""
    # First out of the way: with many cells, an end may have a number that another is to get.
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, ENDS[-1] + 1) for end in ends]
    for number, end in zip(ENDS, moved, strict=True):
        os.dup2(end, number, inheritable=False)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)
    os.closerange(3, JOB)
    os.closerange(ENDS[-1] + 1, program.LAST_OTHER)


def _stand(plan: Plan) -> None:
    identity.die_with_parent()
    if os.geteuid() == 0:
        _try(Layer.UID, plan, lambda: os.setgroups([]))
    _try(Layer.USER, plan, _own_users)
    for layer, flags in NAMESPACES.items():
        _try(layer, plan, lambda flags=flags: kernel.unshare(flags))  # type: ignore[misc]
    # Entering a user namespace can undo the first.
    identity.die_with_parent()
    if Layer.PID in plan.layers:
        pid = os.fork()
        if pid:
            send({"cell": pid})
            os.waitpid(pid, 0)
            return
        identity.die_with_parent()
    _serve(_wall_in(plan))


def _own_users() -> None:
    kernel.unshare(kernel.CLONE_NEWUSER)
    send({"unshared": True})
    os.read(JOB, 1)


def _try(layer: Layer, plan: Plan, step: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the step gives
    """Take the step if the plan has the layer; None where it has not."""
    if layer not in plan.layers:
        return None
    try:
        return step()
    except OSError as error:
        raise LayerFailed(layer, str(error)) from error


def _wall_in(plan: Plan) -> Seal:
    """Put up what is left of the walls; what each program has to put up itself is returned, and tried once."""
    found = _try(Layer.ENDING, plan, _prepare_ending)
    space = _address_space_bytes()
    os.chdir("/")
    masked, owner = Layer.ENDING in plan.layers, _owner(plan)
    _try(Layer.MOUNT, plan, lambda: root.build(plan.folder, plan.readable, plan.limits, owner, masked=masked))
    needed = tuple(path for path in plan.readable if path in {*sys.path, *plan.packages})
    _try(Layer.UID, plan, lambda: identity.become_nobody(needed))
    _try(Layer.PRIVILEGES, plan, identity.give_up_privileges)
    identity.die_with_parent()
    counted, writable = Layer.USER in plan.layers, Layer.MOUNT in plan.layers
    seal = Seal(
        limits=plan.limits,
        bounded=Layer.LIMITS in plan.layers,
        address_space_bytes=space,
        count_threads=counted,
        ruleset=_try(Layer.LANDLOCK, plan, lambda: _ruleset(plan)),
        filter=_try(Layer.SECCOMP, plan, lambda: _filter(plan)),
        ending=found,
        private_folder=writable,
    )
    sys.path[:] = [*sys.path, *plan.packages]
    _rehearse(seal)
    return seal


def _prepare_ending() -> ending.Ending:
    prepared = ending.prepare()
    ending.lay(prepared)
    return prepared


def _owner(plan: Plan) -> int:
    return identity.future_owner() if Layer.UID in plan.layers else os.geteuid()


def _filter(plan: Plan) -> bytes:
    return seccomp.build(
        writable=Layer.MOUNT in plan.layers,
        threads=Layer.USER in plan.layers,
        # Packages such as numpy reach raw memory themselves; without any, nothing else does.
        libraries=bool(plan.packages) or Layer.ENDING not in plan.layers,
    )


def _ruleset(plan: Plan) -> int:
    if Layer.MOUNT in plan.layers:
        return landlock.make_ruleset(readable=["/"], writable=[root.PRIVATE_FOLDER, "/dev/null"])
    return landlock.make_ruleset(readable=[*plan.readable, "/dev/urandom"], writable=["/dev/null"])


def _address_space_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def _rehearse(seal: Seal) -> None:
    """Have the kernel take the ruleset and the filter once, in a process that ends right after."""
    steps: dict[Layer, Callable[[], None]] = {}
    if seal.bounded:
        steps[Layer.LIMITS] = lambda: program.bound(seal)
    if seal.ruleset is not None:
        ruleset = seal.ruleset
        steps[Layer.LANDLOCK] = lambda: landlock.restrict(ruleset)
    if seal.filter is not None:
        code = seal.filter
        steps[Layer.SECCOMP] = lambda: seccomp.install(code)
    pid = os.fork()
    if pid == 0:
        for number, step in enumerate(steps.values(), start=1):
            try:
                step()
            except (OSError, ValueError):
                os._exit(number)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        layer = list(steps)[status - 1] if 0 < status <= len(steps) else Layer.SECCOMP
        raise LayerFailed(layer, f"the kernel does not take it (exit code {status})")


def _serve(seal: Seal) -> None:
    send({"ready": True})
    gc.collect()
    gc.freeze()
    while (text := receive(JOB)) is not None:
        if text != KILL:
            send(_run(json.loads(text), seal))


def _run(job: dict[str, Any], seal: Seal) -> dict[str, Any]:
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            program.play(job["source"], seal, CHANNELS)
        finally:
            # Nothing that goes wrong in there may come back into the cell's own code.
            os._exit(program.SEAL_FAILED)
    stopped = _watch(pid, started + seal.limits.wall_s)
    _, status, usage = os.wait4(pid, 0)
    duration = time.monotonic() - started
    _clean(pid, private=seal.private_folder)
    return {
        "ended": os.waitstatus_to_exitcode(status),
        "stopped": stopped,
        "duration_s": duration,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_memory_bytes": usage.ru_maxrss * 1024,
    }


def _watch(pid: int, deadline: float) -> str | None:
    """Wait for the end of ``pid``; what it was stopped for, if it had to be."""
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(JOB, select.POLLIN)
    try:
        while True:
            ready = dict(poll.poll(max(0, deadline - time.monotonic()) * 1000))
            if handle in ready:
                return None
            if not ready or receive(JOB) in {None, KILL}:
                os.kill(pid, signal.SIGKILL)
                return "order" if ready else "time"
    finally:
        os.close(handle)


def _clean(pid: int, *, private: bool) -> None:
    """End what may be left of the program ``pid``, and empty the private folder, if there is one."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpid() == 1:
            os.kill(-1, signal.SIGKILL)
        else:
            os.killpg(pid, signal.SIGKILL)
    if private:
        for entry in os.scandir(root.PRIVATE_FOLDER):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry)
            else:
                os.unlink(entry)  # noqa: PTH108 - an entry, not a path
