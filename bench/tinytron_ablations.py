"""Tinytron's choices one by one, on the demo's models: the same tokens, differences paired by held-out window.

    python bench/tinytron_ablations.py WORKSPACE                                docs/results/tinytron-ablations.md
    python bench/tinytron_ablations.py WORKSPACE --steps 40 --only kl,ce --report -

Each variant is a recipe of the plugin's own steps, carried out as ``bench/compression_demo.py`` carries out recipes and
measured by the judge in a fresh process; ``--steps`` optimizer steps in all, fading and distilling together. What
stands in WORKSPACE is not done again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from compression_demo import Bench

from harness.judge.results import paired_difference
from harness.pico.corpus.streams import items
from harness.run.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.judge.results import BitsPerByte

FADING: Final = 10
"""Optimizer steps of soft pruning, of all."""
EXERCISES: Final = 256
"""Functions that the student is asked to write."""
MIXTURE: Final = "{ c4 = 0.4, alpaca = 0.6 }"
SIZES: Final = "batch_windows = 16\nwindow_tokens = 160\ntop_k = 16"
LOOSE: Final = (
    'kind = "selection"\nlanguage = "any"\nshared_gram_words = 1000\n'
    "filters = { repetition = false, near_duplicates = false, exact_duplicates = false }"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A recipe, and what it is held against."""

    name: str
    against: str | None
    recipe: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A variant on one model with one seed."""

    variant: Variant
    model: str
    seed: int
    parameter_count: int
    tokens: int
    exercises: str
    """How many the student was asked for and how many were kept; empty where it wrote none."""
    compressed: BitsPerByte | None
    final: BitsPerByte


def main() -> None:
    """Run what is missing, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--models", default="llama")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--steps", type=int, default=400, help="optimizer steps of each variant")
    parser.add_argument("--only", default="", help="names of variants, comma-separated; all if absent")
    parser.add_argument("--budget", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=len(psutil.Process().cpu_affinity()))
    parser.add_argument("--report", default="docs/results/tinytron-ablations.md", help="a file, or - for none")
    asked = parser.parse_args()
    bench = Ablations(Workspace(asked.workspace), asked.budget, asked.threads)
    chosen = [each for each in variants(asked.steps) if not asked.only or each.name in asked.only.split(",")]
    results = [
        bench.result(each, model, int(seed))
        for model in asked.models.split(",")
        for seed in asked.seeds.split(",")
        for each in chosen
    ]
    text = report(results, asked.budget, asked.steps)
    print(text)
    if asked.report != "-":
        Path(asked.report).write_text(text)


