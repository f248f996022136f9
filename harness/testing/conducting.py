"""Carry a plugin's recipe out in this process, by the code that the worker runs, and note what a test wants to know."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.checkpoint.checkpoint import Checkpoint
from harness.progress import silent
from harness.run.calls import CALLS
from harness.run.discovery import find_plugin
from harness.run.loading import load_plugin, options_class, parse_options
from harness.run.protocol import CheckpointReference, Predicted, WorkerRequest
from harness.run.recipe import read_recipe
from harness.submission.describe import describe_checkpoint
from harness.testing.door import embedded_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pluggy
    from pydantic import JsonValue

    from harness.options import Options, Step
    from harness.run.protocol import Operation

MEMORY_LIMIT_BYTES = 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ConductedStep:
    """One step that was carried out."""

    digest: str
    """Of the checkpoint that it wrote."""
    parameter_count: int
    predicted: tuple[int, int] | None
    """Least and most parameters by the plugin's ``forecast``, equal where it is exact; None where it is silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conducted:
    """A recipe that was carried out."""

    result: Path
    """Folder of the last checkpoint."""
    steps: tuple[ConductedStep, ...]
    parameter_count: int
    parameter_budget: int
    base_digest_before: str
    base_digest_after: str
    strays: tuple[str, ...]
    """Files that appeared outside of the steps' work folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What stays the same from step to step."""

    manager: pluggy.PluginManager
    request: WorkerRequest
    folder: Path


def conduct(  # noqa: PLR0913 - the whole surroundings of a recipe, named at the call
    plugin: str, recipe: Path, overrides: Sequence[str], *, base: Path, folder: Path, fraction: float
) -> Conducted:
    """Carry out every step of ``recipe`` on the checkpoint ``base``, each in a folder of its own under ``folder``."""
    installed = find_plugin(plugin)
    manager = load_plugin(installed.name, installed.module, installed.distribution)
    untouched = Checkpoint.of(base)
    reference = CheckpointReference(path=str(base), digest=untouched.digest)
    request = WorkerRequest(
        operation="options",
        plugin=installed.name,
        module=installed.module,
        distribution=installed.distribution,
        recipe=read_recipe(recipe, overrides).table,
        workdir="",
        memory_limit_bytes=MEMORY_LIMIT_BYTES,
        base=reference,
        student=reference,
        parameter_budget=round(fraction * describe_checkpoint(base).parameter_count),
        door=embedded_settings().model_dump(mode="json"),
    )
    stage = _Stage(manager=manager, request=request, folder=folder)
    options = parse_options(options_class(manager, plugin), request.recipe)
    # An empty folder to work in, so that a relative path that a plugin writes to is found.
    (folder / "elsewhere").mkdir()
    with contextlib.chdir(folder / "elsewhere"):
        steps, result = _carry_out(stage, options.steps, base)
    return Conducted(
        result=result,
        steps=steps,
        parameter_count=describe_checkpoint(result).parameter_count,
        parameter_budget=request.parameter_budget,
        base_digest_before=untouched.digest,
        base_digest_after=Checkpoint.of(base).digest,
        strays=_strays(folder, len(steps)),
    )


def _carry_out(stage: _Stage, steps: Sequence[Step], base: Path) -> tuple[tuple[ConductedStep, ...], Path]:
    student, conducted = Checkpoint.of(base), []
    for index, step in enumerate(steps):
        predicted = _predicted(stage, student, index) if step.stage == "compress" else None
        workdir = stage.folder / f"step-{index}"
        workdir.mkdir()
        value = _call(stage, step.stage, student, step_index=index, workdir=str(workdir))
        student = Checkpoint.of(workdir / str(_field(value, "checkpoint")))
        count = describe_checkpoint(student.path).parameter_count
        conducted.append(ConductedStep(digest=student.digest, parameter_count=count, predicted=predicted))
    return tuple(conducted), student.path


def _predicted(stage: _Stage, student: Checkpoint, index: int) -> tuple[int, int] | None:
    value = _call(stage, "forecast", student, step_index=index, config=student.config())
    if value is None:
        return None
    found = Predicted.model_validate(value)
    if found.parameter_bounds is not None:
        return found.parameter_bounds
    return None if found.parameter_count is None else (found.parameter_count, found.parameter_count)


def _call(stage: _Stage, operation: Operation, student: Checkpoint, **details: object) -> JsonValue:
    reference = CheckpointReference(path=str(student.path), digest=student.digest)
    request = stage.request.model_copy(update={"operation": operation, "student": reference, **details})
    return CALLS[operation](stage.manager, request, silent).value


def _field(value: JsonValue, name: str) -> JsonValue:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object with {name!r}, found {value!r}")
    return value[name]


def _strays(folder: Path, step_count: int) -> tuple[str, ...]:
    expected = {folder / f"step-{index}" for index in range(step_count)} | {folder / "elsewhere"}
    found = [path for path in folder.iterdir() if path not in expected]
    found += (folder / "elsewhere").rglob("*")
    return tuple(sorted(str(path.relative_to(folder)) for path in found))


def shipped_recipes(plugin: str) -> tuple[Path, ...]:
    """The recipe files in the plugin's package, by name."""
    return tuple(sorted((find_plugin(plugin).folder() / "recipes").glob("*.toml")))


def parse_recipe(plugin: str, recipe: Path) -> Options:
    """The recipe as the plugin's own options."""
    installed = find_plugin(plugin)
    manager = load_plugin(installed.name, installed.module, installed.distribution)
    return parse_options(options_class(manager, plugin), read_recipe(recipe).table)


def largest_logit(checkpoint: Path) -> float:
    """Largest magnitude among the logits of a short prompt under stock classes, FP32; infinite where one is NaN."""
    import torch

    from harness.methods.models import load

    model = load(checkpoint)
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[1, 10, 20, 30]])).logits
    return float(torch.nan_to_num(logits, nan=float("inf")).abs().max())
