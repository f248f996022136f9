"""Where a base model comes from: a path, the embedded pico models, or the hub; its configuration alone, for plans."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checkpoint.checkpoint import read_described_config
from harness.errors import EngineFailed, UsageError
from harness.pico import catalogue

if TYPE_CHECKING:
    from harness.rules.edition import BaseModelRule
    from harness.run.settings import SubmitSettings
    from harness.run.workspace import Workspace

TOKENIZER = "tokenizer.json"
ROLES = ("bos", "eos", "pad")
"""Of special tokens, in the fields of configurations."""
HUB_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.model", "*.txt", "*.jinja")
"""What of a hub repository makes a checkpoint; pickled weights and code are left there."""


def find_base(name: str, rule: BaseModelRule, settings: SubmitSettings, workspace: Workspace) -> Path:
    """The folder of the base model ``name``; downloaded on first use where it is on the hub.

    Raises:
        UsageError: no base is known for it.
        EngineFailed: the hub cannot be reached.
    """
    given = settings.bases.get(name)
    if given is not None and Path(given).is_dir():
        return Path(given).resolve()
    if given is None and rule.embedded is not None:
        return catalogue.path(rule.embedded)
    hub_id = given or rule.hub_id
    if hub_id is None:
        raise UsageError(f"no base model for {name!r}; give one: --base {name}=PATH_OR_HUB_ID")
    return _download(hub_id, None if given else rule.revision, name, workspace)


def find_tokenizer(name: str, rule: BaseModelRule, settings: SubmitSettings) -> Path:
    """The folder of the tokenizer that the model ``name`` of a track from scratch gets.

    Raises:
        UsageError: none is known for it, or the one that was given is none.
    """
    given = settings.bases.get(name)
    if given is None and rule.tokenizer is not None:
        return catalogue.path(rule.tokenizer)
    if given is None:
        raise UsageError(f"no tokenizer for {name!r}; give the folder of one: --base {name}=FOLDER")
    if not (Path(given) / TOKENIZER).is_file():
        raise UsageError(f"--base {name}={given}: in a track from scratch, a folder with a {TOKENIZER}; found none")
    return Path(given).resolve()


def tokenizer_config(folder: Path) -> dict[str, Any]:
    """What a model's configuration has from its tokenizer: its length, and the ids of the tokens that begin and end."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    file = folder / "tokenizer_config.json"
    named = json.loads(file.read_text()) if file.is_file() else {}
    ids = {f"{kind}_token_id": tokenizer.token_to_id(_content(named.get(f"{kind}_token"))) for kind in ROLES}
    return {"vocab_size": tokenizer.get_vocab_size(with_added_tokens=True), **ids}


def _content(token: object) -> str:
    """A special token's text, in either form that ``tokenizer_config.json`` may have it."""
    return str(token["content"] if isinstance(token, dict) else token)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseConfig:
    """The configuration of a base model that need not be here."""

    config: dict[str, Any]
    source: str
    """A path, or a hub id."""
    is_here: bool
    """Whether its weights are; else a run downloads them first."""


def find_config(name: str, rule: BaseModelRule, settings: SubmitSettings, workspace: Workspace) -> BaseConfig:
    """The configuration of the base model ``name``: from its folder, or as shipped for the competition's models.

    Raises:
        UsageError: no base is known for it.
        EngineFailed: only the hub has it, and cannot be reached.
    """
    hub_id = settings.bases.get(name) or rule.hub_id
    is_folder = hub_id is not None and Path(hub_id).is_dir()
    shipped = None if is_folder or (name not in settings.bases and rule.embedded) else shipped_config(hub_id)
    if shipped is not None:
        return BaseConfig(config=shipped, source=str(hub_id), is_here=False)
    path = find_base(name, rule, settings, workspace)
    return BaseConfig(config=read_described_config(path), source=str(path), is_here=True)


def shipped_config(hub_id: str | None) -> dict[str, Any] | None:
    """The ``config.json`` of a competition model by its hub id; None for any other."""
    if hub_id is None:
        return None
    file = resources.files("harness.rules") / "configurations" / f"{hub_id.replace('/', '--')}.json"
    config: dict[str, Any] | None = json.loads(file.read_text()) if file.is_file() else None
    return config


def _download(hub_id: str, revision: str | None, name: str, workspace: Workspace) -> Path:
    import huggingface_hub

    target = workspace.root / "bases" / hub_id.replace("/", "--")
    try:
        # A plain folder: the hub's own cache is made of links, and a checkpoint has none.
        huggingface_hub.snapshot_download(hub_id, revision=revision, local_dir=target, allow_patterns=list(HUB_FILES))
    except Exception as error:
        raise EngineFailed(
            f"base model {name!r}: {hub_id!r} is no folder here and could not be downloaded "
            f"({type(error).__name__}: {error}); give a local copy: --base {name}=PATH"
        ) from error
    return target
