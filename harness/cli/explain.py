"""``harness explain``: what a rule means, why it is there, how to fix what breaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import JsonFlag, print_json

if TYPE_CHECKING:
    from pydantic import JsonValue


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(explain)


def explain(
    rule: Annotated[str | None, typer.Argument(help="Id of a rule or name of a family, e.g. precision.dtype.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Explain a rule, or list a family; without a name, list all rules."""
    from harness.validation.catalogue import rules
    from harness.validation.explain import find_rules, listing, page

    found = tuple(rules().values()) if rule is None else find_rules(rule)
    one = found[0] if rule is not None and found[0].id == rule else None
    if as_json:
        documents: list[JsonValue] = [known.model_dump(mode="json") for known in found]
        print_json(documents[0] if one else documents)
    else:
        typer.echo(page(one) if one else listing(found))
