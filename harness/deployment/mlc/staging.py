"""A checkpoint as mlc_llm reads it rightly: its own files, and a ``config.json`` with rotation in MLC's fields."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from harness.checkpoint.checkpoint import list_files
from harness.deployment.mlc.settings import flat_config
from harness.document import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def stage(checkpoint: Path, config: Mapping[str, Any], folder: Path) -> Path:
    """Make ``folder`` a copy of ``checkpoint`` (hard links where possible) for mlc_llm.

    Args:
        checkpoint: the folder that is copied.
        config: as ``Checkpoint.config`` gives it.
        folder: made; must not be there.
    """
    folder.mkdir()
    for file in list_files(checkpoint):
        if file.name != "config.json":
            place(checkpoint / file.name, folder / file.name)
    fields = {name: value for name, value in flat_config(config).items() if name != "structure"}
    write_atomically(folder / "config.json", (json.dumps(fields, indent=2) + "\n").encode())
    return folder


def place(source: Path, target: Path) -> None:
    """Make ``target`` the file ``source``: a hard link, or a copy where there are none."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
