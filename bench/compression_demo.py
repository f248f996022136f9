"""Strategies side by side on the demo's models: bits per byte at one budget and one number of recovery tokens.

    python bench/compression_demo.py WORKSPACE                          what docs/results/compression-demo.md states
    python bench/compression_demo.py WORKSPACE --plugins nics,tinytron --models llama --seeds 0 --report -

Each plugin runs its own demo recipe through the pipeline's own steps, without tasks; the judge measures bits per byte
in a fresh process. Differences are paired by held-out window. Beside the strategies: the base, the base after the
baseline's recovery (the dense control), and factorised models before any recovery, by three ways of scaling at the same
ranks' budget. What stands in WORKSPACE is not done again, so a plugin that joins later costs its own runs only.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from harness.judge.measure import Surroundings, measure_bits_per_byte
from harness.judge.results import BitsPerByte, paired_difference
from harness.run.measuring import held_out_texts
from harness.run.preparation import prepare
from harness.run.settings import SubmitSettings
from harness.run.strategy import Strategy, carry_out
from harness.run.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.checkpoint.checkpoint import Checkpoint
    from harness.run.preparation import Prepared

BASELINE: Final = "baseline-l1"
SCALINGS: Final = ("plain", "asvd", "whitened", "whitened, outputs weighed")
FACTORISED: Final = """
[[step]]
stage = "compress"
method = "fuse"

[[step]]
stage = "compress"
method = "decompose"
window_count = 64
window_tokens = 160
search_windows = 32
mixture = {{ c4 = 0.4, alpaca = 0.6 }}
allocation = "{allocation}"
scaling = "{scaling}"
{output}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One strategy on one model with one seed."""

    plugin: str
    model: str
    seed: int
    parameter_count: int
    base_parameter_count: int
    recovery_tokens: int
    duration_s: float
    """Of the strategy's steps, the control's not among them."""
    base: BitsPerByte
    compressed: BitsPerByte | None
    """Right after the last compress step, where training follows it."""
    final: BitsPerByte
    control: BitsPerByte | None


def main() -> None:
    """Run what is missing, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--plugins", default=f"{BASELINE},nics,tinytron")
    parser.add_argument("--models", default="llama,qwen2,phi")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--budget", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=len(psutil.Process().cpu_affinity()))
    parser.add_argument("--report", default="docs/results/compression-demo.md", help="a file, or - for none")
    asked = parser.parse_args()
    bench = Bench(Workspace(asked.workspace), asked.budget, asked.threads)
    plugins, models = asked.plugins.split(","), asked.models.split(",")
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    rows = [bench.row(plugin, model, seed) for model in models for seed in seeds for plugin in plugins]
    factorised = [bench.factorised(model, scaling) for model in models for scaling in SCALINGS]
    path = Path(asked.report)
    text = report(rows, factorised, asked.budget, plot=path.with_suffix(".svg").name)
    print(text)
    if asked.report != "-":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        plot(rows, path.with_suffix(".svg"))


class Watcher:
    """An observer that prints what is finished."""

    def section(self, title: str, detail: str = "") -> None:
        """Say which model it is."""
        print(f"# {title} {detail}", flush=True)

    def started(self, label: str) -> None:
        """Nothing until it ends."""

    def event(self, event: object) -> None:
        """Nothing of what happens within."""

    def finished(self, label: str, result: str, duration_s: float, *, reused: bool) -> None:
        """One line."""
        print(f"#   {label:24} {result:52} {duration_s:6.1f} s{' (reused)' if reused else ''}", flush=True)


