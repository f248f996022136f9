"""The demo's evaluation sets in the workspace, written once for the corpus that they come from."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from harness.pico import tasks as demo_tasks
from harness.run.code import harness_folder, tree_digest

if TYPE_CHECKING:
    from pathlib import Path

    from harness.run.workspace import Workspace


def demo_data(workspace: Workspace) -> Path:
    """The folder, laid out as OpenCompass looks its data up; made if it is not there."""
    made_by = tree_digest([harness_folder() / "pico" / part for part in ("corpus", "tasks")])
    folder = (workspace.root / f"demo-tasks-{made_by[:12]}").resolve()
    if not folder.is_dir():
        beside = folder.with_name(f".{folder.name}.{os.getpid()}")
        demo_tasks.write(beside)
        with contextlib.suppress(OSError):  # another run was first
            beside.rename(folder)
        shutil.rmtree(beside, ignore_errors=True)
    return folder
