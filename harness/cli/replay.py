"""``harness replay``: a submission run again from its lock file, and where it first came out otherwise."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import choices
from harness.cli.console import JsonFlag, print_json, print_table

if TYPE_CHECKING:
    from harness.containment import Limits
    from harness.run.differing import Spot
    from harness.run.replay import Change, FirstDifference, Replay
    from harness.run.workspace import Workspace

DIFFERENT = 4
"""Exit code where a checkpoint came out otherwise."""
SHOWN_DIGITS = 12
EXAMPLES = (
    "Examples: harness replay submissions/demo/ENTRY  ·  harness replay lock.json --base llama=PATH  ·  "
    "harness replay submissions/demo/ENTRY --set lora.rank=4"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(replay)


def replay(  # noqa: PLR0913 - the options of the command line
    path: Annotated[Path, typer.Argument(help="A lock file, or a bundle.")],
    *,
    workspace: Annotated[
        Path | None, typer.Option(help="A new folder to run in; kept. By default one that goes when nothing differs.")
    ] = None,
    base: choices.Bases = None,
    data: choices.Data = None,
    edition: choices.EditionId = None,
    overrides: choices.Overrides = None,
    originals: Annotated[
        Path | None, typer.Option(help="Folder of finished steps with the original checkpoints; the workspace's own.")
    ] = None,
    time_limit: choices.TimeLimit = 0.0,
    memory_limit: choices.MemoryLimit = None,
    as_json: JsonFlag = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Run every step of an entry again; exit code 4, and step, tensor and byte, where it comes out otherwise."""
    from harness.cli.watching import Watcher
    from harness.run.replay import Asked, prepare_replay, read_lock, rerun
    from harness.run.workspace import Workspace

    here = choices.workspace_here()
    lock = read_lock(path)
    asked = Asked(
        limits=_limits(time_limit, memory_limit),
        bases=choices.pairs("--base", base),
        data=choices.pairs("--data", data),
        edition=edition,
        overrides=tuple(overrides or ()),
        originals=originals or here.root / "steps",
    )
    place = Workspace(workspace or _free(here))
    prepared = prepare_replay(lock, asked, place)
    if not as_json:
        _print_changes(prepared.changes)
    with Watcher(quiet=quiet or as_json) as watcher:
        found = rerun(prepared, watcher)
    _print(found, place, as_json=as_json)
    if not found.identical:
        raise typer.Exit(DIFFERENT)
    if workspace is None:
        shutil.rmtree(place.root)


def _limits(time_limit_s: float, memory_gb: float | None) -> Limits:
    import psutil

    from harness.containment import Limits

    whole = psutil.virtual_memory().total
    memory_bytes = int(memory_gb * 1e9) if memory_gb else int(whole * choices.MEMORY_SHARE)
    return Limits(time_s=time_limit_s or choices.DEFAULT_TIME_LIMIT_S, memory_bytes=memory_bytes)


def _free(here: Workspace) -> Path:
    """A folder of the workspace that is not there yet."""
    names = (here.root / "replays" / str(number) for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def _print_changes(changes: tuple[Change, ...]) -> None:
    if not changes:
        typer.echo("versions, code, machine and options are as they were")
        return
    typer.echo("not as it was:")
    print_table(("", "then", "now"), [(c.what, _short(c.then), _short(c.now)) for c in changes])


def _print(found: Replay, place: Workspace, *, as_json: bool) -> None:
    if as_json:
        print_json({**found.model_dump(mode="json"), "identical": found.identical})
        return
    typer.echo()
    rows = [(s.model, s.step, _short(s.then), _short(s.now), "same" if s.same else "differs") for s in found.steps]
    print_table(("model", "step", "then", "now", ""), rows)
    if found.first is None:
        typer.echo("\nidentical: every checkpoint is the same, byte for byte")
    else:
        typer.echo(f"\n{_sentence(found.first)}\nthe rerun   {place.root}")


def _short(text: str) -> str:
    is_digest = len(text) == 64 and set(text) <= set("0123456789abcdef")  # noqa: PLR2004 - SHA-256
    return text[:SHOWN_DIGITS] if is_digest else text


def _sentence(first: FirstDifference) -> str:
    where = f"first difference: {first.model}, step {first.step}"
    if first.spot is None:
        return f"{where}; the original checkpoint is not here, so its tensor is not known: --originals FOLDER"
    return f"{where}, {_place(first.spot)}"


def _place(spot: Spot) -> str:
    parts = [spot.file, spot.change]
    parts += [f"tensor {spot.tensor}" + ("" if spot.index is None else f"[{spot.index}]")] if spot.tensor else []
    parts += [] if spot.byte_offset is None else [f"byte {spot.byte_offset}"]
    parts += [] if spot.then is None else [f"{spot.then} then, {spot.now} now"]
    return ", ".join(parts)
