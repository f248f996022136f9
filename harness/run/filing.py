"""Assemble the record of a finished run: what ``submission.json`` and its neighbours say."""

from __future__ import annotations

import itertools
import os
import platform
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import harness
from harness.judge.fingerprint import cpu_model
from harness.run.code import ENGINES, harness_folder, tree_digest
from harness.submission import bundle as bundles
from harness.submission import provenance
from harness.submission.bundle import Bundle
from harness.submission.describe import describe_checkpoint
from harness.submission.mean import mean_scores
from harness.submission.model_result import (
    BaseRecord,
    CheckpointResult,
    CheckpointRole,
    ModelResult,
    PackageRecord,
    StepRecord,
)
from harness.submission.naming import folder_name
from harness.submission.schema import PluginRecord, Submission
from harness.toolchains.catalogue import opencompass
from harness.toolchains.provision import locate

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from harness.checkpoint.checkpoint import Checkpoint
    from harness.run.preparation import Prepared
    from harness.run.strategy import Branch, StepOutcome, Strategy
    from harness.submission.measurements import Measurements, PluginMetric

DISTRIBUTION = "edge-llm-harness"


def story(strategy: Strategy) -> dict[CheckpointRole, Checkpoint]:
    """The checkpoints of one base model, side by side, those that exist."""
    roles: dict[CheckpointRole, Checkpoint | None] = {
        "base": strategy.model.base,
        "compressed": strategy.compressed,
        "final": strategy.final,
        "control": strategy.control,
    }
    return {role: checkpoint for role, checkpoint in roles.items() if checkpoint is not None}


def model_result(
    prepared: Prepared,
    strategy: Strategy,
    measured: dict[str, Measurements],
    package: PackageRecord | None,
    metrics: tuple[PluginMetric, ...],
) -> ModelResult:
    """What became of one base model."""
    model = strategy.model
    results = tuple(_results(prepared, strategy, measured))
    base = results[0].checkpoint
    embedded = model.rule.embedded if model.name not in prepared.settings.bases else None
    return ModelResult(
        name=model.name,
        base=BaseRecord(
            hub_id=None if embedded else model.rule.hub_id,
            revision=None if embedded else model.rule.revision,
            embedded=embedded,
            checkpoint_digest=model.base.digest,
            parameter_count=base.parameter_count,
            weights_bytes=base.weights_bytes,
        ),
        parameter_budget=model.parameter_budget,
        steps=tuple(_step(outcome) for outcome in strategy.steps),
        control_steps=tuple(_step(outcome) for outcome in strategy.control_steps),
        checkpoints=results,
        package=package,
        plugin_metrics=metrics,
    )


def _results(prepared: Prepared, strategy: Strategy, measured: dict[str, Measurements]) -> Iterator[CheckpointResult]:
    """The checkpoints side by side, the base first; none of them is read again to be named."""
    base = strategy.model.base
    files = {base.digest: prepared.memory.checkpoint_files(base.path)}
    files |= {outcome.checkpoint.digest: outcome.files for outcome in (*strategy.steps, *strategy.control_steps)}
    for role, checkpoint in story(strategy).items():
        location = _location(prepared, checkpoint)
        yield CheckpointResult(
            role=role,
            checkpoint=describe_checkpoint(checkpoint.path, files=files[checkpoint.digest], location=location),
            measurements=measured[checkpoint.digest],
        )


def _step(outcome: StepOutcome) -> StepRecord:
    return StepRecord(
        stage=outcome.step.stage,
        method=outcome.step.method,
        key=outcome.done.record.key,
        checkpoint_digest=outcome.checkpoint.digest,
        parameter_count=outcome.parameter_count,
        duration_s=outcome.done.record.duration_s,
        peak_memory_bytes=outcome.done.record.peak_memory_bytes,
        notes=outcome.notes,
    )


def track_folder(prepared: Prepared) -> Path:
    """The folder of all entries of the track; the entry is filed in it."""
    return Path(prepared.settings.out) / prepared.settings.track


def numbered(bundle: Bundle, folder: Path) -> tuple[Bundle, int]:
    """``bundle`` under a name in ``folder`` that is free or already its own, and the number in that name.

    Entries of one day, team and plugin share a name; none of them replaces another.
    """
    number = next(number for number in itertools.count(1) if _has_place(_under_number(bundle, number), folder))
    return _under_number(bundle, number), number


def _under_number(bundle: Bundle, number: int) -> Bundle:
    submission = bundle.submission
    name = folder_name(submission.created, submission.team, submission.plugin.name, number=number)
    return replace(bundle, submission=submission.model_copy(update={"id": name}))


def _has_place(bundle: Bundle, folder: Path) -> bool:
    place = folder / bundle.submission.id
    return not os.path.lexists(place) or bundles.is_filed(bundle, place)


def _location(prepared: Prepared, checkpoint: Checkpoint) -> str | None:
    """A checkpoint of the workspace, relative to its steps; one that stands elsewhere is named by its digest alone."""
    root, path = checkpoints_folder(prepared).resolve(), checkpoint.path.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None


def checkpoints_folder(prepared: Prepared) -> Path:
    """The folder of checkpoints that the record's locations are relative to."""
    return prepared.workspace.root / "steps"


