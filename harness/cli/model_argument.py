"""The argument MODEL of several commands: a path, a bundle or a pico name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.cli import choices
from harness.errors import UsageError

SUBMISSION: Final = "submission.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The model that was meant."""

    name: str
    checkpoint: Path
    results_csv: str | None = None
    """Text of the bundle's results file."""


def find_model(model: str, *, name: str | None = None, weights: Path | None = None) -> Found:
    """The checkpoint that ``model`` names: a folder, a bundle's final checkpoint, or an embedded model.

    Args:
        model: as it was typed.
        name: of a bundle with several base models, the one that is meant.
        weights: folder with the checkpoints that a bundle references; the workspace's if absent.

    Raises:
        UsageError: there is none, or a bundle has several.
    """
    from harness.pico import catalogue

    path = Path(model)
    if (path / SUBMISSION).is_file():
        return _of_bundle(path, name, weights)
    if path.is_dir():
        return Found(name=path.resolve().name, checkpoint=path)
    if model in catalogue.names():
        return Found(name=model, checkpoint=catalogue.path(model))
    raise UsageError(f"{model}: neither a folder here nor one of {', '.join(catalogue.names())}")


def _of_bundle(bundle: Path, name: str | None, weights: Path | None) -> Found:
    from pydantic import ValidationError

    from harness.submission import layout
    from harness.submission.schema import Submission
    from harness.validation.weights import locate

    try:
        submission = Submission.read(bundle / SUBMISSION)
    except ValidationError as error:
        raise UsageError(f"{bundle / SUBMISSION}: is no manifest of a bundle: harness validate {bundle}") from error
    weights = weights or choices.workspace_here().root / "steps"
    finals = [one for one in locate(submission, bundle, weights if weights.is_dir() else None) if one.role == "final"]
    chosen = [one for one in finals if name in {None, one.model}]
    if len(chosen) != 1:
        names = ", ".join(one.model for one in finals) or "none"
        raise UsageError(f"{bundle}: which model? it has {names}; name one: --model NAME")
    (one,) = chosen
    if one.folder is None:
        digest = one.record.checkpoint_digest[:12]
        raise UsageError(
            f"{bundle}: the final checkpoint of {one.model} (digest {digest}…) is not under {weights}; a bundle only "
            "references weights; name their folder: --weights PATH"
        )
    results = bundle / layout.RESULTS
    text = results.read_text(encoding="utf-8") if results.is_file() else None
    return Found(name=f"{bundle.resolve().name}-{one.model}", checkpoint=one.folder, results_csv=text)
