"""Whether executorch is there, in a version that the harness knows; importing this imports nothing of it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from packaging.version import Version

from harness.errors import ToolchainFailed

OLDEST: Final = Version("1.5.1")
TOO_NEW: Final = Version("1.6")


def require_executorch() -> str:
    """The installed version; raises ``ToolchainFailed`` where there is none that fits."""
    way_out = "pip install 'edge-llm-harness[edge]'"
    try:
        found = version("executorch")
    except PackageNotFoundError as error:
        raise ToolchainFailed(f"executorch is not installed; ExecuTorch packages need it: {way_out}") from error
    if not OLDEST <= Version(found) < TOO_NEW:
        raise ToolchainFailed(f"executorch must be at least {OLDEST} and below {TOO_NEW}, found {found}: {way_out}")
    return found
