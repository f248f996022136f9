"""The strategies of ``compression_demo.py`` on the demo's six tasks, their differences paired by item.

    python bench/compression_tasks.py WORKSPACE                       docs/results/compression-tasks.md
    python bench/compression_tasks.py WORKSPACE --seeds 0 --report -  one seed, to the terminal

WORKSPACE is that of ``compression_demo.py``: its checkpoints are taken from there, what is missing is trained. Every
base and final checkpoint answers every item through OpenCompass, once. In the mean of the tasks each counts alike.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from compression_demo import BASELINE, Bench, Watcher

from harness.judge.evaluations import Asked, Scored
from harness.judge.opencompass import TaskModel
from harness.ranking.entrant import items_of
from harness.ranking.intervals import NORMAL_95, Interval, difference_interval
from harness.run.measuring import Measuring, setting_of
from harness.run.workspace import Workspace
from harness.submission.items import unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

BASE: Final = "base"
PLUGINS: Final = ("tinytron", "nics", "edge-llm", BASELINE)
"""Those in front are held against those behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """A checkpoint on all tasks."""

    strategy: str
    """The plugin's name, or ``base``."""
    model: str
    seed: int
    tasks: dict[str, Scored]

    @property
    def percentages(self) -> dict[str, float]:
        """Right answers by column, 0 to 100."""
        scores = [one.result.score for one in self.tasks.values()]
        return {score.column: 100 * score.score / score.scale for score in scores}

    @property
    def mean(self) -> float:
        """Of the tasks, each alike."""
        return statistics.fmean(self.percentages.values())


def main() -> None:
    """Score what is missing, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--plugins", default=",".join(PLUGINS))
    parser.add_argument("--models", default="llama")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--budget", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=len(psutil.Process().cpu_affinity()))
    parser.add_argument("--report", default="docs/results/compression-tasks.md", help="a file, or - for none")
    asked = parser.parse_args()
    models, plugins = asked.models.split(","), asked.plugins.split(",")
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    bench = Bench(Workspace(asked.workspace), asked.budget, asked.threads)
    text = report(answers(bench, models, plugins, seeds), plugins, asked.budget)
    print(text)
    if asked.report != "-":
        Path(asked.report).write_text(text)


def answers(bench: Bench, models: Sequence[str], plugins: Sequence[str], seeds: Sequence[int]) -> list[Answers]:
    """Every strategy on every model with every seed, and the bases; all that is missing in one call of the engine."""
    wanted: dict[tuple[str, str, int], TaskModel] = {}
    for model in models:
        for plugin in plugins:
            for seed in seeds:
                strategy, prepared = bench.carried_out(plugin, model, seed)
                chosen = {(plugin, model, seed): strategy.final, (BASE, model, seeds[0]): strategy.model.base}
                wanted |= {
                    key: TaskModel(label=f"{model} {key[0]}", checkpoint=checkpoint, kind=strategy.model.rule.kind)
                    for key, checkpoint in chosen.items()
                }
    setting = setting_of(prepared)
    judge = Measuring(prepared, Watcher()).evaluations
    found = judge.evaluate([Asked(model=each, base=each.label) for each in wanted.values()], setting)
    return [
        Answers(
            strategy=strategy,
            model=model,
            seed=seed,
            tasks={task: found[each.checkpoint.digest, task] for task in setting.tasks},
        )
        for (strategy, model, seed), each in wanted.items()
    ]


def difference(first: Sequence[Answers], second: Sequence[Answers]) -> Interval:
    """Of the means over the tasks, in points of 100: ``first`` minus ``second``, item by item, each over its seeds.

    The items' scatter makes the interval, tasks being independent; seeds are these seeds and no sample of more.
    """
    each = [_difference(first, second, task) for task in first[0].tasks]
    half = NORMAL_95 * math.sqrt(sum(one.standard_error**2 for one in each)) / len(each)
    middle = statistics.fmean((one.low + one.high) / 2 for one in each)
    return Interval(
        value=statistics.fmean(one.value for one in each),
        standard_error=half / NORMAL_95,
        low=middle - half,
        high=middle + half,
    ).times(100)


def _difference(first: Sequence[Answers], second: Sequence[Answers], task: str) -> Interval:
    sides = []
    for side in (first, second):
        files = [one.tasks[task].items for one in side]
        items = items_of([unpack(file.read_bytes()) for file in files if file is not None])
        if items is None or len(items.right) != len(side):
            raise SystemExit(f"{task}: the items of {side[0].strategy} were not kept, or are not the same")
        sides.append(items)
    return difference_interval(*sides)


def report(found: Sequence[Answers], plugins: Sequence[str], budget: float) -> str:
    """The tables, as Markdown."""
    columns = list(found[0].percentages)
    counts = {one.result.score.column: one.result.score.item_count for one in found[0].tasks.values()}
    return "\n".join(
        [
            "# Strategies on the demo's tasks",
            "",
            f"Made by `bench/compression_tasks.py`, {time.strftime('%Y-%m-%d')}, from the checkpoints of",
            f"[compression-demo.md](compression-demo.md). Budget: {budget:g} of the base. Right answers in per",
            "cent, through OpenCompass; in the mean each task counts alike.",
            "",
            f"| model | seed | strategy | {' | '.join(columns)} | mean |",
            f"|---|---|---|{'---|' * len(columns)}---|",
            "| | | items | " + " | ".join(str(counts[column]) for column in columns) + " | |",
            *(
                f"| {one.model} | {'' if one.strategy == BASE else one.seed} | {one.strategy} | "
                + " | ".join(f"{one.percentages[column]:.1f}" for column in columns)
                + f" | {one.mean:.1f} |"
                for one in sorted(found, key=lambda one: (one.model, one.strategy != BASE, one.seed))
            ),
            "",
            "The mean of the tasks, the first minus the second, in points: by seed, and over the seeds. Paired by",
            "item, 95 % intervals; over the seeds an item counts with its mean over them.",
            "",
            "| model | first | second | by seed | over the seeds |",
            "|---|---|---|---|---|",
            *_pairs(found, plugins),
            "",
        ]
    )


def _pairs(found: Sequence[Answers], plugins: Sequence[str]) -> list[str]:
    lines = []
    for model in dict.fromkeys(one.model for one in found):
        of = {
            name: [one for one in found if (one.model, one.strategy) == (model, name)]
            for name in dict.fromkeys(plugins)
        }
        for first, second in combinations(plugins, 2):
            seeds = [difference([a], [b]) for a, b in zip(of[first], of[second], strict=True)]
            by_seed = ", ".join(map(_shown, seeds))
            lines.append(f"| {model} | {first} | {second} | {by_seed} | {_shown(difference(of[first], of[second]))} |")
    return lines


def _shown(interval: Interval) -> str:
    return f"{interval.value:+.1f} ({interval.low:+.1f} to {interval.high:+.1f})"


if __name__ == "__main__":
    main()
