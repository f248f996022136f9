"""The host: one plugin, contained. Every hook runs in a worker process; whatever it does, only its own step is lost."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue, ValidationError

from harness import errors
from harness.containment import ChildReport, Event, Limits, run_contained
from harness.errors import (
    ContractBroken,
    EngineFailed,
    HarnessError,
    LimitExceeded,
    PluginBroken,
    PluginFailed,
    UsageError,
)
from harness.run.observer import ignore
from harness.run.protocol import OptionsDescription, WorkerFailure, WorkerRequest, WorkerResponse
from harness.run.recipe import Recipe, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.run.discovery import InstalledPlugin

LOG_LINES_SHOWN = 12
OPTIONS_TIME_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a worker handed back, and what it cost."""

    value: JsonValue
    ledger: JsonValue
    duration_s: float
    peak_memory_bytes: int


class PluginHost:
    """Calls one plugin's hooks, each in a worker process with limits."""

    def __init__(self, plugin: InstalledPlugin, limits: Limits, *, threads: int) -> None:
        plugin.require_compatible()
        self.plugin = plugin
        self._limits = limits
        self._threads = threads

    def options(self, recipe: Recipe, folder: Path) -> OptionsDescription:
        """Let the plugin's own model parse the recipe.

        Raises:
            RecipeError: a field is wrong; the message names file, line and field.
            PluginFailed: the plugin is broken, or its options model is.
        """
        request = self.request("options", recipe, folder)
        quick = Limits(time_s=min(OPTIONS_TIME_S, self._limits.time_s), memory_bytes=self._limits.memory_bytes)
        answer = self.call(request, folder, ignore, limits=quick, recipe=recipe)
        return OptionsDescription.model_validate(answer.value)

    def request(self, operation: str, recipe: Recipe, folder: Path, **details: object) -> WorkerRequest:
        """A request to this plugin; ``details`` are the fields of ``WorkerRequest`` that the operation needs."""
        return WorkerRequest.model_validate(
            {
                "operation": operation,
                "plugin": self.plugin.name,
                "module": self.plugin.module,
                "distribution": self.plugin.distribution,
                "recipe": recipe.table,
                "workdir": str((folder / "work").resolve()),
                "memory_limit_bytes": self._limits.memory_bytes,
                **details,
            }
        )

    def call(
        self,
        request: WorkerRequest,
        folder: Path,
        on_event: Callable[[Event], None],
        *,
        limits: Limits | None = None,
        recipe: Recipe | None = None,
    ) -> Answer:
        """Run one hook in ``folder`` and return what it handed back.

        Raises:
            PluginFailed: it raised, crashed, hung or returned something else; the message says where the log is.
            UsageError: it refused what the user asked for.
        """
        limits = limits or self._limits
        # The worker runs elsewhere, so it is told whole paths; people are shown the short one.
        asked, answered, log = folder.resolve() / "request.json", folder.resolve() / "response.json", folder / "log.txt"
        Path(request.workdir).mkdir(parents=True, exist_ok=True)
        answered.unlink(missing_ok=True)
        request.write(asked)
        report = run_contained(
            [sys.executable, "-P", "-m", "harness.run.worker", str(asked), str(answered)],
            limits=limits,
            log=log,
            cwd=Path(request.workdir),
            environment=worker_environment(self._threads),
            on_event=on_event,
        )
        self._raise_if_stopped(report, request, limits, log)
        response = self._response(answered, report, request, log)
        if response.failure is not None:
            raise self._error(response.failure, request, log, recipe)
        return Answer(
            value=response.value,
            ledger=response.ledger,
            duration_s=report.duration_s,
            peak_memory_bytes=report.peak_memory_bytes,
        )

    def _raise_if_stopped(self, report: ChildReport, request: WorkerRequest, limits: Limits, log: Path) -> None:
        if report.stopped_for == "time":
            raise LimitExceeded(
                f"{self._place(request)} was stopped after {report.duration_s:.0f} s, allowed {limits.time_s:.0f} s; "
                f"raise it with --time-limit; log: {log}"
            )
        if report.stopped_for == "memory":
            raise LimitExceeded(
                f"{self._place(request)} was stopped at {report.peak_memory_bytes / 1e9:.2f} GB of memory, allowed "
                f"{limits.memory_bytes / 1e9:.2f} GB; raise it with --memory-limit; log: {log}"
            )

    def _response(self, answered: Path, report: ChildReport, request: WorkerRequest, log: Path) -> WorkerResponse:
        try:
            return WorkerResponse.read(answered)
        except (OSError, ValidationError) as error:
            raise PluginFailed(
                f"{self._place(request)} ended with exit code {report.exit_code} and no answer; "
                f"log: {log}{last_lines(log)}"
            ) from error

    def _error(self, failure: WorkerFailure, request: WorkerRequest, log: Path, recipe: Recipe | None) -> HarnessError:
        where = f"{self._place(request)}: "
        if failure.kind == "options" and recipe is not None:
            return refused(recipe, failure.problems)
        if failure.kind == "memory":
            allowed = request.memory_limit_bytes / 1e9
            return LimitExceeded(f"{where}asked for more memory than the {allowed:.2f} GB allowed; log: {log}")
        if failure.kind == "harness":
            return _raised_on_purpose(failure, where, log)
        return PluginFailed(f"{where}{failure.message}; the traceback is in {log}")

    def _place(self, request: WorkerRequest) -> str:
        step = f" (step {request.step_index + 1})" if request.operation in {"compress", "train"} else ""
        owner = f"{self.plugin.distribution} {self.plugin.version}"
        return f"plugin {self.plugin.name!r} ({owner}): hook {request.operation!r}{step}"


def _raised_on_purpose(failure: WorkerFailure, where: str, log: Path) -> HarnessError:
    """The harness's own error, raised in the worker, as the same class here."""
    kind = getattr(errors, failure.error, EngineFailed)
    if issubclass(kind, UsageError | PluginBroken | ContractBroken):
        return kind(failure.message)
    return kind(f"{where}{failure.message}; log: {log}")


def worker_environment(threads: int) -> dict[str, str]:
    """The parent's environment with the thread count fixed: it decides the order of sums, hence the bytes."""
    count = str(threads)
    fixed = {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **fixed, "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}


def last_lines(log: Path, count: int = LOG_LINES_SHOWN) -> str:
    """The end of a log, indented, to be put behind an error; empty where there is none."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-count:]
    except OSError:
        return ""
    return "".join(f"\n    {line}" for line in lines)
