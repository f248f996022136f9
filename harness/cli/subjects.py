"""What MODEL names on the command line: a checkpoint's folder, a bundle's final checkpoints, an embedded model.

pico-llama                   the embedded model, checked against its shipped digests
path/to/checkpoint           a folder with config.json
submissions/demo/<entry>     every final checkpoint of the entry, where its weights are found
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.checkpoint.checkpoint import read_config
from harness.checkpoint.structure import STRUCTURED_TYPE
from harness.errors import UsageError
from harness.submission import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition

TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
Kind = Literal["chat", "base"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A checkpoint that was named."""

    label: str
    path: Path
    base: str
    """Short name of the base model in the edition, or what stands for it: looks are counted by it."""
    kind: Kind


def named(model: str, edition: Edition, *, weights: Path | None, kind: Kind | None) -> tuple[Named, ...]:
    """The checkpoints that ``model`` names.

    Args:
        model: what was typed.
        edition: whose base models it may stem from.
        weights: folder with the checkpoints that a bundle references.
        kind: how prompts are put; None: as the edition or the checkpoint says.

    Raises:
        UsageError: it names nothing, or weights that are not here.
        CheckpointCorrupt: an embedded model was changed, or ``config.json`` cannot be read.
    """
    from harness.pico import catalogue

    path = Path(model)
    if not path.exists() and model in catalogue.names():
        found: tuple[Named, ...] = (_checkpoint(model, catalogue.path(model), edition, _embedded(model, edition)),)
    elif (path / layout.SUBMISSION).is_file():
        found = tuple(_finals(path, edition, weights))
    elif (path / "config.json").is_file():
        found = (_checkpoint(path.resolve().name, path.resolve(), edition, None),)
    else:
        raise UsageError(
            f"{model}: expected the folder of a checkpoint (with config.json), a bundle (with {layout.SUBMISSION}) or "
            f"one of {', '.join(catalogue.names())}; found {'neither' if path.exists() else 'nothing of that name'}"
        )
    return found if kind is None else tuple(_as(one, kind) for one in found)


def _as(one: Named, kind: Kind) -> Named:
    return Named(label=one.label, path=one.path, base=one.base, kind=kind)


def _finals(bundle: Path, edition: Edition, weights: Path | None) -> Iterator[Named]:
    from harness.submission.schema import Submission
    from harness.validation.record import read_document
    from harness.validation.weights import locate

    submission, faults = read_document(bundle, layout.SUBMISSION, Submission)
    if submission is None:
        raise UsageError(f"{bundle}: {faults[0].message}: {faults[0].found}")
    for one in locate(submission, bundle.resolve(), weights):
        if one.role == "final":
            if one.folder is None:
                raise UsageError(
                    f"{bundle}: the final checkpoint of {one.model} is not here (digest "
                    f"{one.record.checkpoint_digest}); name the folder of checkpoints: --weights DIR"
                )
            yield _checkpoint(f"{one.model} final", one.folder.resolve(), edition, one.model)


def _checkpoint(label: str, path: Path, edition: Edition, base: str | None) -> Named:
    base = base or _base_of(path, edition)
    rule = edition.models.get(base)
    return Named(label=label, path=path, base=base, kind=rule.kind if rule else _kind_of(path))


def _embedded(name: str, edition: Edition) -> str | None:
    return next((model for model, rule in edition.models.items() if rule.embedded == name), None)


def _base_of(path: Path, edition: Edition) -> str:
    """The edition's model of the same architecture; else the folder's name, as far as it can be one."""
    config = read_config(path)
    kind = config.get("model_type")
    architecture = str(config.get("base_model_type") if kind == STRUCTURED_TYPE else kind)
    if architecture in edition.models:
        return architecture
    return "-".join(re.findall(r"[a-z0-9]+", path.name.lower())) or "checkpoint"


def _kind_of(path: Path) -> Kind:
    """``chat`` where the tokenizer brings a template."""
    settings = path / "tokenizer_config.json"
    described = json.loads(settings.read_bytes()) if settings.is_file() else {}
    has_template = any((path / name).is_file() for name in TEMPLATE_FILES) or bool(described.get("chat_template"))
    return "chat" if has_template else "base"