def variants(steps: int) -> tuple[Variant, ...]:
    """All of them, of so many optimizer steps each; the first is the demo's own recipe."""
    fading = min(FADING, steps // 4)
    learning = steps - fading
    first, second = learning - learning // 2, learning // 2
    thirds = [learning // 3, learning // 3, learning - 2 * (learning // 3)]
    rounds = zip((1.5, 1.2, 1.0), _parts(fading, 3), thirds, strict=True)
    text = "ce = 1.0\nkl = 0.0\n"
    written = f"[step.sources.exercises]\n{_exercises()}"
    return (
        Variant(name="kl", against=None, recipe=fade(fading) + distil(learning), note="the demo's recipe"),
        Variant(
            name="ce",
            against="kl",
            recipe=fade(fading, more=text) + distil(learning, more=text),
            note="cross-entropy with the text, no teacher",
        ),
        Variant(
            name="progressive",
            against="kl",
            recipe="".join(fade(a, multiple=multiple) + distil(b) for multiple, a, b in rounds),
            note="three rounds, to 0.75, 0.6 and 0.5 of the base",
        ),
        Variant(
            name="twice",
            against="kl",
            recipe=fade(fading) + distil(first) + distil(second),
            note="two distillations in place of one, for the next",
        ),
        Variant(
            name="self-generated",
            against="twice",
            recipe=fade(fading)
            + distil(first)
            + distil(second, mixture="{ c4 = 0.37, alpaca = 0.56, exercises = 0.07 }", sources=written),
            note="in the second, 7 % of the tokens are functions that the student wrote",
        ),
        *(
            Variant(
                name=f"top {share:.0%}",
                against="kl",
                recipe=fade(fading)
                + distil(
                    learning,
                    mixture="{ best = 0.4, alpaca = 0.6 }",
                    sources=f"[step.sources.best]\n{LOOSE}\nkeep_fraction = {share}",
                ),
                note=f"the best {share:.0%} of the documents, rated by a stand-in",
            )
            for share in (0.5, 0.2, 0.1)
        ),
    )


def fade(steps: int, *, multiple: float = 1.0, more: str = "") -> str:
    """A step of soft pruning."""
    return (
        f'[[step]]\nstage = "compress"\nmethod = "soft_prune"\nround_to = 2\nbudget_multiple = {multiple}\n'
        f'optimizer_steps = {steps}\nlearning_rate = 1e-3\nschedule = "stable-decay"\ndecay_fraction = 0.0\n'
        f"mixture = {MIXTURE}\n{SIZES}\n{more}\n"
    )


def distil(steps: int, *, mixture: str = MIXTURE, sources: str = "", more: str = "") -> str:
    """A step of distillation."""
    return (
        f'[[step]]\nstage = "train"\nmethod = "distil"\noptimizer_steps = {steps}\nlearning_rate = 4e-3\n'
        f"mixture = {mixture}\n{SIZES}\n{more}\n{sources}\n\n"
    )


def _parts(count: int, parts: int) -> list[int]:
    return [max(1, (count * (part + 1)) // parts - (count * part) // parts) for part in range(parts)]


def _exercises() -> str:
    """The source of what the student writes: pico models do not invent exercises, so that they are given some."""
    functions = [item.user for item in islice(items("train", seed=7, kind="function"), EXERCISES)]
    topics = json.dumps(list(dict.fromkeys(functions)), ensure_ascii=True)
    return (
        f'kind = "self_generated"\nmost_tokens = 96\ngram_words = 1000\nneeds_check = false\ntopics = {topics}\n'
        'prompts = { exercise = "", solution = "{exercise}" }'
    )


class Ablations(Bench):
    """A workspace in which variants are carried out."""

    def result(self, variant: Variant, model: str, seed: int) -> Result:
        """Carry ``variant`` out and measure what it came to."""
        path = self.workspace.root / "recipes" / f"{variant.name.replace(' ', '-').replace('%', '')}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(variant.recipe)
        strategy, prepared = self.carried_out("tinytron", model, seed, recipe=path)
        wanted = [strategy.final, *([strategy.compressed] if strategy.compressed else [])]
        found = self.bits_per_byte(prepared, wanted)
        notes = [step.notes for step in strategy.steps]
        counts = [note.get("token_count") for note in notes]
        return Result(
            variant=variant,
            model=model,
            seed=seed,
            parameter_count=strategy.steps[-1].parameter_count,
            tokens=sum(count for count in counts if isinstance(count, int)),
            exercises=_written(notes[-1]),
            compressed=found[1] if len(found) > 1 else None,
            final=found[0],
        )


def _written(notes: object) -> str:
    text = notes.get("text", {}) if isinstance(notes, dict) else {}
    made = text.get("exercises", {}).get("exercises")
    return f"{made['kept']} of {made['asked']} kept" if made else ""


def report(results: Sequence[Result], budget: float, steps: int) -> str:
    """The table, as Markdown."""
    return "\n".join(
        [
            "# Tinytron, one choice at a time",
            "",
            f"Made by `bench/tinytron_ablations.py`, {time.strftime('%Y-%m-%d')}. Budget: {budget:g} of the base;",
            f"{steps} optimizer steps of 16 windows of 160 tokens for each variant, fading and distilling together.",
            "Bits per byte on the demo edition's held-out text, lower is better; differences are paired by window,",
            "with 95 % intervals. Held-out text is the demo's own, made by rules: what helps on web text may not help.",
            "",
            "| model | seed | variant | parameters | tokens | compressed | final | against | difference |",
            "|---|---|---|---|---|---|---|---|---|",
            *(_line(result, results) for result in results),
            "",
            *_over_seeds(results),
            *dict.fromkeys(f"* **{each.variant.name}**: {each.variant.note}." for each in results),
            *dict.fromkeys(
                f"* The student's functions, seed {each.seed}: {each.exercises}." for each in results if each.exercises
            ),
            "",
        ]
    )


def _line(result: Result, results: Sequence[Result]) -> str:
    compressed = "" if result.compressed is None else f"{result.compressed.bits_per_byte:.4f}"
    other = _other(result, results)
    difference = ""
    if other is not None:
        found = paired_difference(result.final, other.final)
        difference = f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
    return (
        f"| {result.model} | {result.seed} | {result.variant.name} | {result.parameter_count:,} | {result.tokens:,} | "
        f"{compressed} | {result.final.bits_per_byte:.4f} | {result.variant.against or ''} | {difference} |"
    )


def _other(result: Result, results: Sequence[Result]) -> Result | None:
    key = (result.variant.against, result.model, result.seed)
    return next((each for each in results if (each.variant.name, each.model, each.seed) == key), None)


def _over_seeds(results: Sequence[Result]) -> list[str]:
    """The mean difference of each variant, where there are several seeds."""
    if len({result.seed for result in results}) == 1:
        return []
    lines = ["| variant | against | mean difference | runs whose interval is below 0 |", "|---|---|---|---|"]
    for name in dict.fromkeys(result.variant.name for result in results if result.variant.against):
        pairs = [(each, _other(each, results)) for each in results if each.variant.name == name]
        found = [paired_difference(each.final, other.final) for each, other in pairs if other is not None]
        if found:
            mean, below = statistics.fmean(each.mean for each in found), sum(each.high < 0 for each in found)
            lines.append(f"| {name} | {pairs[0][0].variant.against} | {mean:+.4f} | {below} of {len(found)} |")
    return [*lines, ""]


if __name__ == "__main__":
    main()
