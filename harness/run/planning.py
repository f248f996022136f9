"""What ``submit`` would do and what would come out, from configurations alone: no weights, nothing heavy.

recipe ──forecast of each compress step──> config ─┐
--cut, typed ─────────────────────────────> config ─┴─> weigh ─> parameters, bytes, cache, memory, disk
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.run.bases import BaseConfig, find_config, find_tokenizer, tokenizer_config
from harness.run.initialising import INITIALISE
from harness.run.planned import Forecast, PlannedModel, PlannedStep, Shape, SubmissionPlan
from harness.run.preparation import decide_recipe, lay_ground, options_folder
from harness.run.protocol import Predicted
from harness.run.settings import edition_of, models_of, track_of
from harness.surgery.anatomy import load
from harness.surgery.count import Weight, weigh
from harness.surgery.cuts import plan_of_cuts
from harness.surgery.shape import reduced_config

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.run.preparation import DecidedRecipe, Ground
    from harness.run.settings import SubmitSettings
    from harness.run.workspace import Workspace

DTYPE = "F16"
"""Checkpoints are stored so."""
DEFAULT_CONTEXT_TOKENS = 2048
CHUNK_TOKENS = 512
"""Tokens of a prompt that go through the model at once, in the forecast of memory."""


def make_plan(
    settings: SubmitSettings, workspace: Workspace, *, context_tokens: int = DEFAULT_CONTEXT_TOKENS
) -> SubmissionPlan:
    """Predict every step of the run that ``settings`` ask for.

    Raises:
        UsageError: something that was asked for is not allowed, or cannot be reached.
        PluginFailed: the plugin is broken.
    """
    ground = lay_ground(settings, workspace)
    models = tuple(_planned(ground, name, context_tokens) for name in ground.names)
    return SubmissionPlan(
        plugin=ground.plugin.name,
        track=settings.track,
        edition=ground.edition.id,
        notice=ground.edition.notice,
        context_tokens=context_tokens,
        memory_limit_bytes=ground.edition.measurement.memory_limit_bytes,
        models=models,
        tasks=ground.tasks,
        disk_bytes=sum(_disk_bytes(model, control=settings.control) for model in models),
    )


def make_cut_plan(
    settings: SubmitSettings,
    workspace: Workspace,
    cuts: Iterable[Sequence[str]],
    *,
    context_tokens: int = DEFAULT_CONTEXT_TOKENS,
) -> SubmissionPlan:
    """Predict what cuts leave of the base models that ``settings`` name; their plugin does not matter.

    Args:
        settings: track, edition, models and bases.
        workspace: where downloaded bases stand.
        cuts: one entry a step, each of one or more cuts in the form of ``harness.surgery.cuts``.
        context_tokens: for which memory is predicted.

    Raises:
        UsageError: a cut does not fit, or a base is not known.
    """
    edition, typed = edition_of(settings), tuple(cuts)
    names = models_of(settings, track_of(settings, edition))
    models = [
        cut_model(name, find_config(name, edition.models[name], settings, workspace), typed, context_tokens)
        for name in names
    ]
    return SubmissionPlan(
        plugin=None,
        track=settings.track,
        edition=edition.id,
        notice=edition.notice,
        context_tokens=context_tokens,
        memory_limit_bytes=edition.measurement.memory_limit_bytes,
        models=tuple(models),
        tasks=(),
        disk_bytes=sum(_disk_bytes(model, control=False) for model in models),
    )


def cut_model(name: str, base: BaseConfig, cuts: Iterable[Sequence[str]], context_tokens: int) -> PlannedModel:
    """What is left of a base model after ``cuts``, one step each; raises ``UsageError`` where one does not fit."""
    config, steps = base.config, []
    for cut in cuts:
        config = reduced_config(config, plan_of_cuts(load(config), cut))
        forecast = forecast_of(config, context_tokens)
        steps.append(
            PlannedStep(
                stage="compress",
                method="cut",
                forecast=forecast,
                disk_bytes=forecast.weights_bytes,
                fields={"cut": ",".join(cut)},
            )
        )
    return _model(name, base, context_tokens, budget=None, recipe="typed", steps=steps)


def forecast_of(config: Mapping[str, Any], context_tokens: int) -> Forecast:
    """The weight and shape of the model that ``config`` describes; raises ``UsageError`` without an anatomy."""
    weight: Weight = weigh(config)
    return Forecast(
        shape=_shape(config),
        parameter_count=weight.parameter_count,
        weights_bytes=weight.weights_bytes(DTYPE),
        kv_bytes_per_token=weight.kv_bytes_per_token(DTYPE),
        inference_bytes=weight.inference_bytes(context_tokens=context_tokens, chunk_tokens=CHUNK_TOKENS, dtype=DTYPE),
    )


def _shape(config: Mapping[str, Any]) -> Shape:
    anatomy = load(config)
    layers = anatomy.layer_sizes
    return Shape(
        layers=anatomy.layer_count,
        hidden=anatomy.sizes["hidden"],
        heads=_bounds(sizes["kv_group"] * sizes["head"] for sizes in layers),
        kv_groups=_bounds(sizes["kv_group"] for sizes in layers),
        intermediate=_bounds(sizes["intermediate"] for sizes in layers),
        vocabulary=anatomy.sizes["vocab"],
        fused=tuple(anatomy.fused),
        factorised=sum(len(anatomy.ranks(layer)) for layer in range(anatomy.layer_count)),
        is_stock=anatomy.structure is None,
    )


def _bounds(values: Iterable[int]) -> tuple[int, int]:
    every = tuple(values)
    return min(every), max(every)


def _planned(ground: Ground, name: str, context_tokens: int) -> PlannedModel:
    decided = decide_recipe(ground, name)
    base = _start(ground, name, decided)
    budget = int(weigh(base.config).parameter_count * ground.settings.budget)
    config: dict[str, Any] | None = base.config
    steps: list[PlannedStep] = []
    is_exact = True
    for index, step in enumerate(decided.options.steps):
        if step.stage == INITIALISE:
            continue  # it makes the base
        after = Predicted(config=config)
        if step.stage == "compress" and config is not None:
            after = _after(ground, name, decided, index, config, budget)
        config, is_exact = after.config, is_exact and after.parameter_bounds is None
        forecast = None if config is None else forecast_of(config, context_tokens)
        steps.append(
            PlannedStep(
                stage=step.stage,
                method=step.method,
                forecast=forecast,
                parameter_bounds=after.parameter_bounds,
                is_exact=is_exact,
                disk_bytes=None if forecast is None else forecast.weights_bytes,
                fields=step.fields,
                notes=after.notes,
            )
        )
    return _model(name, base, context_tokens, budget=budget, recipe=decided.recipe.name, steps=steps)


def _start(ground: Ground, name: str, decided: DecidedRecipe) -> BaseConfig:
    """The configuration that the recipe starts from; in a track from scratch the one that its first step will make."""
    rule = ground.edition.models[name]
    if ground.track.from_pretrained:
        return find_config(name, rule, ground.settings, ground.workspace)
    known = ground.settings.bases.get(name) or rule.tokenizer
    tokenizer = tokenizer_config(find_tokenizer(name, rule, ground.settings)) if known else {}
    config = _after(ground, name, decided, 0, tokenizer, 0).config
    if config is None:
        raise UsageError(
            f"{name}: the shape of the initialisation is not known; its tokenizer decides the vocabulary: "
            f"--base {name}=FOLDER"
        )
    return BaseConfig(config=config, source="an initialisation", is_here=True)


def _after(  # noqa: PLR0913, PLR0917 - one step of the walk
    ground: Ground, name: str, decided: DecidedRecipe, index: int, config: dict[str, Any], budget: int
) -> Predicted:
    """What the plugin predicts for a step of a model with ``config``."""
    folder = options_folder(ground, name)
    request = ground.host.request(
        "forecast", decided.recipe, folder, step_index=index, config=config, parameter_budget=budget
    )
    value = ground.host.call(request, folder, lambda _event: None).value
    return Predicted.model_validate({} if value is None else value)


def _model(  # noqa: PLR0913 - the parts of a document
    name: str,
    base: BaseConfig,
    context_tokens: int,
    *,
    budget: int | None,
    recipe: str,
    steps: Sequence[PlannedStep],
) -> PlannedModel:
    forecast = forecast_of(base.config, context_tokens)
    return PlannedModel(
        name=name,
        base=forecast,
        base_source=base.source,
        download_bytes=0 if base.is_here else forecast.weights_bytes,
        parameter_budget=budget,
        recipe=recipe,
        steps=tuple(steps),
    )


def _disk_bytes(model: PlannedModel, *, control: bool) -> int:
    written = sum(step.disk_bytes or model.base.weights_bytes for step in model.steps)
    trained = sum(1 for step in model.steps if step.stage == "train")
    return written + (trained * model.base.weights_bytes if control and trained < len(model.steps) else 0)
