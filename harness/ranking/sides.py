"""One side of a comparison: a bundle with the results of its base models, or a checkpoint with its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from harness.checkpoint.checkpoint import read_config, read_described_config
from harness.checkpoint.shards import read_layout
from harness.errors import CheckpointCorrupt, UsageError
from harness.ranking.bundle_entry import ROLE, entrant_of
from harness.ranking.comparison import SideRecord
from harness.rules.edition import edition_ids, load_edition
from harness.submission import layout
from harness.submission.describe import parameter_count, weights_bytes
from harness.surgery.anatomy import load
from harness.validation.entry import open_entry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import JsonValue

    from harness.ranking.entrant import Entrant
    from harness.rules.edition import Edition
    from harness.submission.measurements import Measurements
    from harness.submission.provenance import Lock, RecipeRecord
    from harness.surgery.anatomy import Anatomy
    from harness.validation.entry import Entry

LAYER_AXES: Final = ("intermediate", "kv_group", "head", "head_dim")
MODEL_AXES: Final = ("vocab", "hidden")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One model of a side."""

    parameters: int
    weights_bytes: int
    shapes: Mapping[str, str] = field(default_factory=dict)
    """By axis; empty where the weights are not here or the architecture is not known."""
    measured: Measurements | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side."""

    record: SideRecord
    parts: Mapping[str, Part]
    """By base model; a checkpoint's only one has the empty name."""
    entry: Entry | None = None
    edition: Edition | None = None
    notes: tuple[str, ...] = ()

    def entrant(self, models: tuple[str, ...]) -> Entrant | None:
        """Its scores averaged over ``models``; None for a checkpoint, or under an edition that is not shipped."""
        if self.entry is None or self.edition is None:
            return None
        return entrant_of(self.entry, self.edition, models, ())

    def options(self) -> dict[str, JsonValue]:
        """Everything that was chosen: team and plugin left out, the recipe of each model, versions."""
        if self.entry is None or self.entry.submission is None:
            return {}
        submission = self.entry.submission
        chosen: dict[str, JsonValue] = {
            "plugin": submission.plugin.name,
            "plugin version": submission.plugin.distribution.version,
            "plugin code": submission.plugin.distribution.code_digest[:12],
            "seed": submission.seed,
            "parameter budget": submission.parameter_budget,
        }
        return chosen | _recipe(self.entry.recipe) | _versions(self.entry.lock)


def read_side(path: Path, weights: Path | None) -> Side:
    """The bundle or the checkpoint at ``path``.

    Args:
        path: a folder with ``submission.json`` or with ``config.json``.
        weights: folder with the checkpoints that a bundle references.

    Raises:
        UsageError: it is neither.
        CheckpointCorrupt: the checkpoint cannot be read.
    """
    if (path / layout.SUBMISSION).is_file():
        return _bundle(path, weights)
    if (path / "config.json").is_file():
        return _checkpoint(path)
    raise UsageError(f"{path}: expected a bundle ({layout.SUBMISSION}) or a checkpoint (config.json), found neither")


def _bundle(path: Path, weights: Path | None) -> Side:
    entry = open_entry(path, weights=weights)
    submission = entry.submission
    if submission is None:
        raise UsageError(f"{path / layout.SUBMISSION}: cannot be read; harness validate {path} says why")
    edition = load_edition(submission.edition.id) if submission.edition.id in edition_ids() else None
    folders = {one.model: one.folder for one in entry.weights if one.role == ROLE}
    parts, notes = {}, []
    for model in submission.models:
        result = model.result(ROLE)
        if result is None:
            continue
        shapes, note = _shapes(folders.get(model.name), f"{entry.name}: {model.name}")
        notes += [note] if note else []
        parts[model.name] = Part(
            parameters=result.checkpoint.parameter_count,
            weights_bytes=result.checkpoint.weights_bytes,
            shapes=shapes,
            measured=result.measurements,
        )
    if edition is None:
        notes.append(f"{entry.name}: edition {submission.edition.id} is not shipped, so its tasks are not compared")
    record = SideRecord(
        name=entry.name,
        kind="bundle",
        team=submission.team,
        plugin=submission.plugin.name,
        edition=f"{submission.edition.id} {submission.edition.version}",
    )
    return Side(record=record, parts=parts, entry=entry, edition=edition, notes=tuple(notes))


def _checkpoint(path: Path) -> Side:
    path = path.resolve()
    found = read_layout(path)
    shapes, note = _shapes(path, path.name)
    part = Part(parameters=parameter_count(found, read_config(path)), weights_bytes=weights_bytes(found), shapes=shapes)
    said = f"{path.name}: a checkpoint by itself has no scores; harness evaluate measures them"
    return Side(
        record=SideRecord(name=path.name, kind="checkpoint"),
        parts={"": part},
        notes=(said, *([note] if note else [])),
    )


def _shapes(folder: Path | None, name: str) -> tuple[dict[str, str], str | None]:
    """The size of every axis, and why there is none."""
    if folder is None:
        return {}, f"{name}: its final checkpoint is not here, so shapes are not compared; --weights names the folder"
    try:
        return axis_sizes(load(read_described_config(folder))), None
    except (CheckpointCorrupt, UsageError) as error:
        return {}, f"{name}: shapes are not compared: {error}"


def axis_sizes(anatomy: Anatomy) -> dict[str, str]:
    """The size of every axis; where layers differ the smallest and the largest."""
    sizes = {"layer": str(anatomy.layer_count)}
    sizes |= {axis: str(anatomy.sizes[axis]) for axis in MODEL_AXES}
    for axis in LAYER_AXES:
        found = sorted({layer[axis] for layer in anatomy.layer_sizes})
        sizes[axis] = str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"
    return sizes


def _recipe(recipe: RecipeRecord | None) -> dict[str, JsonValue]:
    if recipe is None:
        return {}
    return {
        place: value
        for model in recipe.models
        for place, value in flattened(f"{model.name}", dict(model.options)).items()
    }


def _versions(lock: Lock | None) -> dict[str, JsonValue]:
    if lock is None:
        return {}
    engines = {f"toolchain {one.name}": one.version for one in lock.toolchains}
    return {
        "harness": lock.harness.version,
        "processor": lock.platform.cpu,
        "threads": lock.platform.thread_count,
        **{f"package {name}": version for name, version in lock.packages.items()},
        **engines,
    }


def flattened(place: str, value: JsonValue) -> dict[str, JsonValue]:
    """Every leaf of ``value`` by its path: ``llama.steps.0.keep_fraction``."""
    if isinstance(value, dict) and value:
        parts = value.items()
        return {found: leaf for name, part in parts for found, leaf in flattened(f"{place}.{name}", part).items()}
    if isinstance(value, list) and value:
        return {
            found: leaf
            for number, part in enumerate(value)
            for found, leaf in flattened(f"{place}.{number}", part).items()
        }
    return {place: value}
