"""Exits voting beside each exit alone: bits per byte of checkpoints that the judge loads as it loads any other.

    python bench/voting.py WORKSPACE windows=FOLDER all=FOLDER        checkpoints of steps, under names of one's own
    python bench/voting.py WORKSPACE windows=FOLDER --stride 1

For checkpoints that ``layerwise-tuning`` wrote, exits where its windows end. An exit alone is the model without the
layers above it; a vote is the same weights with exits in the structure. Differences are paired by held-out window.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from compression_demo import Bench

from harness.checkpoint.checkpoint import Checkpoint
from harness.judge.results import paired_difference
from harness.methods.layer_tuning import segments
from harness.methods.rewriting import Rewriting, rewrite
from harness.run.preparation import prepare
from harness.run.settings import SubmitSettings
from harness.run.workspace import Workspace
from harness.surgery import anatomy as anatomies
from harness.surgery.apply import apply
from harness.surgery.plan import plan_of
from harness.surgery.shape import config_with_exits

if TYPE_CHECKING:
    from harness.checkpoint.structure import Vote

PLUGIN: Final = "edge-llm"
VOTES: Final[tuple[Vote, ...]] = ("max", "mean")
LAST: Final = "last exit"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("checkpoints", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--model", default="llama", help="the base that they came from")
    parser.add_argument("--stride", type=int, default=2)
    parser.add_argument("--threads", type=int, default=len(psutil.Process().cpu_affinity()))
    asked = parser.parse_args()
    settings = SubmitSettings(
        plugin=PLUGIN,
        models=(asked.model,),
        control=False,
        threads=asked.threads,
        time_limit_s=3600,
        memory_limit_bytes=int(0.8 * psutil.virtual_memory().total),
    )
    workspace = Workspace(asked.workspace)
    bench, prepared = Bench(workspace, settings.budget, asked.threads), prepare(settings, workspace)
    print("| checkpoint | what predicts | bits per byte | minus the last exit |")
    print("|---|---|---|---|")
    for name, _, folder in (each.partition("=") for each in asked.checkpoints):
        made = variants(Checkpoint.of(Path(folder)), asked.stride, asked.workspace / "voting")
        figures = dict(zip(made, bench.bits_per_byte(prepared, list(made.values())), strict=True))
        for variant, figure in figures.items():
            found = paired_difference(figure, figures[LAST])
            shown = "" if variant == LAST else f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
            print(f"| {name} | {variant} | {figure.bits_per_byte:.4f} | {shown} |", flush=True)


def variants(checkpoint: Checkpoint, stride: int, folder: Path) -> dict[str, Checkpoint]:
    """The checkpoint itself, each lower exit alone, and every vote."""
    anatomy = anatomies.load(checkpoint.config())
    exits = [part.exit for part in segments(anatomy.layer_count, stride, anatomy.layer_count)]
    found = {LAST: checkpoint}
    for layer in exits[:-1]:
        output = folder / f"{checkpoint.digest[:16]}-exit-{layer}-of-{stride}"
        if not output.exists():
            apply(checkpoint.path, plan_of(anatomy, {"layer": [list(range(layer + 1))]}), output)
        found[f"exit after layer {layer}"] = Checkpoint.of(output)
    for vote in VOTES:
        output = folder / f"{checkpoint.digest[:16]}-{vote}-{stride}"
        if not output.exists():
            rewrite(checkpoint.path, output, Rewriting(config=config_with_exits(checkpoint.config(), exits, vote)))
        found[f"vote, {vote}"] = Checkpoint.of(output)
    return found


if __name__ == "__main__":
    main()
