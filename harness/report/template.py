"""Templates filled in: everything escaped, one script, and a policy in the page that allows nothing else.

The page's Content-Security-Policy names its script by digest and no host: what a hostile record might smuggle past
the escaping still would not run, and no request leaves the page.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.report import figures

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPT: Final = "page.js"


def render(name: str, values: Mapping[str, object]) -> str:
    """The template ``name`` with ``values``, as one page that needs nothing beside it."""
    script = resources.files("harness.report").joinpath("templates", SCRIPT).read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page: str = (
        _environment()
        .get_template(name)
        .render(
            {**values, "script": Markup(script), "script_digest": digest}  # noqa: S704 - our own file
        )
    )
    return page.rstrip() + "\n"


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("number", "whole", "count", "size", "share", "duration"):
        environment.filters[name] = getattr(figures, name)
    environment.filters["stated"] = lambda number: figures.measured(number.value, number.unit)
    return environment
