r"""Run a program so that only its true end can say "passed": the last step is machine code that Python cannot reach.

Whatever is a Python object in a process, a program can find (frames, ``gc``) and call or change. So the stub that runs
the program and then shows the nonce is no Python: a page of machine code, with the nonce behind it, in memory that no
object points to. It never returns:

    make ctypes inaccessible
    PyEval_EvalCode(program) ──> a value: write(3, nonce); exit_group(0)
                             └─> NULL: report(type, value); exit_group(1)

`ctypes` was needed to put the page there, and could read it. Its types stay reachable (``object.__subclasses__()``),
so the code of `ctypes` and of libffi loses its access rights before the program starts: a program that still calls it
dies. The objects of `ctypes` are frozen, so that the garbage collector, which would call it too, leaves them alone.

A program that reads or writes raw memory (numpy's array interface, bytecode made by hand, a bug of the interpreter) can
still forge its own verdict, and nothing else. What remains is in docs/sandbox.md.
"""

from __future__ import annotations

import ctypes
import gc
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .calls import this_machine
from .kernel import LIBC

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

NONCE_BYTES: Final = 32
VERDICT_DESCRIPTOR: Final = 3
PART_BYTES: Final = 1 << 16
"""Of the code, and of the table behind it: a multiple of every page size that the two machines have."""
NONCE_OFFSET: Final = PART_BYTES + 88
READ_WRITE: Final = 3
READ_EXECUTE: Final = 5
PRIVATE_ANONYMOUS: Final = 0x22
WALLED: Final = ("_ctypes.", "libffi")
MOST_WALLS: Final = 2

MACHINE_CODE: Final = {
    "x86_64": (
        "53488d1df8ff0000"  # the table, at 65536
        "488b3b488b730831d2b80a0000000f05488b7b10488b731831d2b80a0000000f05"  # mprotect(PROT_NONE), twice
        "488b7b20488b73284889f2ff5330"  # PyEval_EvalCode(code, globals, globals)
        "4885c0741e"  # NULL: to the failure
        "bf03000000488d7358ba20000000b8010000000f05"  # write(3, nonce, 32)
        "31ffb8e70000000f05"  # exit_group(0)
        "4883ec20488d3c24488d742408488d542410ff5338"  # the failure: PyErr_Fetch(&type, &value, &traceback)
        "488d3c24488d742408488d542410ff5340"  # PyErr_NormalizeException of the same
        "488b7b48488b3424488b54240831c931c0ff5350"  # PyObject_CallFunctionObjArgs(report, type, value, NULL)
        "bf01000000b8e70000000f05f4"  # exit_group(1)
    ),
    "aarch64": (
        "13000810"
        "600640a9020080d2481c80d2010000d4600641a9020080d2481c80d2010000d4"
        "600642a9e20301aa691a40f920013fd6"
        "200100b4"
        "600080d261620191020480d2080880d2010000d4"
        "000080d2c80b80d2010000d4"
        "ff8300d1e0030091e1230091e2430091691e40f920013fd6"
        "e0030091e1230091e2430091692240f920013fd6"
        "602640f9e10b40a9030080d2692a40f920013fd6"
        "200080d2c80b80d2010000d4000020d4"
    ),
}
"""Line by line the same; the sources that they were assembled from are among the tests."""

_Enter: Final = ctypes.PYFUNCTYPE(None)
LIBC.mmap.restype = ctypes.c_void_p


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What the machine code needs to know of this interpreter."""

    code: bytes
    walls: tuple[int, ...]
    """Address and length of each part that loses its rights, padded with zeros to `MOST_WALLS` of them."""
    functions: tuple[int, ...]
    """Addresses of PyEval_EvalCode, PyErr_Fetch, PyErr_NormalizeException, PyObject_CallFunctionObjArgs."""


def prepare() -> Ending:
    """Look around; raises ``OSError`` where this interpreter or machine does not have what it takes."""
    names = ("PyEval_EvalCode", "PyErr_Fetch", "PyErr_NormalizeException", "PyObject_CallFunctionObjArgs")
    functions = (ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in names)
    walls = [bound for wall in _walls(Path("/proc/self/maps").read_text(encoding="utf-8")) for bound in wall]
    return Ending(
        code=bytes.fromhex(MACHINE_CODE[this_machine().name]),
        walls=(*walls, *[0] * (2 * MOST_WALLS - len(walls))),
        functions=tuple(functions),
    )


def _walls(maps: str) -> list[tuple[int, int]]:
    """Address and length of the executable parts of ctypes, from the text of ``/proc/self/maps``."""
    walls = []
    for line in maps.splitlines():
        span, rights, *_, path = line.split()
        if "x" in rights and Path(path).name.startswith(WALLED):
            start, end = (int(bound, 16) for bound in span.split("-"))
            walls.append((start, end - start))
    if not 1 <= len(walls) <= MOST_WALLS:
        raise OSError(f"ctypes has {len(walls)} executable parts of its own, 1 to {MOST_WALLS} can be walled up")
    return walls


def lay(ending: Ending) -> int:
    """Lay the machine code out in memory of its own, with room for its table; the address, for `run`.

    Raises:
        OSError: memory cannot be made executable here.
    """
    place = LIBC.mmap(None, 2 * PART_BYTES, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0)
    ctypes.memmove(place, ending.code, len(ending.code))
    if LIBC.mprotect(ctypes.c_void_p(place), PART_BYTES, READ_EXECUTE):
        raise OSError(ctypes.get_errno(), "memory cannot be made executable")
    return int(place)


def run(  # noqa: PLR0913, PLR0917 - what the table holds
    ending: Ending, place: int, code: CodeType, names: dict[str, Any], report: Callable[..., None], nonce: int
) -> NoReturn:
    """Run ``code`` with the globals ``names`` and end the process.

    Args:
        ending: of this interpreter.
        place: what `lay` gave.
        code: the program.
        names: its globals.
        report: called with the type and the value of the exception that ends the program.
        nonce: descriptor to read `NONCE_BYTES` from; they never become a Python object.
    """
    evaluate, fetch, normalise, call = ending.functions
    objects = (id(code), id(names), evaluate, fetch, normalise, id(report), call)
    table = struct.pack(f"={2 * MOST_WALLS + len(objects)}Q", *ending.walls, *objects)
    ctypes.memmove(place + PART_BYTES, table, len(table))
    LIBC.read(nonce, ctypes.c_void_p(place + NONCE_OFFSET), NONCE_BYTES)
    enter = _Enter(place)
    gc.freeze()
    enter()
    raise AssertionError("the machine code came back")
