"""The embedded models: where they stand in the package, and whether their bytes are the ones that were shipped."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from harness.checkpoint.checkpoint import sha256_of
from harness.errors import CheckpointCorrupt, UsageError

NAMES = ("pico-llama", "pico-qwen2", "pico-phi")
DIGESTS = "digests.json"


def names() -> tuple[str, ...]:
    """The names of the models that ``harness pico build`` trains; ``shipped_digests`` says which the package holds."""
    return NAMES


def path(name: str) -> Path:
    """The folder of an embedded model, its files checked against the shipped digests.

    Raises:
        UsageError: there is no such model.
        CheckpointCorrupt: a file is missing or was changed.
    """
    shipped = shipped_digests()
    if name not in shipped:
        made = f"; {name} is not shipped yet: harness pico build --models {name}, then --base" if name in NAMES else ""
        raise UsageError(f"no embedded model {name!r}; there are: {', '.join(shipped)}{made}")
    folder = models_folder() / name
    for file, digest in shipped[name].items():
        found = folder / file
        if not found.is_file() or sha256_of(found) != digest:
            raise CheckpointCorrupt(f"{found}: not the file that was shipped; reinstall, or run harness pico build")
    return folder


def models_folder() -> Path:
    """The folder of the package that holds the models."""
    return Path(str(resources.files("harness.pico") / "models"))


def shipped_digests() -> dict[str, dict[str, str]]:
    """Model to file name to SHA-256, hexadecimal."""
    digests: dict[str, dict[str, str]] = json.loads((models_folder() / DIGESTS).read_text())
    return digests
