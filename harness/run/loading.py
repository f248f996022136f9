"""Import one plugin, in the worker only, and check that its hooks fit the specifications."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import pluggy
from pydantic import JsonValue, ValidationError

from harness import hookspecs
from harness.errors import ContractBroken, PluginBroken
from harness.options import NoOptions, Options, Step
from harness.run.protocol import OptionsDescription, Problem, StepDescription

if TYPE_CHECKING:
    from collections.abc import Mapping


def load_plugin(name: str, module: str, distribution: str) -> pluggy.PluginManager:
    """A plugin manager that knows this one plugin.

    Raises:
        PluginBroken: it cannot be imported, or a hook of it does not fit.
    """
    owner = f"plugin {name!r} (distribution {distribution})"
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(import_module(module), name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginBroken(f"{owner}: a hook does not fit: {error}") from error
    except Exception as error:
        raise PluginBroken(f"{owner}: importing {module!r} raised {type(error).__name__}: {error}") from error
    return manager


def options_class(manager: pluggy.PluginManager, name: str) -> type[Options]:
    """The class that parses the plugin's recipes; raises ``ContractBroken``."""
    model = manager.hook.options_model()
    if model is None:
        return NoOptions
    if not (isinstance(model, type) and issubclass(model, Options)):
        raise ContractBroken(
            f"plugin {name!r}: hook 'options_model' returned {model!r}, expected a class derived from harness.Options"
        )
    return model


class OptionsRefused(Exception):
    """The plugin's model refused the recipe."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


def parse_options(model: type[Options], recipe: Mapping[str, JsonValue]) -> Options:
    """The recipe as the plugin's model; raises ``OptionsRefused`` with every problem."""
    try:
        return model.model_validate(recipe)
    except ValidationError as error:
        raise OptionsRefused(tuple(_problem(detail, recipe, model) for detail in error.errors())) from error


def describe(options: Options) -> OptionsDescription:
    """What the host needs to know of the parsed options."""
    steps = tuple(
        StepDescription(
            stage=step.stage,
            method=step.method,
            reads_data=step.reads_data,
            practices=step.practices(),
            legal_variant=step.legal_variant,
            fields=step.model_dump(mode="json"),
        )
        for step in options.steps
    )
    return OptionsDescription(steps=steps, other=options.model_dump(mode="json", exclude={"steps"}))


def _problem(detail: Mapping[str, object], recipe: Mapping[str, JsonValue], model: type[Options]) -> Problem:
    raw = detail["loc"]
    path = _without_tags(raw if isinstance(raw, tuple) else (), recipe)
    context = detail.get("ctx")
    allowed: tuple[str, ...] = ()
    if detail["type"] == "union_tag_invalid" and isinstance(context, dict):
        allowed = tuple(part.strip(" '\"") for part in str(context["expected_tags"]).split(","))
        path = (*path, "method")
    if detail["type"] == "extra_forbidden":
        allowed = _fields_beside(path, recipe, model)
    found = detail["input"] if detail["type"] != "union_tag_invalid" else (context or {}).get("tag")  # type: ignore[attr-defined]
    return Problem(path=path, message=str(detail["msg"]), found=repr(found)[:200], allowed=allowed)


def _without_tags(path: tuple[str | int, ...], recipe: Mapping[str, JsonValue]) -> tuple[str | int, ...]:
    """Drop the tag that a discriminated union puts into the path of an error: ``steps, 0, lora, rank``."""
    place: JsonValue = dict(recipe)
    kept: list[str | int] = []
    for position, part in enumerate(path):
        is_last = position == len(path) - 1
        if isinstance(place, dict) and part not in place and place.get("method") == part and not is_last:
            continue
        kept.append(part)
        place = _child(place, part)
    return tuple(kept)


def _child(place: JsonValue, part: str | int) -> JsonValue:
    if isinstance(place, dict) and isinstance(part, str):
        return place.get(part)
    if isinstance(place, list) and isinstance(part, int) and part < len(place):
        return place[part]
    return None


def _fields_beside(
    path: tuple[str | int, ...], recipe: Mapping[str, JsonValue], model: type[Options]
) -> tuple[str, ...]:
    """The fields that would have been understood where ``path`` names an unknown one."""
    if len(path) == 1:
        return tuple(model.model_fields)
    step = _child(_child(dict(recipe), "steps"), path[1])
    method = step.get("method") if isinstance(step, dict) else None
    for candidate in _step_classes(model):
        if candidate.model_fields["method"].default == method or method in _literal_values(candidate):
            return tuple(candidate.model_fields)
    return ()


def _step_classes(model: type[Options]) -> tuple[type[Step], ...]:
    found: list[type[Step]] = []
    queue: list[object] = [model.model_fields["steps"].annotation]
    while queue:
        current = queue.pop()
        if isinstance(current, type) and issubclass(current, Step):
            found.append(current)
        queue.extend(getattr(current, "__args__", ()))
    return tuple(found)


def _literal_values(candidate: type[Step]) -> tuple[object, ...]:
    annotation = candidate.model_fields["method"].annotation
    return tuple(getattr(annotation, "__args__", ()))
