"""Edge-LLM's layer policy beside the same widths in every layer: bits per byte at one parameter count.

    python bench/layer_policy.py WORKSPACE                        what docs/results/edge-llm.md states
    python bench/layer_policy.py WORKSPACE --steps 60             a shorter recovery
    python bench/layer_policy.py WORKSPACE --strengths 1,0.5      the policy at other strengths too

Units are scored alike; the plugin's demo recipe is carried out with ``allocation = "uniform"`` at the budget, then with
``allocation = "policy"`` at what uniform came to, so the policy never has a parameter more. Recovery reads the same
windows of text in the same order. Differences are paired by held-out window.
"""

from __future__ import annotations

import argparse
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
from compression_demo import Bench

from harness.judge.results import BitsPerByte, paired_difference
from harness.run.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.run.strategy import Strategy

PLUGIN: Final = "edge-llm"
UNIFORM: Final = "uniform"
AXES: Final = ("kv_group", "intermediate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One allocation on one model with one seed."""

    allocation: str
    model: str
    seed: int
    parameter_count: int
    recovery_tokens: int
    widths: dict[str, list[int]]
    """Axis to what stays in each layer."""
    compressed: BitsPerByte
    final: BitsPerByte


def main() -> None:
    """Run what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--models", default="llama")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--strengths", default="1")
    parser.add_argument("--budget", type=float, default=0.5)
    parser.add_argument("--steps", type=int, help="optimizer steps of recovery, over both train steps of the recipe")
    parser.add_argument("--threads", type=int, default=len(psutil.Process().cpu_affinity()))
    asked = parser.parse_args()
    rows = []
    for model in asked.models.split(","):
        for seed in map(int, asked.seeds.split(",")):
            rows += compared(asked, model, seed)
            print(table(rows), flush=True)
    print(summary(rows))
    print(f"\nload while the last one ended: {os.getloadavg()[0]:.1f}")


def compared(asked: argparse.Namespace, model: str, seed: int) -> list[Row]:
    """Uniform, then the policy at every strength, at no more parameters."""
    workspace = Workspace(asked.workspace)
    uniform = run(Bench(workspace, asked.budget, asked.threads), model, seed, overrides(asked, UNIFORM, 0.0), UNIFORM)
    rows = [uniform[0]]
    for strength in map(float, asked.strengths.split(",")):
        # Half a parameter more, since a share of the base is a rounded one.
        bench = Bench(workspace, (uniform[0].parameter_count + 0.5) / uniform[1], asked.threads)
        rows += [run(bench, model, seed, overrides(asked, "policy", strength), f"policy, strength {strength:g}")[0]]
    return rows


def overrides(asked: argparse.Namespace, allocation: str, strength: float) -> tuple[str, ...]:
    """Of the plugin's demo recipe."""
    chosen = (f"layerwise.allocation={allocation}",)
    chosen += () if allocation == UNIFORM else (f"layerwise.strength={strength}",)
    half = None if asked.steps is None else asked.steps // 2
    return chosen if half is None else (*chosen, *(f"steps.{number}.optimizer_steps={half}" for number in (2, 3)))


def run(bench: Bench, model: str, seed: int, chosen: tuple[str, ...], name: str) -> tuple[Row, int]:
    """The finished row, and the base's parameters."""
    strategy, prepared = bench.carried_out(PLUGIN, model, seed, overrides=chosen)
    assert strategy.compressed is not None  # noqa: S101 - the recipe trains after it compressed
    compressed, final = bench.bits_per_byte(prepared, [strategy.compressed, strategy.final])
    notes: Any = strategy.steps[0].notes
    row = Row(
        allocation=name,
        model=model,
        seed=seed,
        parameter_count=strategy.steps[-1].parameter_count,
        recovery_tokens=recovery_tokens(strategy),
        widths={axis: notes[axis] for axis in AXES},
        compressed=compressed,
        final=final,
    )
    return row, strategy.model.base_parameter_count


def recovery_tokens(strategy: Strategy) -> int:
    """Of all train steps, from what the recipe asked for."""
    fields: list[Any] = [outcome.step.fields for outcome in strategy.steps if outcome.step.stage == "train"]
    return sum(each["optimizer_steps"] * each["batch_windows"] * each["window_tokens"] for each in fields)


def table(rows: Sequence[Row]) -> str:
    """Every run, as Markdown."""
    lines = [
        "| model | seed | allocation | parameters | KV groups | channels | recovery tokens | compressed | final |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        kv, channels = (" ".join(map(str, row.widths[axis])) for axis in AXES)
        lines.append(
            f"| {row.model} | {row.seed} | {row.allocation} | {row.parameter_count:,} | {kv} | {channels} | "
            f"{row.recovery_tokens:,} | {row.compressed.bits_per_byte:.4f} | {row.final.bits_per_byte:.4f} |"
        )
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """Policy minus uniform of the same model and seed, with 95 % intervals, as Markdown."""
    lines = [
        "| model | allocation | seed | compressed, minus uniform | final, minus uniform |",
        "|---|---|---|---|---|",
    ]
    uniform = {(row.model, row.seed): row for row in rows if row.allocation == UNIFORM}
    means: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.allocation == UNIFORM:
            continue
        other = uniform[row.model, row.seed]
        pairs = ((row.compressed, other.compressed), (row.final, other.final))
        before, after = (paired_difference(*pair) for pair in pairs)
        means.setdefault((row.model, row.allocation), []).append(after.mean)
        shown = [f"{each.mean:+.4f} ({each.low:+.4f} to {each.high:+.4f})" for each in (before, after)]
        lines.append(f"| {row.model} | {row.allocation} | {row.seed} | {shown[0]} | {shown[1]} |")
    lines += [
        f"| {model} | {name} | mean | | {statistics.fmean(found):+.4f} |" for (model, name), found in means.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