@dataclass(frozen=True, slots=True)
class Bench:
    """One workspace, one budget."""

    workspace: Workspace
    budget: float
    threads: int

    def row(self, plugin: str, model: str, seed: int) -> Row:
        """Carry out the plugin's demo recipe and measure what it came to."""
        strategy, prepared = self.carried_out(plugin, model, seed, control=plugin == BASELINE)
        trained = [step for step in strategy.steps if step.step.stage == "train"]
        wanted = {"base": strategy.model.base, "final": strategy.final}
        wanted |= {"compressed": strategy.compressed} if strategy.compressed else {}
        wanted |= {"control": strategy.control} if strategy.control else {}
        found = dict(zip(wanted, self.bits_per_byte(prepared, list(wanted.values())), strict=True))
        return Row(
            plugin=plugin,
            model=model,
            seed=seed,
            parameter_count=strategy.steps[-1].parameter_count,
            base_parameter_count=strategy.model.base_parameter_count,
            recovery_tokens=sum(_tokens(step.notes) for step in trained),
            duration_s=sum(step.done.record.duration_s for step in strategy.steps),
            base=found["base"],
            final=found["final"],
            compressed=found.get("compressed"),
            control=found.get("control"),
        )

    def factorised(self, model: str, scaling: str) -> tuple[str, str, int, BitsPerByte]:
        """Model, scaling, parameters and bits per byte of a model whose linears are factorised, without recovery.

        Uniform ranks, so that all have the same.
        """
        output = "" if "weighed" in scaling else "weigh_outputs = false"
        recipe = self.workspace.root / "recipes" / f"{scaling.replace(', ', '-').replace(' ', '-')}.toml"
        recipe.parent.mkdir(parents=True, exist_ok=True)
        text = FACTORISED.format(allocation="uniform", scaling=scaling.partition(",")[0], output=output)
        recipe.write_text(text)
        strategy, prepared = self.carried_out("nics", model, 0, recipe=recipe)
        (figure,) = self.bits_per_byte(prepared, [strategy.final])
        return model, scaling, strategy.steps[-1].parameter_count, figure

    def carried_out(  # noqa: PLR0913 - what was asked, all but the first three by name
        self,
        plugin: str,
        model: str,
        seed: int,
        *,
        control: bool = False,
        recipe: Path | None = None,
        overrides: tuple[str, ...] = (),
    ) -> tuple[Strategy, Prepared]:
        """Every step of the recipe, or of the plugin's own; done already or done now."""
        settings = SubmitSettings(
            plugin=plugin,
            models=(model,),
            recipe=None if recipe is None else str(recipe),
            overrides=overrides,
            budget=self.budget,
            seed=seed,
            control=control,
            threads=self.threads,
            time_limit_s=3600,
            memory_limit_bytes=int(0.8 * psutil.virtual_memory().total),
        )
        prepared = prepare(settings, self.workspace)
        print(f"# {plugin}, {model}, seed {seed}", flush=True)
        return carry_out(prepared, prepared.models[0], Watcher()), prepared

    def bits_per_byte(self, prepared: Prepared, checkpoints: Sequence[Checkpoint]) -> list[BitsPerByte]:
        """Of each, measured once and kept by digest."""
        texts = held_out_texts(prepared)
        folder = self.workspace.root / "bits-per-byte" / f"{texts.stem[:16]}-{prepared.judge_digest[:16]}"
        files = {each.digest: folder / f"{each.digest}.json" for each in checkpoints}
        missing = {each.digest: each for each in checkpoints if not files[each.digest].is_file()}
        if missing:
            figures = measure_bits_per_byte(
                [each.path for each in missing.values()],
                texts,
                window_tokens=prepared.edition.held_out.window_tokens,
                surroundings=Surroundings(
                    work_dir=self.workspace.root / "measuring",
                    limits=prepared.settings.limits,
                    on_event=lambda _: None,
                    threads=self.threads,
                ),
            )
            for digest, figure in zip(missing, figures, strict=True):
                figure.write(files[digest])
        return [BitsPerByte.read(files[each.digest]) for each in checkpoints]


def _tokens(notes: Mapping[str, object]) -> int:
    found = notes.get("token_count")
    return found if isinstance(found, int) else 0


def report(
    rows: Sequence[Row], factorised: Iterable[tuple[str, str, int, BitsPerByte]], budget: float, *, plot: str
) -> str:
    """The tables, as Markdown."""
    lines = [
        "# Strategies on the demo's models",
        "",
        f"Made by `bench/compression_demo.py`, {time.strftime('%Y-%m-%d')}. Budget: {budget:g} of the base.",
        "Bits per byte on the demo edition's held-out text, lower is better; differences are paired by window, with",
        "95 % intervals.",
        "",
        "## Each run",
        "",
        "| model | seed | strategy | parameters | recovery tokens | compressed | final | minus baseline-l1 | s |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_line(row, _baseline(rows, row)) for row in rows),
        "",
        "## Over seeds",
        "",
        "| model | base | dense control | strategy | mean final | minus baseline-l1 | runs whose interval is below 0 |",
        "|---|---|---|---|---|---|---|",
        *_summary(rows),
        "",
        "## Strategies against each other",
        "",
        "The first minus the second, each seed by itself.",
        "",
        "| model | first | second | by seed |",
        "|---|---|---|---|",
        *_against(rows),
        "",
        "## Factorised, before any recovery",
        "",
        "Linears fused, the same share of its weights for each, seed 0.",
        "",
        "| model | scaling | parameters | bits per byte |",
        "|---|---|---|---|",
        *(
            f"| {model} | {scaling} | {count:,} | {found.bits_per_byte:.4f} |"
            for model, scaling, count, found in factorised
        ),
        "",
        "The same checkpoints on the demo's tasks: [compression-tasks.md](compression-tasks.md).",
        "",
        f"![Final bits per byte of every run]({plot})",
        "",
    ]
    return "\n".join(lines)


