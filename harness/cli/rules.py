"""``harness rules``: the editions, as data."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.console import JsonFlag, print_json, print_table

app = typer.Typer(help="Editions of the rules.", no_args_is_help=True)


@app.callback()
def rules() -> None:
    """Editions of the rules."""


@app.command()
def show(
    edition: Annotated[str | None, typer.Argument(help="Id of an edition, or a .toml file; all ids if absent.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show an edition: tracks, models, data, tasks, limits."""
    from harness.rules.edition import edition_ids, load_edition

    if edition is None:
        found = [load_edition(name) for name in edition_ids()]
        if as_json:
            print_json([{"id": item.id, "version": item.version, "title": item.title} for item in found])
            return
        print_table(("edition", "version", "title"), [(item.id, item.version, item.title) for item in found])
        return
    rules_of = load_edition(edition)
    if as_json:
        print_json(rules_of.model_dump(mode="json"))
        return
    typer.echo(f"{rules_of.id} {rules_of.version}   {rules_of.title}")
    if rules_of.notice:
        typer.echo(rules_of.notice)
    limit = rules_of.measurement.memory_limit_bytes
    typer.echo(f"\ndtypes {', '.join(rules_of.dtypes)}   peak memory below {limit / 1e9:.2f} GB ({limit} bytes)\n")
    tracks = [(name, ", ".join(track.models)) for name, track in rules_of.tracks.items()]
    print_table(("track", "models"), tracks)
    typer.echo()
    models = [(name, rule.hub_id or rule.embedded or "-", rule.kind) for name, rule in rules_of.models.items()]
    print_table(("model", "base", "prompts"), models)
    typer.echo()
    print_table(("data", "hub id", "revision"), [(name, r.hub_id, r.revision) for name, r in rules_of.data.items()])
    typer.echo()
    tasks = [(name, r.column, r.metric, f"0-{r.scale}", r.configuration) for name, r in rules_of.tasks.items()]
    print_table(("task", "column", "metric", "scale", "configuration"), tasks)
