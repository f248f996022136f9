"""``harness plugins``: what is installed, read from metadata; no plugin is imported."""

from __future__ import annotations

import typer

from harness.cli.console import JsonFlag, print_json, print_table

app = typer.Typer(help="Strategy plugins.", no_args_is_help=True)


@app.callback()
def plugins() -> None:
    """Strategy plugins."""


@app.command("list")
def list_plugins(as_json: JsonFlag = False) -> None:
    """List the installed plugins without importing them."""
    from harness.contracts import INTERFACE_VERSION
    from harness.run.discovery import installed_plugins

    found = installed_plugins()
    if as_json:
        print_json(
            [
                {
                    "name": plugin.name,
                    "distribution": plugin.distribution,
                    "version": plugin.version,
                    "module": plugin.module,
                    "interface": plugin.interface,
                    "compatible": plugin.compatible,
                }
                for plugin in found
            ]
        )
        return
    states = {True: "ok", False: f"written for another interface; this harness has v{INTERFACE_VERSION}"}
    rows = [
        (plugin.name, plugin.version, plugin.distribution, plugin.interface or "-", states[plugin.compatible])
        for plugin in found
    ]
    print_table(("plugin", "version", "distribution", "interface", "state"), rows)
    if not found:
        typer.echo("none installed; this repository's stand in plugins/, e.g. pip install ./plugins/baseline-l1")