def _baseline(rows: Sequence[Row], row: Row) -> Row | None:
    same = (each for each in rows if (each.plugin, each.model, each.seed) == (BASELINE, row.model, row.seed))
    return None if row.plugin == BASELINE else next(same, None)


def _line(row: Row, baseline: Row | None) -> str:
    share = f"{row.parameter_count:,} ({row.parameter_count / row.base_parameter_count:.3f})"
    compressed = "" if row.compressed is None else f"{row.compressed.bits_per_byte:.4f}"
    difference = "" if baseline is None else _shown(row, baseline)
    return (
        f"| {row.model} | {row.seed} | {row.plugin} | {share} | {row.recovery_tokens:,} | "
        f"{compressed} | {row.final.bits_per_byte:.4f} | {difference} | {row.duration_s:.0f} |"
    )


def _shown(row: Row, baseline: Row) -> str:
    found = paired_difference(row.final, baseline.final)
    return f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def _summary(rows: Sequence[Row]) -> list[str]:
    lines = []
    for model, plugin in dict.fromkeys((row.model, row.plugin) for row in rows):
        runs = [row for row in rows if (row.model, row.plugin) == (model, plugin)]
        controls = [row.control.bits_per_byte for row in rows if row.model == model and row.control is not None]
        pairs = [(row, _baseline(rows, row)) for row in runs]
        found = [paired_difference(row.final, other.final) for row, other in pairs if other is not None]
        mean = f"{statistics.fmean(each.mean for each in found):+.4f}" if found else ""
        below = f"{sum(each.high < 0 for each in found)} of {len(found)}" if found else ""
        control = f"{statistics.fmean(controls):.4f}" if controls else ""
        final = statistics.fmean(row.final.bits_per_byte for row in runs)
        base = runs[0].base.bits_per_byte
        lines.append(f"| {model} | {base:.4f} | {control} | {plugin} | {final:.4f} | {mean} | {below} |")
    return lines


def _against(rows: Sequence[Row]) -> list[str]:
    """Every pair of strategies beside the baseline, the one with fewer bits first."""
    lines = []
    for model in dict.fromkeys(row.model for row in rows):
        by_plugin = {
            plugin: {row.seed: row for row in rows if (row.model, row.plugin) == (model, plugin)}
            for plugin in dict.fromkeys(row.plugin for row in rows if row.plugin != BASELINE)
        }
        ordered = sorted(by_plugin, key=lambda plugin: _mean_final(by_plugin[plugin].values()))
        for first, second in combinations(ordered, 2):
            seeds = sorted(by_plugin[first].keys() & by_plugin[second].keys())
            shown = [_shown(by_plugin[first][seed], by_plugin[second][seed]) for seed in seeds]
            lines.append(f"| {model} | {first} | {second} | {', '.join(shown)} |")
    return lines


def _mean_final(rows: Iterable[Row]) -> float:
    return statistics.fmean(row.final.bits_per_byte for row in rows)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Final bits per byte of every run, by model, with base and control; skipped where matplotlib is not there."""
    try:
        import matplotlib.pyplot as plt  # for who makes the page only
    except ModuleNotFoundError:
        print(f"# no plot: matplotlib is not installed, {path.name} is not written")
        return
    models, plugins = (list(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("model", "plugin"))
    figure, axes = plt.subplots(1, len(models), figsize=(3.2 * len(models), 3.4), squeeze=False, layout="constrained")
    for place, (axis, model) in enumerate(zip(axes[0], models, strict=True)):
        runs = [row for row in rows if row.model == model]
        axis.axhline(runs[0].base.bits_per_byte, color="0.6", linestyle=":", label="base")
        controls = [row.control.bits_per_byte for row in runs if row.control is not None]
        if controls:
            axis.axhline(statistics.fmean(controls), color="0.3", linestyle="--", label="dense control")
        for number, plugin in enumerate(plugins):
            chosen = [row for row in runs if row.plugin == plugin]
            axis.plot([number] * len(chosen), [row.final.bits_per_byte for row in chosen], "o")
        axis.set_xticks(range(len(plugins)), plugins, rotation=20)
        axis.set_xlim(-0.5, len(plugins) - 0.5)
        axis.set_title(model)
        if place == 0:
            axis.set_ylabel("bits per byte, lower is better")
            axis.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
