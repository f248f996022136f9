"""Run programs in the sandbox from the harness: start the jail, hand it the request, read its bounded answer."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .layers import Layer, Property
from .limits import Limits
from .request import Request, read_outcomes, request_record

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .outcome import Outcome

JAIL: Final = Path(__file__).parent / "jail.py"
START_UP_S: Final = 60.0
PER_PROGRAM_S: Final = 4.0
"""Beyond its time: for the fork, the end, and a cell that has to be replaced."""
ANSWER_BYTES_OF_PROGRAM: Final = 1 << 17
LOG_CHARACTERS: Final = 2_000


class SandboxUnavailable(RuntimeError):
    """The sandbox lacks a property that it has to have, or did not do its work; nothing may be believed to have run."""


def run_programs(  # noqa: PLR0913 - each is a choice of the caller's
    programs: Sequence[str],
    limits: Limits | None = None,
    *,
    packages: Sequence[str] = (),
    preload: Sequence[str] = (),
    workers: int | None = None,
    weak: bool = False,
    without: Collection[Layer] = (),
    python: str = sys.executable,
) -> tuple[Outcome, ...]:
    """The outcome of each of ``programs``, in their order; each is run once, alone, in a process of its own.

    Args:
        programs: Python source texts.
        limits: of each program.
        packages: folders that programs import from besides the standard library; what lies there is trusted.
        preload: modules, of the standard library or of ``packages``, to import once for all programs.
        workers: programs at a time; one a processor by default.
        weak: run even where a required property cannot be had.
        without: layers to leave off, to see what the others do.
        python: interpreter that runs the jail and, in it, the programs.

    Raises:
        SandboxUnavailable: a required property cannot be had here, or the jail failed; the message says which and what
            would help.
    """
    limits = limits or Limits()
    request = Request(
        programs=tuple(programs),
        limits=limits,
        packages=tuple(packages),
        preload=tuple(preload),
        workers=workers,
        weak=weak,
        without=frozenset(without),
    )
    if not request.programs:
        return ()
    patience = START_UP_S + len(programs) * (limits.wall_s + PER_PROGRAM_S)
    answer = _ask(request, python, patience)
    if "refused" in answer:
        raise SandboxUnavailable(answer["refused"])
    outcomes = read_outcomes(answer)
    if len(outcomes) != len(programs):
        raise SandboxUnavailable(f"the sandbox gave {len(outcomes)} outcomes for {len(programs)} programs")
    return outcomes


def _ask(request: Request, python: str, patience_s: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sandbox-request-") as folder:
        asked, answered = Path(folder, "request.json"), Path(folder, "answer.json")
        asked.write_text(json.dumps(request_record(request)), encoding="utf-8")
        _start(python, [str(asked), str(answered)], patience_s)
        most = ANSWER_BYTES_OF_PROGRAM * len(request.programs) + ANSWER_BYTES_OF_PROGRAM
        if answered.stat().st_size > most:
            raise SandboxUnavailable(f"the sandbox's answer has more than {most} bytes")
        answer: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
    return answer


def _start(python: str, arguments: Sequence[str], patience_s: float) -> str:
    """Run the jail with nothing of this process's environment; its standard output."""
    command = [python, "-I", "-S", "-B", str(JAIL), *arguments]
    try:
        ended = subprocess.run(
            command,
            cwd="/",
            env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=patience_s,
            check=False,
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise SandboxUnavailable(f"the sandbox did not end within {patience_s:.0f} s") from error
    if ended.returncode:
        raise SandboxUnavailable(f"the sandbox failed: {ended.stderr[-LOG_CHARACTERS:]}")
    return ended.stdout


def probe(*, without: Collection[Layer] = (), python: str = sys.executable) -> tuple[Property, ...]:
    """Which properties can be had here and by what; those that cannot, with the reason and what would help."""
    table = json.loads(_start(python, ["--probe", *(layer.value for layer in without)], START_UP_S))
    for row in table:
        del row["holds"]
    return tuple(Property(**row | {"by": tuple(row["by"]), "lacking": tuple(row["lacking"])}) for row in table)
