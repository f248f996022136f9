"""Latency by layer, measured on the edge runtime; the policy that is best within it; and both measured again.

    python bench/latency_table.py WORKSPACE                    what docs/results/edge-llm.md states

table     packages of the base with every layer at one shape, and one of two layers: what a layer costs is a difference
          of packages over their layers (``harness.methods.latency``). Shapes are KV groups, and channels or a rank of
          the MLP's three linears. Between measured values, in a straight line; what the axes save is added up
search    for each layer a shape, least sum of the layers' relative errors, within the measured latency and the bytes of
          the uniform model (``harness.methods.scheduling``, scipy's milp). A model that is over the limit when it is
          measured lowers the limit by as much, and the search goes again
check     the chosen model and the uniform one, measured anew in turns: latency against prediction, and bits per byte of
          both, paired by window, before any recovery

Latency is of one decoded token, one thread, in processor time, by the fastest of many rounds in turns.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from compression_demo import Bench
from latency_subject import KV, MLP, RANK, Subject, make_subject

from harness.checkpoint.checkpoint import Checkpoint
from harness.deployment.decode_timing import decode_seconds
from harness.deployment.executorch.runner import open_runner
from harness.judge.results import paired_difference
from harness.methods.latency import LatencyTable
from harness.methods.scheduling import Choice, choose
from harness.run.preparation import prepare
from harness.run.settings import SubmitSettings
from harness.run.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.judge.results import BitsPerByte
    from harness.methods.latency import Shape

PROMPT: Final = list(range(5, 37))
TOKENS: Final = 24


def main() -> None:
    """Make the table, search, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--model", default="llama", help="its embedded pico model")
    parser.add_argument("--kv-groups", default="1,2,3", help="timed beside the whole")
    parser.add_argument("--channels", default="64,128,192,256,320", help="timed beside the whole")
    parser.add_argument("--ranks", default="16,32,64", help="of the MLP's linears, timed")
    parser.add_argument("--uniform", default="2,192", help="KV groups and channels of the model to beat")
    parser.add_argument("--multiple", type=int, default=8, help="of channels and ranks that the search may choose")
    parser.add_argument("--attempts", type=int, default=4, help="searches, each within what the last one overran")
    parser.add_argument("--rounds", type=int, default=400)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    subject = make_subject(asked.model, asked.workspace)
    groups, width = parsed(asked.uniform)
    even: list[Shape] = [{KV: groups, MLP: width}] * subject.layers
    table, limit_s = timed_table(subject, even, asked)
    table.write(asked.workspace / "table.json")
    shapes = settled(subject, table, even, limit_s, asked)
    print(report(subject, table, shapes, even, asked))


def parsed(text: str) -> list[int]:
    """Numbers with commas between them."""
    return [int(each) for each in text.split(",") if each]


def timed_table(subject: Subject, even: Sequence[Shape], asked: argparse.Namespace) -> tuple[LatencyTable, float]:
    """Every package of the grid, timed in turns with the uniform one, whose seconds come second."""
    layers, whole = subject.layers, subject.whole
    values = {KV: parsed(asked.kv_groups), MLP: parsed(asked.channels), RANK: parsed(asked.ranks)}
    grid = {f"{axis}-{value}": (axis, value) for axis, each in values.items() for value in each}
    packages = {name: subject.packaged(name, [{**whole, axis: value}] * layers) for name, (axis, value) in grid.items()}
    packages |= {"whole": subject.packaged("whole", [whole] * layers)}
    packages |= {"two layers": subject.packaged("two-layers", [whole] * 2)}
    packages |= {"uniform": subject.packaged(folder_name(even), even)}
    seconds = timed(packages, asked.rounds)
    by_axis: dict[str, dict[int, float]] = {axis: {} for axis in values}
    for name, (axis, value) in grid.items():
        by_axis[axis][value] = seconds[name]
    print("\n| every layer | us a token |\n|---|---|")
    print("".join(f"| {name} | {1e6 * value:.1f} |\n" for name, value in seconds.items()), flush=True)
    table = LatencyTable.of(
        "executorch, float32, one thread",
        whole_s=seconds["whole"],
        shortened=(seconds["two layers"], 2),
        layer_count=layers,
        by_axis=by_axis,
        whole_shape=whole,
    )
    return table, seconds["uniform"]


def folder_name(shapes: Sequence[Shape]) -> str:
    """Of a model's checkpoint and package."""
    return "_".join(f"{shape[KV]}" + (f"r{shape[RANK]}" if RANK in shape else f"x{shape[MLP]}") for shape in shapes)


def timed(packages: Mapping[str, Path], rounds: int) -> dict[str, float]:
    """Processor seconds of a decoded token of each."""
    runners = {name: open_runner(path, 1) for name, path in packages.items()}
    return decode_seconds(runners, prompt=PROMPT, token_count=TOKENS, rounds=rounds)


