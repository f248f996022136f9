"""What MODEL names on the command line: a checkpoint's folder, a bundle's final checkpoints, an embedded model.

pico-llama                   the embedded model, checked against its shipped digests
path/to/folder               a checkpoint, or what else a command takes
submissions/demo/<entry>     every final checkpoint of the entry, where its weights are found
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli import choices
from harness.errors import UsageError
from harness.submission import layout

if TYPE_CHECKING:
    from harness.validation.weights import Weights

SHOWN_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model that was meant."""

    name: str
    """Of the folder, the embedded model, or ``<entry>-<base model>``."""
    checkpoint: Path
    model: str | None = None
    """Short name of the base model, where a bundle says it."""
    embedded: bool = False
    results_csv: str | None = None
    """Text of the bundle's results file."""


def find_models(model: str, *, weights: Path | None = None) -> tuple[Found, ...]:
    """The checkpoints that ``model`` names: a folder, each final checkpoint of a bundle, or an embedded model.

    Args:
        model: as it was typed.
        weights: folder with the checkpoints that a bundle references; the workspace's if absent.

    Raises:
        UsageError: it names nothing, or weights that are not here.
        CheckpointCorrupt: an embedded model was changed.
    """
    from harness.pico import catalogue

    path = Path(model)
    if (path / layout.SUBMISSION).is_file():
        return tuple(_present(path, one, weights) for one in _finals(path, weights))
    if path.is_dir():
        return (Found(name=path.resolve().name, checkpoint=path),)
    if model in catalogue.names():
        return (Found(name=model, checkpoint=catalogue.path(model), embedded=True),)
    raise UsageError(
        f"{model}: expected a folder, a bundle (with {layout.SUBMISSION}) or one of {', '.join(catalogue.names())}; "
        f"found {'a file' if path.exists() else 'nothing of that name'}"
    )


def find_model(model: str, *, name: str | None = None, weights: Path | None = None) -> Found:
    """The one checkpoint that ``model`` names.

    Args:
        model: as it was typed.
        name: of a bundle with several base models, the one that is meant.
        weights: folder with the checkpoints that a bundle references; the workspace's if absent.

    Raises:
        UsageError: there is none, or a bundle has several.
        CheckpointCorrupt: an embedded model was changed.
    """
    path = Path(model)
    if not (path / layout.SUBMISSION).is_file():
        (found,) = find_models(model)
        return found
    finals = _finals(path, weights)
    chosen = [one for one in finals if name in {None, one.model}]
    if len(chosen) != 1:
        names = ", ".join(one.model for one in finals) or "none"
        raise UsageError(f"{path}: which model? it has {names}; name one: --model NAME")
    return _present(path, chosen[0], weights)


def _finals(bundle: Path, weights: Path | None) -> list[Weights]:
    from harness.submission.schema import Submission
    from harness.validation.record import read_document
    from harness.validation.weights import locate

    submission, faults = read_document(bundle, layout.SUBMISSION, Submission)
    if submission is None:
        raise UsageError(
            f"{bundle / layout.SUBMISSION}: is no manifest of a bundle: {faults[0].message}, found {faults[0].found}; "
            f"harness validate {bundle} says all of it"
        )
    folder = _folder(weights)
    return [one for one in locate(submission, bundle, folder if folder.is_dir() else None) if one.role == "final"]


def _folder(weights: Path | None) -> Path:
    return weights or choices.workspace_here().root / "steps"


def _present(bundle: Path, one: Weights, weights: Path | None) -> Found:
    if one.folder is None:
        digest = one.record.checkpoint_digest[:SHOWN_DIGITS]
        raise UsageError(
            f"{bundle}: the final checkpoint of {one.model} (digest {digest}…) is not under {_folder(weights)}; a "
            "bundle only references weights; name their folder: --weights DIR"
        )
    results = bundle / layout.RESULTS
    text = results.read_text(encoding="utf-8") if results.is_file() else None
    return Found(name=f"{bundle.resolve().name}-{one.model}", checkpoint=one.folder, model=one.model, results_csv=text)
