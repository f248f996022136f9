"""Everything that is decided before anything heavy runs: rules, plugin, bases, recipes, budgets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.corpora.door import DoorSettings
from harness.corpora.evaluation_sets import EvaluationSets
from harness.errors import RecipeError, UsageError
from harness.run.bases import find_base, find_tokenizer
from harness.run.code import engine_versions, judge_digest, library_digest, packaging_digest, tree_digest
from harness.run.demo_data import demo_data
from harness.run.digests import DigestMemory
from harness.run.discovery import InstalledPlugin, find_plugin
from harness.run.host import PluginHost
from harness.run.initialising import Initialisation, check_start, initialise
from harness.run.legality import check_allowed
from harness.run.recipe import Recipe, read_recipe
from harness.run.settings import SubmitSettings, edition_of, models_of, track_of
from harness.submission.describe import checkpoint_parameters
from harness.submission.naming import require_safe

if TYPE_CHECKING:
    from pydantic import JsonValue

    from harness.checkpoint.checkpoint import Checkpoint
    from harness.rules.edition import BaseModelRule, Edition, TaskName, TrackRule
    from harness.run.protocol import OptionsDescription
    from harness.run.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedModel:
    """One base model and what the recipe will do to it."""

    name: str
    rule: BaseModelRule
    base: Checkpoint
    base_parameter_count: int
    parameter_budget: int
    recipe: Recipe
    recipe_source: str
    """The recipe's name in the plugin, or ``given``."""
    options: OptionsDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run, decided and not yet begun."""

    settings: SubmitSettings
    edition: Edition
    track: TrackRule
    plugin: InstalledPlugin
    host: PluginHost
    plugin_digest: str
    library_digest: str
    judge_digest: str
    packaging_digest: str
    engines: dict[str, JsonValue]
    """Versions of the libraries that decide a step's bytes."""
    door: DoorSettings
    data_revisions: dict[str, str]
    evaluation: EvaluationSets | None
    """What the text of every step is held against; None where no step reads, or the edition has no such clause."""
    tasks: tuple[TaskName, ...]
    models: tuple[PreparedModel, ...]
    workspace: Workspace
    memory: DigestMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What stands before any base model is looked for: rules, plugin, names."""

    settings: SubmitSettings
    edition: Edition
    track: TrackRule
    names: tuple[str, ...]
    """Short names of the base models."""
    plugin: InstalledPlugin
    host: PluginHost
    workspace: Workspace

    @property
    def tasks(self) -> tuple[TaskName, ...]:
        """The tasks that will be scored."""
        return self.settings.tasks or tuple(self.edition.tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedRecipe:
    """The recipe for one base model, parsed by its plugin."""

    recipe: Recipe
    source: str
    """The recipe's name in the plugin, or ``given``."""
    options: OptionsDescription


def lay_ground(settings: SubmitSettings, workspace: Workspace) -> Ground:
    """Check what was typed against the rules, and find the plugin.

    Raises:
        UsageError: something that was typed, or a file that the user wrote, is not allowed.
    """
    edition = edition_of(settings)
    track = track_of(settings, edition)
    names = models_of(settings, track)
    _check_typed(settings, edition, track)
    plugin = find_plugin(settings.plugin)
    host = PluginHost(plugin, settings.limits, threads=settings.threads)
    if not track.from_pretrained:
        # There is nothing to keep a share of: what is initialised has all the parameters that it will have.
        settings = settings.model_copy(update={"budget": 1.0})
    return Ground(
        settings=settings,
        edition=edition,
        track=track,
        names=names,
        plugin=plugin,
        host=host,
        workspace=workspace,
    )


def decide_recipe(ground: Ground, name: str) -> DecidedRecipe:
    """The recipe for the base model ``name``.

    Raises:
        RecipeError: there is none, or it has a wrong field.
        RuleBroken: a step of it does what the edition forbids.
        PluginFailed: the plugin is broken.
    """
    path, source = recipe_path(ground.settings, name, ground.plugin)
    given = ground.settings.recipe or f"{ground.plugin.name}/recipes/{path.name}"
    recipe = read_recipe(path, ground.settings.overrides, name=given)
    options = ground.host.options(recipe, options_folder(ground, name))
    check_start(ground.track, recipe, options)
    check_allowed(ground.edition, recipe, options)
    return DecidedRecipe(recipe=recipe, source=source, options=options)


def options_folder(ground: Ground, name: str) -> Path:
    """Where the plugin's worker is asked about the recipe for the base model ``name``."""
    return ground.workspace.root / "options" / f"{ground.plugin.name}-{name}"


