"""What has to hold for a program, and the layers of the kernel and of the interpreter that make it hold.

A property holds if any of its layers is there; usually several are. `properties` turns the layers that were found into
a table that says what holds by what, what does not and why, and what would help.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Layer(StrEnum):
    """One wall; in the order in which they are put up."""

    USER = "user namespace"
    MOUNT = "mount namespace"
    NET = "network namespace"
    IPC = "ipc namespace"
    PID = "pid namespace"
    UID = "unprivileged user"
    PRIVILEGES = "no new privileges"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"
    LIMITS = "resource limits"
    ENDING = "native ending"


Missing = dict[Layer, str]
"""Why a layer is not there, of each that is not."""

HELP: Final = {
    Layer.USER: "user.max_user_namespaces above 0 (and no rule against them), or a container that allows unshare",
    Layer.MOUNT: "user namespaces, or CAP_SYS_ADMIN",
    Layer.NET: "user namespaces, or CAP_SYS_ADMIN",
    Layer.PID: "user namespaces, or CAP_SYS_ADMIN",
    Layer.LANDLOCK: "Linux 5.13 or newer with landlock among the security modules",
    Layer.SECCOMP: "a kernel with CONFIG_SECCOMP_FILTER on x86_64 or aarch64",
    Layer.UID: "user namespaces, or an interpreter that every user may read",
    Layer.PRIVILEGES: "Linux 3.5 or newer",
    Layer.LIMITS: "a container that lets limits be lowered",
    Layer.ENDING: "CPython with ctypes as a module of its own, x86_64 or aarch64, no rule against executable memory",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What has to hold, and by what it can."""

    name: str
    meaning: str
    layers: tuple[Layer, ...]
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """Whether a promise holds here."""

    name: str
    meaning: str
    required: bool
    by: tuple[str, ...]
    """Layers that provide it; empty where it does not hold."""
    lacking: tuple[str, ...]
    """Layers that would and are not here, each with the reason."""
    way_out: str
    """What would help; empty where it holds."""

    @property
    def holds(self) -> bool:
        """Whether any layer provides it."""
        return bool(self.by)


PROMISES: Final = (
    Promise(name="process tree", meaning="no process outlives its program", layers=(Layer.PID, Layer.SECCOMP)),
    Promise(name="network", meaning="no socket, no network", layers=(Layer.NET, Layer.SECCOMP)),
    Promise(
        name="writes",
        meaning="nothing is written outside a private folder",
        layers=(Layer.MOUNT, Layer.LANDLOCK, Layer.SECCOMP),
    ),
    Promise(
        name="paths",
        meaning="nothing is removed, renamed, linked or mounted, there either",
        layers=(Layer.SECCOMP,),
    ),
    Promise(name="reads", meaning="only libraries are readable", layers=(Layer.MOUNT, Layer.LANDLOCK)),
    Promise(name="kernel", meaning="other processes and rare interfaces are out of reach", layers=(Layer.SECCOMP,)),
    Promise(name="privileges", meaning="none are held, none can be gained", layers=(Layer.PRIVILEGES,)),
    Promise(name="user", meaning="runs as a user who owns nothing", layers=(Layer.UID,), required=False),
    Promise(
        name="limits",
        meaning="time, memory, files and descriptors are bounded",
        layers=(Layer.LIMITS,),
    ),
    Promise(name="threads", meaning="the number of threads is bounded", layers=(Layer.USER, Layer.SECCOMP)),
    Promise(name="verdict", meaning="a program cannot say by itself that it passed", layers=(Layer.ENDING,)),
    Promise(
        name="private folder",
        meaning="a bounded folder to write to",
        layers=(Layer.MOUNT,),
        required=False,
    ),
)


def properties(missing: Mapping[Layer, str]) -> tuple[Property, ...]:
    """What holds where the layers ``missing`` are not there, in the order of `PROMISES`."""
    return tuple(_property(promise, missing) for promise in PROMISES)


def _property(promise: Promise, missing: Mapping[Layer, str]) -> Property:
    by = tuple(layer.value for layer in promise.layers if layer not in missing)
    lacking = tuple(f"{layer.value}: {missing[layer]}" for layer in promise.layers if layer in missing)
    way_out = "" if by else "; or ".join(HELP[layer] for layer in promise.layers)
    return Property(
        name=promise.name,
        meaning=promise.meaning,
        required=promise.required,
        by=by,
        lacking=lacking,
        way_out=way_out,
    )


def refusal(found: tuple[Property, ...]) -> str | None:
    """Why nothing may be run here; None where everything required holds."""
    broken = [held for held in found if held.required and not held.holds]
    if not broken:
        return None
    parts = [
        f"{held.name} ({held.meaning}) cannot be had: {', '.join(held.lacking)}; what helps: {held.way_out}"
        for held in broken
    ]
    return "the sandbox lacks what it has to have here, so nothing was run: " + ". ".join(parts)
