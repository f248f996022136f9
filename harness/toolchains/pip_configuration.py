"""pip's own settings, told to uv, so that what works with pip on a machine works here.

    pip                  uv's environment              where
    index-url            UV_DEFAULT_INDEX              the user's own UV_… variables win
    extra-index-url      UV_INDEX                      all indexes count, as for pip (unsafe-best-match)
    find-links           UV_FIND_LINKS
    constraint           UV_CONSTRAINT
    cert, client-cert    SSL_CERT_FILE, SSL_CLIENT_CERT
    trusted-host         UV_INSECURE_HOST
    no-index             UV_NO_INDEX
    timeout, proxy       UV_HTTP_TIMEOUT, HTTPS_PROXY and HTTP_PROXY

uv reads none of pip's files. `python -m pip config list` knows them all (system, user, environment, variables).
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECTIONS = ("global", "install", ":env:")
"""From weak to strong, as pip reads them for ``pip install``."""
TRUE = ("1", "true", "yes", "on", "t", "y")
PIP_TIMEOUT_S = 60


def read_pip_settings(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """What pip would use for ``pip install``: option name to value, lists separated by blanks."""
    environment = os.environ if environment is None else environment
    return parse_listing(_listing(environment)) | _variables(environment)


def parse_listing(listing: str) -> dict[str, str]:
    """Parse the output of ``pip config list``; of several sections the strongest wins."""
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.strip().rpartition(".")
        if section in found:
            found[section][option] = _unquoted(value)
    return found["global"] | found["install"] | found[":env:"]


def uv_environment(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` with ``settings`` as uv understands them; what the user set for uv stays as it is."""
    told = {"UV_INDEX_STRATEGY": "unsafe-best-match"} | _indexes(settings, environment) | _connection(settings)
    if constraints := settings.get("constraint", "").split():
        told["UV_CONSTRAINT"] = " ".join(_located(path) for path in constraints)
    # An empty variable is how a script says "not set".
    return told | {name: value for name, value in environment.items() if value or name not in told}


def _indexes(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    told = {}
    # The older names of the same variables, which uv still reads.
    if "index-url" in settings and not environment.get("UV_INDEX_URL"):
        told["UV_DEFAULT_INDEX"] = settings["index-url"]
    if "extra-index-url" in settings and not environment.get("UV_EXTRA_INDEX_URL"):
        told["UV_INDEX"] = " ".join(settings["extra-index-url"].split())
    if "find-links" in settings:
        told["UV_FIND_LINKS"] = ",".join(_located(place) for place in settings["find-links"].split())
    if settings.get("no-index", "").lower() in TRUE:
        told["UV_NO_INDEX"] = "1"
    return told


def _connection(settings: Mapping[str, str]) -> dict[str, str]:
    names = {
        "cert": "SSL_CERT_FILE",
        "client-cert": "SSL_CLIENT_CERT",
        "default-timeout": "UV_HTTP_TIMEOUT",
        "timeout": "UV_HTTP_TIMEOUT",
    }
    told = {variable: settings[option] for option, variable in names.items() if option in settings}
    if "trusted-host" in settings:
        told["UV_INSECURE_HOST"] = " ".join(settings["trusted-host"].split())
    if "proxy" in settings:
        told |= {"HTTPS_PROXY": settings["proxy"], "HTTP_PROXY": settings["proxy"]}
    return told


def _located(place: str) -> str:
    """A local path as an absolute one, since uv runs in another folder; an address as it is."""
    return place if "://" in place else str(Path(place).expanduser().resolve())


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The ``PIP_…`` variables: all that is left where no pip can be asked."""
    return {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in environment.items()
        if name.startswith("PIP_") and value
    }


def _listing(environment: Mapping[str, str]) -> str:
    """What pip says of its settings; an environment made by uv has no pip, but the Python that it came from may."""
    for python in dict.fromkeys((sys.executable, getattr(sys, "_base_executable", sys.executable))):
        try:
            answer = _ask([python, "-m", "pip", "config", "list"], environment)
        except (OSError, subprocess.SubprocessError):
            continue
        if answer.returncode == 0:
            return answer.stdout
    return ""


def _ask(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=dict(environment), capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False
    )


def _unquoted(value: str) -> str:
    try:
        return str(ast.literal_eval(value.strip()))
    except (ValueError, SyntaxError):
        return value.strip()
