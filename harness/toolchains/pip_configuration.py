"""What pip was told on this machine, in uv's words: uv reads none of pip's configuration by itself.

pip                                   uv
index-url                             UV_DEFAULT_INDEX
extra-index-url (words)               UV_INDEX
find-links (words)                    UV_FIND_LINKS (comma-separated)
constraint (words)                    UV_CONSTRAINT
cert                                  SSL_CERT_FILE
trusted-host (words)                  UV_INSECURE_HOST
(one index is as good as another)     UV_INDEX_STRATEGY=unsafe-best-match
"""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

from harness.errors import ToolchainFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

SCOPES = ("global.", "user.", "site.", "install.", ":env:.")
"""In pip's order of precedence: a later one overrides."""
CONFIG_TIME_S = 60


def pip_settings() -> dict[str, str]:
    """Every setting of pip that bears on installing, from its files and from the environment.

    Raises:
        ToolchainFailed: pip cannot be asked.
    """
    try:
        listed = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"],
            capture_output=True,
            text=True,
            check=True,
            timeout=CONFIG_TIME_S,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolchainFailed(f"pip's configuration cannot be read: {error}") from error
    return parse_listing(listed)


def parse_listing(listed: str) -> dict[str, str]:
    """The settings in what ``pip config list`` printed, the strongest scope winning."""
    found: dict[str, tuple[int, str]] = {}
    for line in listed.splitlines():
        name, equals, value = line.partition("=")
        scope = next((rank for rank, prefix in enumerate(SCOPES) if name.startswith(prefix)), None)
        if not equals or scope is None:
            continue
        key = name.removeprefix(SCOPES[scope])
        if scope >= found.get(key, (-1, ""))[0]:
            found[key] = (scope, str(ast.literal_eval(value)))
    return {key: value for key, (_, value) in found.items()}


def uv_environment(settings: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Uv's environment variables for pip's ``settings``; what the user told uv itself (``given``) stays."""
    words = {name: value.split() for name, value in settings.items()}
    told = {
        "UV_DEFAULT_INDEX": settings.get("index-url", ""),
        "UV_INDEX": " ".join(words.get("extra-index-url", ())),
        "UV_FIND_LINKS": ",".join(words.get("find-links", ())),
        "UV_CONSTRAINT": " ".join(words.get("constraint", ())),
        "SSL_CERT_FILE": settings.get("cert", ""),
        "UV_INSECURE_HOST": " ".join(words.get("trusted-host", ())),
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    return {name: value for name, value in told.items() if value and name not in given}