def settled(
    subject: Subject, table: LatencyTable, even: Sequence[Shape], limit_s: float, asked: argparse.Namespace
) -> list[Shape]:
    """The searched model that is within the uniform one's latency when both are timed; else the last one tried."""
    uniform = subject.packaged(folder_name(even), even)
    allowed_s, shapes = limit_s, list(even)
    for attempt in range(1, asked.attempts + 1):
        shapes = searched(subject, table, even, allowed_s, asked)
        seconds = timed({"uniform": uniform, "searched": subject.packaged(folder_name(shapes), shapes)}, asked.rounds)
        share = seconds["searched"] / seconds["uniform"]
        print(f"# attempt {attempt}: {folder_name(shapes)}, allowed {1e6 * allowed_s:.1f} us, {share:.3f} of uniform")
        if share <= 1:
            break
        allowed_s /= share
    return shapes


def searched(
    subject: Subject, table: LatencyTable, even: Sequence[Shape], limit_s: float, asked: argparse.Namespace
) -> list[Shape]:
    """The shape of each layer with the least sum of errors within ``limit_s`` and the bytes of ``even``."""
    shapes = possible(subject, table, asked.multiple)
    # Counts of a model with all its layers alike, a layer's share each: what is no layer is in every sum once.
    sizes = [subject.weight_count([shape] * subject.layers) / subject.layers for shape in shapes]
    costs = [{"seconds": table.layer(shape), "parameters": size} for shape, size in zip(shapes, sizes, strict=True)]
    rows = [
        [Choice(error=subject.error(layer, shape), costs=cost) for shape, cost in zip(shapes, costs, strict=True)]
        for layer in range(subject.layers)
    ]
    limits = {"seconds": limit_s - table.fixed_s, "parameters": float(subject.weight_count(even))}
    return [shapes[number] for number in choose(rows, limits)]


def possible(subject: Subject, table: LatencyTable, multiple: int) -> list[Shape]:
    """Every shape of a layer that the search may choose."""

    def values(axis: str) -> range:
        found = table.saved_s[axis]
        return range(-(-min(found) // multiple) * multiple, max(found) + 1, multiple)

    mlps = [{MLP: width} for width in values(MLP)]
    mlps += [{RANK: rank} for rank in values(RANK)] if table.saved_s[RANK] else []
    return [{KV: count, **mlp} for count in range(1, subject.whole[KV] + 1) for mlp in mlps]


def report(
    subject: Subject, table: LatencyTable, shapes: Sequence[Shape], even: Sequence[Shape], asked: argparse.Namespace
) -> str:
    """Both models timed anew, as Markdown."""
    models: dict[str, Sequence[Shape]] = {"uniform": even, "searched": shapes}
    packages = {name: subject.packaged(folder_name(each), each) for name, each in models.items()}
    packages["whole"] = subject.folder / "packages" / "whole"
    seconds = timed(packages, asked.rounds)
    bits = bits_per_byte(subject, [subject.checkpoint(folder_name(each), each) for each in models.values()], asked)
    lines = [
        "| model | KV groups | MLP | parameters | predicted, us | measured, us | error | bits per byte |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, each), figure in zip(models.items(), bits, strict=True):
        guess, real = 1e6 * table.model(each), 1e6 * seconds[name]
        groups = " ".join(str(shape[KV]) for shape in each)
        mlps = " ".join(f"rank {shape[RANK]}" if RANK in shape else str(shape[MLP]) for shape in each)
        lines.append(
            f"| {name} | {groups} | {mlps} | {subject.weight_count(each):,} | {guess:.1f} | {real:.1f} | "
            f"{guess / real - 1:+.1%} | {figure.bits_per_byte:.4f} |"
        )
    found = paired_difference(bits[1], bits[0])
    lines += [
        "",
        f"Searched minus uniform: {found.mean:+.4f} bits per byte ({found.low:+.4f} to {found.high:+.4f}).",
        f"Latency: {seconds['searched'] / seconds['uniform']:.3f} of uniform; base {1e6 * seconds['whole']:.1f} us.",
    ]
    return "\n".join(lines)


def bits_per_byte(subject: Subject, checkpoints: Sequence[Path], asked: argparse.Namespace) -> list[BitsPerByte]:
    """Of each, by the judge."""
    settings = SubmitSettings(
        plugin="edge-llm", models=(asked.model,), control=False, time_limit_s=3600, memory_limit_bytes=8 << 30
    )
    workspace = Workspace(subject.folder)
    return Bench(workspace, 0.5, 1).bits_per_byte(
        prepare(settings, workspace), [Checkpoint.of(path) for path in checkpoints]
    )


if __name__ == "__main__":
    main()
