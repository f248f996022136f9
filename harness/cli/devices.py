"""``harness devices``: what a model could be measured on here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cli.console import JsonFlag, print_json, print_table

if TYPE_CHECKING:
    import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(devices)


def devices(as_json: JsonFlag = False) -> None:
    """List this machine, its GPUs and attached phones."""
    from harness.judge.devices import attached

    found = attached()
    if as_json:
        print_json([entry.model_dump(mode="json") for entry in found])
        return
    rows = [
        (
            entry.kind,
            entry.name or "none",
            "-" if entry.memory_bytes is None else f"{entry.memory_bytes / 1e9:.1f} GB",
            "yes" if entry.usable else "no",
            entry.detail,
        )
        for entry in found
    ]
    print_table(("kind", "name", "memory", "usable", ""), rows)
