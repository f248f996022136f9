"""``harness show``: an entry on one screen, or what its model said to the questions of a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console import JsonFlag, print_json

EXAMPLES = (
    "Examples: harness show submissions/demo/ENTRY  ·  harness show submissions/demo/ENTRY --task gsm8k --wrong  ·  "
    "harness show submissions/demo/ENTRY --task bbh --role base --limit 5"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(show)


def show(  # noqa: PLR0913 - the options of the command line
    path: Annotated[Path, typer.Argument(help="A bundle.")],
    *,
    task: Annotated[str | None, typer.Option(help="Show the items of this task.")] = None,
    only_wrong: Annotated[bool, typer.Option("--wrong", help="Only items that were answered wrong.")] = False,
    only_right: Annotated[bool, typer.Option("--right", help="Only items that were answered right.")] = False,
    model: Annotated[str | None, typer.Option(help="Base model; the entry's first if absent.")] = None,
    role: Annotated[str, typer.Option(help="base, compressed, final or control.")] = "final",
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many items.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Read an entry in the terminal: its story in numbers, or what a model answered, item by item."""
    from harness.cli.reading import Wanted, items_of, print_items, print_overview, read_submission
    from harness.errors import UsageError

    submission = read_submission(path)
    if task is None:
        if only_wrong or only_right:
            raise UsageError("--wrong and --right choose among the items of a task; add --task NAME")
        if as_json:
            print_json(submission.model_dump(mode="json"))
        else:
            print_overview(submission)
        return
    if only_wrong and only_right:
        raise UsageError("--wrong and --right leave nothing to show; give one of them, or neither")
    correct = False if only_wrong else True if only_right else None
    wanted = Wanted(task=task, model=model or submission.models[0].name, role=role, correct=correct)
    found = items_of(path, submission, wanted)
    if as_json:
        print_json(found.document(limit))
    else:
        print_items(found, limit)
