"""Rerun a submission from its lock file, and say where the first difference is.

    lock.json ─┬─ recipe as run, seeds, edition, threads ──prepare──> settings of each base model
               ├─ versions, code, machine ────held against ours────> what is not as it was, said first
               └─ digests of every step ─────held against the rerun──> first difference: step, tensor, byte

Only the steps are run again; scores, speed and memory are measured by ``submit`` and ``measure``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

import harness
from harness.document import Document, write_atomically
from harness.errors import UsageError
from harness.run.code import harness_folder, tree_digest
from harness.run.differing import Spot, first_spot
from harness.run.filing import platform_record, story
from harness.run.initialising import INITIALISE
from harness.run.preparation import prepare
from harness.run.settings import SubmitSettings
from harness.run.strategy import carry_out
from harness.run.workspace import StepRecord, Workspace
from harness.run.written_recipe import recipe_text
from harness.submission import layout
from harness.submission.provenance import Lock
from harness.validation.record import read_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydantic import JsonValue

    from harness.containment import Limits
    from harness.run.observer import Observer
    from harness.run.preparation import Prepared
    from harness.run.strategy import Strategy
    from harness.submission.provenance import ModelRecipe

BASE = "base"


class Change(Document):
    """Something that is not as it was."""

    what: str
    """E.g. ``torch``, ``cpu``, ``llama step 2 (train lora): rank``."""
    then: str
    now: str


class ReplayedStep(Document):
    """One checkpoint of the rerun beside the record's."""

    model: str
    step: str
    """``base``, ``1 compress l1``, …, ``control``."""
    then: str
    """Digest in the lock file."""
    now: str
    same: bool


class FirstDifference(Document):
    """Where the rerun left the record."""

    model: str
    step: str
    spot: Spot | None
    """None where the original checkpoint is not here, and so only the step is known."""


class Replay(Document):
    """What a rerun came to."""

    format_version: Literal[1] = 1
    changes: tuple[Change, ...]
    """What was not as it was before anything ran: versions, code, machine, options."""
    steps: tuple[ReplayedStep, ...]
    first: FirstDifference | None
    """None where every checkpoint is the same, byte for byte."""

    @property
    def identical(self) -> bool:
        """Whether every checkpoint came out as it was."""
        return self.first is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a replay is asked for beside the lock file: what no record may hold, or what should differ."""

    limits: Limits
    bases: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    edition: str | None = None
    """A file, where the edition is not a shipped one."""
    overrides: tuple[str, ...] = ()
    """As ``--set``: options to change, to see what they change."""
    originals: Path | None = None
    """Folder of steps, as a workspace has it, with the original checkpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """A replay, prepared: what will run, and what is not as it was."""

    lock: Lock
    asked: Asked
    models: tuple[Prepared, ...]
    """One for each base model: each has a recipe of its own."""
    changes: tuple[Change, ...]


def read_lock(path: Path) -> Lock:
    """The lock file at ``path``, or that of the bundle ``path``.

    Raises:
        UsageError: there is none that can be read.
    """
    file = path / layout.LOCK if path.is_dir() else path
    lock, faults = read_document(file.parent, file.name, Lock)
    if lock is None:
        raise UsageError(f"{file}: expected a lock file: {faults[0].message}, found {faults[0].found}")
    return lock


def prepare_replay(lock: Lock, asked: Asked, workspace: Workspace) -> Rerun:
    """Prepare every base model of ``lock`` in ``workspace``, which has to be fresh.

    Raises:
        UsageError: the workspace has steps already, or a file of the user's has to be given again.
        PluginNotFound: the plugin is not installed.
    """
    if any((workspace.root / "steps").glob("*")):
        raise UsageError(f"{workspace.root}: has steps already, and what is reused is not replayed; name a new folder")
    models = tuple(prepare(_settings(lock, asked, recipe, workspace), workspace) for recipe in lock.recipe.models)
    if not models:
        raise UsageError("the lock file has no base model, so there is nothing to run again")
    changes = (*_surroundings(lock, models[0]), *_options(lock, models))
    return Rerun(lock=lock, asked=asked, models=models, changes=tuple(changes))


def rerun(prepared: Rerun, observer: Observer) -> Replay:
    """Run every step again and hold the checkpoints against the record's digests.

    Raises:
        EngineFailed: a step failed.
    """
    steps: list[ReplayedStep] = []
    first: FirstDifference | None = None
    for one in prepared.models:
        observer.section(one.models[0].name, "run again")
        strategy = carry_out(one, one.models[0], observer)
        for step, folder in _beside(prepared.lock, strategy):
            steps.append(step)
            if first is None and not step.same:
                first = _located(prepared.asked, step, folder)
    return Replay(changes=prepared.changes, steps=tuple(steps), first=first)


