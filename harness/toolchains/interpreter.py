"""The Python that an environment is made from: the running one where the pins allow it, else another on the machine."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.toolchains.catalogue import Toolchain


def python_version(toolchain: Toolchain) -> str:
    """The minor version that ``toolchain`` is made with here: the running one, else the newest that the pins allow."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    return running if running in toolchain.python_versions else toolchain.python_versions[-1]


def find_python(version: str) -> str | None:
    """An interpreter of that minor version: the running one or one on the search path; None where there is none."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    return shutil.which(f"python{version}")
