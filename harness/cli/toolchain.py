"""``harness toolchain``: engines with environments of their own."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.console import JsonFlag, print_json, print_table

app = typer.Typer(help="Engines with environments of their own.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of a toolchain, e.g. opencompass.")]


@app.callback()
def toolchain() -> None:
    """Engines with environments of their own."""


@app.command("list")
def list_toolchains(as_json: JsonFlag = False) -> None:
    """List the toolchains and where they stand."""
    from harness.toolchains.provision import listing

    found = listing()
    if as_json:
        print_json(
            [
                {
                    "name": item.toolchain.name,
                    "purpose": item.toolchain.purpose,
                    "pins_digest": item.toolchain.pins_digest(),
                    "installed": item.environment is not None,
                    "folder": str(item.folder),
                }
                for item in found
            ]
        )
        return
    rows = [
        (
            item.toolchain.name,
            "installed" if item.environment else "not installed",
            f"{item.toolchain.disk_bytes / 1e9:.1f} GB",
            item.toolchain.purpose,
        )
        for item in found
    ]
    print_table(("toolchain", "state", "disk, about", "purpose"), rows)


@app.command()
def install(name: Name) -> None:
    """Make the environment of a toolchain; a whole one is kept."""
    from harness.cli.watching import Watcher
    from harness.toolchains import catalogue, provision

    with Watcher(quiet=False) as watcher:
        watcher.started(f"installing {name}")
        environment = provision.install(catalogue.toolchain(name), on_event=watcher.event)
    typer.echo(str(environment.folder))


@app.command()
def remove(name: Name) -> None:
    """Delete the environment of a toolchain."""
    from harness.toolchains import catalogue, provision

    stood = provision.remove(catalogue.toolchain(name))
    typer.echo(f"{name}: {'removed' if stood else 'was not installed'}")