def assemble(
    prepared: Prepared, strategies: tuple[Strategy, ...], models: tuple[ModelResult, ...], created: dt.date
) -> Bundle:
    """Everything that the bundle is written from."""
    settings, edition, plugin = prepared.settings, prepared.edition, prepared.plugin
    rules = provenance.EditionRecord(id=edition.id, version=edition.version, rules_digest=edition.content_digest())
    code = provenance.CodeRecord(name=plugin.distribution, version=plugin.version, code_digest=prepared.plugin_digest)
    recipe = recipe_record(prepared, strategies)
    submission = Submission(
        id=folder_name(created, settings.team, settings.plugin),
        track=settings.track,
        edition=rules,
        eligible=edition.eligible,
        notice=edition.notice,
        team=settings.team,
        plugin=PluginRecord(name=plugin.name, distribution=code),
        created=created,
        seed=settings.seed,
        parameter_budget=settings.budget,
        models=models,
        mean=mean_scores(models),
    )
    lock = provenance.Lock(
        harness=provenance.CodeRecord(
            name=DISTRIBUTION, version=harness.__version__, code_digest=tree_digest([harness_folder()])
        ),
        plugin=code,
        edition=rules,
        platform=platform_record(prepared),
        toolchains=(toolchain_record(),),
        packages={name: metadata.version(name) for name in (*ENGINES, "pydantic", "pluggy")},
        seeds={"submission": settings.seed},
        digests=_digests(strategies),
        recipe=recipe,
    )
    ledger = provenance.LedgerRecord(steps=tuple(_ledgers(strategies)))
    return Bundle(submission=submission, recipe=recipe, ledger=ledger, lock=lock, edition=edition)


def recipe_record(prepared: Prepared, strategies: tuple[Strategy, ...]) -> provenance.RecipeRecord:
    """The recipe and the options as run, and what to type to run them again."""
    return provenance.RecipeRecord(
        plugin=prepared.plugin.name,
        command=command(prepared),
        models=tuple(
            provenance.ModelRecipe(
                name=strategy.model.name,
                source=strategy.model.recipe_source,
                parameter_budget=strategy.model.parameter_budget,
                options={
                    **strategy.model.options.other,
                    "steps": [step.fields for step in strategy.model.options.steps],
                },
            )
            for strategy in strategies
        ),
    )


def command(prepared: Prepared) -> tuple[str, ...]:
    """What to type to run it again; files of the user stand as placeholders, for their paths are nobody's business."""
    settings = prepared.settings
    words = ["harness", "submit", "--plugin", settings.plugin, "--track", settings.track]
    words += ["--models", ",".join(settings.models), "--budget", str(settings.budget), "--seed", str(settings.seed)]
    words += [word for override in settings.overrides for word in ("--set", override)]
    words += [word for name in settings.bases for word in ("--base", f"{name}=PATH")]
    words += [word for name in settings.data for word in ("--data", f"{name}=PATH")]
    words += ["--recipe", "FILE"] if settings.recipe else []
    words += ["--tasks", ",".join(settings.tasks)] if settings.tasks else []
    words += ["--tasks-data", "DIR"] if settings.tasks_data else []
    words += ["--limit", str(settings.limit)] if settings.limit else []
    return tuple(words)


def platform_record(prepared: Prepared) -> provenance.PlatformRecord:
    """The machine, as far as it can change a number."""
    return provenance.PlatformRecord(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=platform.system(),
        machine=platform.machine(),
        cpu=cpu_model(),
        thread_count=prepared.settings.threads,
        device=prepared.settings.device,
    )


def toolchain_record() -> provenance.ToolchainRecord:
    """The engine that scored the tasks, as it stands."""
    toolchain = opencompass()
    environment = locate(toolchain)
    packages = dict(environment.record.packages) if environment else {}
    return provenance.ToolchainRecord(
        name=toolchain.name,
        version=packages.get(toolchain.engine, "unknown"),
        pins_digest=toolchain.pins_digest(),
        packages=packages,
    )


def _digests(strategies: tuple[Strategy, ...]) -> dict[str, str]:
    digests: dict[str, str] = {}
    for strategy in strategies:
        name = strategy.model.name
        digests |= {f"{name}.{role}": checkpoint.digest for role, checkpoint in story(strategy).items()}
        digests |= {f"{name}.step.{index}": outcome.checkpoint.digest for index, outcome in enumerate(strategy.steps)}
    return digests


def _ledgers(strategies: tuple[Strategy, ...]) -> list[provenance.StepLedger]:
    ledgers: list[provenance.StepLedger] = []
    for strategy in strategies:
        branches: tuple[tuple[Branch, tuple[StepOutcome, ...]], ...] = (
            ("student", strategy.steps),
            ("control", strategy.control_steps),
        )
        for branch, outcomes in branches:
            ledgers += [
                provenance.StepLedger(
                    model=strategy.model.name,
                    branch=branch,
                    step=index,
                    entries=outcome.ledger.plain_entries(),
                    overlaps=outcome.ledger.overlaps(),
                )
                for index, outcome in enumerate(outcomes)
                if outcome.ledger.entries
            ]
    return ledgers
