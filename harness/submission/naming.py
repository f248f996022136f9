"""Names that become file names: lower-case letters, digits and single ``-``, ``_`` or ``.`` between them.

submissions/demo/2026-11-22-team-nine-baseline-l1/      <date>-<team>-<plugin>
submissions/demo/2026-11-22-team-nine.2-baseline-l1/    the second entry of that day, team and plugin
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    import datetime as dt

MAX_NAME_CHARACTERS = 48

_SAFE = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*", re.ASCII)
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_NUMBER = r"(?:\.(?:[2-9]|[1-9][0-9]+))?"


def is_safe(name: str) -> bool:
    """Whether ``name`` can stand in a file name on every system."""
    return len(name) <= MAX_NAME_CHARACTERS and _SAFE.fullmatch(name) is not None


def require_safe(name: str, what: str) -> str:
    """Return ``name`` when it is safe.

    Raises:
        UsageError: it is not; the message proposes a name that is.
    """
    if is_safe(name):
        return name
    raise UsageError(
        f"{what}: allowed are at most {MAX_NAME_CHARACTERS} lower-case letters, digits and single '-', '_', '.' "
        f"between them, found {name[:80]!r}; try {suggest(name)!r}"
    )


def suggest(name: str) -> str:
    """A safe name that is near to ``name``."""
    words = re.findall(r"[a-z0-9]+", name.lower(), re.ASCII)
    return "-".join(words)[:MAX_NAME_CHARACTERS].rstrip("-") or "team-1"


def folder_name(created: dt.date, team: str, plugin: str, *, number: int = 1) -> str:
    """The name of a bundle's folder, which is the id of the submission.

    Args:
        created: day of the run.
        team: who files it.
        plugin: what made it; every name ends in it.
        number: which of the different entries of that day, team and plugin it is; the first goes without.

    Raises:
        UsageError: ``team`` or ``plugin`` cannot stand in a file name.
    """
    which = f".{number}" if number > 1 else ""
    return f"{created.isoformat()}-{require_safe(team, 'team')}{which}-{require_safe(plugin, 'plugin')}"


def is_folder_name(name: str, team: str, plugin: str) -> bool:
    """Whether ``name`` is that of a bundle of ``team`` made with ``plugin``, on whatever day, of whatever number."""
    named = f"{_DATE}-{re.escape(team)}{_NUMBER}-{re.escape(plugin)}"
    return is_safe(team) and is_safe(plugin) and re.fullmatch(named, name, re.ASCII) is not None