def _settings(lock: Lock, asked: Asked, recipe: ModelRecipe, workspace: Workspace) -> SubmitSettings:
    words = _words(lock.recipe.command)
    path = workspace.root / "recipes" / f"{recipe.name}.toml"
    write_atomically(path, recipe_text(recipe.options).encode())
    _require(words, "--base", asked.bases, of=recipe.name)
    _require(words, "--data", asked.data)
    try:
        return SubmitSettings(
            plugin=lock.recipe.plugin,
            track=words.get("--track", ["demo"])[0],
            edition=asked.edition or lock.edition.id,
            models=(recipe.name,),
            recipe=str(path),
            overrides=asked.overrides,
            budget=float(words.get("--budget", ["0.5"])[0]),
            seed=lock.seeds.get("submission", 0),
            bases={name: place for name, place in asked.bases.items() if name == recipe.name},
            data=dict(asked.data),
            device=lock.platform.device,
            control=f"{recipe.name}.control" in lock.digests,
            threads=lock.platform.thread_count,
            time_limit_s=asked.limits.time_s,
            memory_limit_bytes=asked.limits.memory_bytes,
        )
    except (ValidationError, ValueError) as error:
        raise UsageError(f"the lock file's command cannot be run again: {error}") from error


def _words(command: tuple[str, ...]) -> dict[str, list[str]]:
    """The options of a recorded command, ``harness submit`` left out; each has a value."""
    found: dict[str, list[str]] = {}
    for flag, value in zip(command[2::2], command[3::2], strict=False):
        found.setdefault(flag, []).append(value)
    return found


def _require(words: Mapping[str, list[str]], flag: str, given: Mapping[str, str], of: str | None = None) -> None:
    """What stands as a placeholder in the record has to be given again."""
    for placeholder in words.get(flag, []):
        name = placeholder.partition("=")[0]
        if of in {None, name} and name not in given:
            raise UsageError(f"the run was given {flag} {name}=PATH, and no record holds a path: give it again")


def _surroundings(lock: Lock, prepared: Prepared) -> Iterator[Change]:
    platform = platform_record(prepared)
    now = {
        "harness": harness.__version__,
        "harness code": tree_digest([harness_folder()]),
        "plugin": prepared.plugin.version,
        "plugin code": prepared.plugin_digest,
        "edition": f"{prepared.edition.id} {prepared.edition.version}",
        "rules": prepared.edition.content_digest(),
        **{name: str(value) for name, value in platform},
        **{name: _version(name) for name in lock.packages},
    }
    then = {
        "harness": lock.harness.version,
        "harness code": lock.harness.code_digest,
        "plugin": lock.plugin.version,
        "plugin code": lock.plugin.code_digest,
        "edition": f"{lock.edition.id} {lock.edition.version}",
        "rules": lock.edition.rules_digest,
        **{name: str(value) for name, value in lock.platform},
        **lock.packages,
    }
    return (Change(what=name, then=then[name], now=now[name]) for name in then if then[name] != now[name])


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _options(lock: Lock, models: tuple[Prepared, ...]) -> Iterator[Change]:
    """Options that the rerun has and the record has otherwise, step by step."""
    for recipe, prepared in zip(lock.recipe.models, models, strict=True):
        now = prepared.models[0].options
        recorded = recipe.options.get("steps")
        then = recorded if isinstance(recorded, list) else []
        for number, (was, step) in enumerate(zip(then, now.steps, strict=False), start=1):
            where = f"{recipe.name} step {number} ({step.stage} {step.method})"
            yield from _changed(where, was if isinstance(was, dict) else {}, step.fields)
        beside = {name: value for name, value in recipe.options.items() if name != "steps"}
        yield from _changed(recipe.name, beside, now.other)


def _changed(where: str, then: Mapping[str, JsonValue], now: Mapping[str, JsonValue]) -> Iterator[Change]:
    for name in sorted({*then, *now}):
        if then.get(name) != now.get(name):
            yield Change(what=f"{where}: {name}", then=json.dumps(then.get(name)), now=json.dumps(now.get(name)))


def _beside(lock: Lock, strategy: Strategy) -> Iterator[tuple[ReplayedStep, Path]]:
    """Every checkpoint of the rerun with the record's digest of it, in the order in which they were made."""
    name, base = strategy.model.name, strategy.model.base
    numbers = [n for n, step in enumerate(strategy.model.options.steps, start=1) if step.stage != INITIALISE]
    made = [(BASE, f"{name}.{BASE}", base)]
    for index, (number, outcome) in enumerate(zip(numbers, strategy.steps, strict=True)):
        label = f"{number} {outcome.step.stage} {outcome.step.method}"
        made.append((label, f"{name}.step.{index}", outcome.checkpoint))
    control = story(strategy).get("control")
    if control is not None:
        made.append(("control", f"{name}.control", control))
    for label, key, checkpoint in made:
        then = lock.digests.get(key, "not recorded")
        same = then == checkpoint.digest
        yield ReplayedStep(model=name, step=label, then=then, now=checkpoint.digest, same=same), checkpoint.path


def _located(asked: Asked, step: ReplayedStep, folder: Path) -> FirstDifference:
    original = _original(asked.originals, step.then)
    return FirstDifference(
        model=step.model, step=step.step, spot=None if original is None else first_spot(original, folder)
    )


def _original(steps: Path | None, digest: str) -> Path | None:
    """The checkpoint of that digest among the finished steps of a workspace."""
    for file in sorted(steps.glob("*/record.json")) if steps else ():
        try:
            value = StepRecord.read(file).value
        except (OSError, ValidationError):
            continue  # a step of another version of the harness, or half removed: it is not the one looked for
        if isinstance(value, dict) and value.get("digest") == digest:
            return file.parent / "output"
    return None
