"""The models of ``harness evaluate``: what MODEL names, with base model and kind as the edition knows them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.checkpoint.checkpoint import read_config
from harness.checkpoint.structure import STRUCTURED_TYPE
from harness.cli.model_argument import find_models
from harness.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.cli.model_argument import Found
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
    """The checkpoints that ``model`` names, as the edition takes them.

    Args:
        model: what was typed; ``find_models`` says what can be.
        edition: whose base models it may stem from.
        weights: folder with the checkpoints that a bundle references; the workspace's if absent.
        kind: how prompts are put; None: as the edition or the checkpoint says.

    Raises:
        UsageError: it names nothing, no checkpoint, or weights that are not here.
        CheckpointCorrupt: an embedded model was changed, or ``config.json`` cannot be read.
    """
    return tuple(_named(one, edition, kind) for one in find_models(model, weights=weights))


def _named(found: Found, edition: Edition, kind: Kind | None) -> Named:
    path = found.checkpoint.resolve()
    if not (path / "config.json").is_file():
        raise UsageError(f"{found.checkpoint}: expected the folder of a checkpoint, which has config.json; found none")
    base = found.model or (_embedded(found.name, edition) if found.embedded else None) or _base_of(path, edition)
    rule = edition.models.get(base)
    return Named(
        label=found.name if found.model is None else f"{found.model} final",
        path=path,
        base=base,
        kind=kind or (rule.kind if rule else _kind_of(path)),
    )


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