def prepare(settings: SubmitSettings, workspace: Workspace) -> Prepared:
    """Check everything that was asked for, from rules to recipes.

    Raises:
        UsageError: something that was typed, or a file that the user wrote, is not allowed.
        RuleBroken: a recipe does what the edition forbids.
        PluginFailed: the plugin is broken.
    """
    ground = lay_ground(settings, workspace)
    edition, plugin = ground.edition, ground.plugin
    door = DoorSettings(rules=edition.data, local=_absolute(settings.data), seed=0)
    memory = DigestMemory(workspace)
    models = tuple(_model(ground, name, memory) for name in ground.names)
    return Prepared(
        settings=ground.settings,
        edition=edition,
        track=ground.track,
        plugin=plugin,
        host=ground.host,
        plugin_digest=tree_digest([plugin.folder()]),
        library_digest=library_digest(),
        judge_digest=judge_digest(),
        packaging_digest=packaging_digest(),
        engines=dict(engine_versions()),
        door=door,
        data_revisions=door.revisions(),
        evaluation=_evaluation(ground, models),
        tasks=ground.tasks,
        models=models,
        workspace=workspace,
        memory=memory,
    )


def _check_typed(settings: SubmitSettings, edition: Edition, track: TrackRule) -> None:
    require_safe(settings.team, "team")
    unknown = sorted(set(settings.bases) - set(track.models))
    if unknown:
        raise UsageError(f"--base {unknown[0]}=…: no such model in the track; allowed: {', '.join(track.models)}")
    missing = sorted(set(settings.tasks) - set(edition.tasks))
    if missing:
        raise UsageError(f"--tasks {','.join(missing)}: allowed by edition {edition.id!r}: {', '.join(edition.tasks)}")
    if settings.tasks_data is not None and not Path(settings.tasks_data).is_dir():
        raise UsageError(f"--tasks-data {settings.tasks_data}: no such folder")


def _evaluation(ground: Ground, models: tuple[PreparedModel, ...]) -> EvaluationSets | None:
    """The sets that the scores come from: the user's, or the demo's own.

    A task that the edition has and this run does not score is looked for too, where its set is there: what a step's
    name depends on does not change with ``--tasks``.
    """
    reads_data = any(step.reads_data for model in models for step in model.options.steps)
    if ground.edition.contamination is None or not reads_data:
        return None
    given = ground.settings.tasks_data
    folder = demo_data(ground.workspace) if given is None else Path(given)
    return EvaluationSets.of(folder, tuple(ground.edition.tasks), scored=ground.tasks)


def _absolute(paths: dict[str, str]) -> dict[str, str]:
    return {name: str(Path(path).resolve()) for name, path in paths.items()}


def _model(ground: Ground, name: str, memory: DigestMemory) -> PreparedModel:
    rule, decided = ground.edition.models[name], decide_recipe(ground, name)
    base = memory.checkpoint(_base(ground, name, rule, decided))
    count = checkpoint_parameters(base.path)
    return PreparedModel(
        name=name,
        rule=rule,
        base=base,
        base_parameter_count=count,
        parameter_budget=int(count * ground.settings.budget),
        recipe=decided.recipe,
        recipe_source=decided.source,
        options=decided.options,
    )


def _base(ground: Ground, name: str, rule: BaseModelRule, decided: DecidedRecipe) -> Path:
    """The folder of what the recipe starts from: a base model, or in a track from scratch an untrained one."""
    if ground.track.from_pretrained:
        return find_base(name, rule, ground.settings, ground.workspace)
    initialisation = Initialisation(
        host=ground.host,
        recipe=decided.recipe,
        options=decided.options,
        tokenizer=find_tokenizer(name, rule, ground.settings),
        settings=ground.settings,
        code={
            "plugin": tree_digest([ground.plugin.folder()]),
            "harness": library_digest(),
            "engines": dict(engine_versions()),
        },
    )
    return initialise(initialisation, ground.workspace)


def recipe_path(settings: SubmitSettings, model: str, plugin: InstalledPlugin) -> tuple[Path, str]:
    """The recipe file for one base model, and what the record calls it.

    The user's own where one is given; else the plugin's most particular one for the track and model.

    Raises:
        RecipeError: the plugin ships none; the message names what was looked for.
    """
    if settings.recipe is not None:
        return Path(settings.recipe), "given"
    prefix = "" if settings.track == "compression" else f"{settings.track}-"
    general = "default" if settings.track == "compression" else settings.track
    looked_for = (f"{prefix}{model}.toml", f"{general}.toml")
    for name in looked_for:
        path = plugin.folder() / "recipes" / name
        if path.is_file():
            return path, name
    raise RecipeError(
        f"plugin {plugin.name!r} ships no recipe for track {settings.track!r}, model {model!r} "
        f"(looked for {' and '.join(looked_for)}); give one: --recipe FILE"
    )
