"""Latency by layer, measured on the edge runtime; the policy that is best within it; and both measured again.

    python bench/latency_table.py WORKSPACE                    what docs/results/edge-llm.md states

table     packages of the base with every layer at one shape, and one of two layers: what a layer costs is a difference
          of packages over their layers. Between measured widths, in a straight line; what KV groups and channels save
          is added up
search    for each layer a shape, least sum of the layers' relative errors (``structured_sensitivity``), within the
          measured latency and the bytes of the uniform model (``harness.methods.scheduling``, scipy's milp)
check     the chosen model becomes a package too and takes turns with the uniform one, and with the whole base: latency
          measured against predicted, and bits per byte of both, paired by window, before any recovery

Latency is of one decoded token, one thread, in processor time: in every round each package decodes some tokens, and the
fastest round counts, since what else the machine does can only add.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from compression_demo import Bench

from harness.checkpoint.checkpoint import Checkpoint, read_described_config
from harness.corpora.encoding import tokenizer_of
from harness.corpora.windows import pack
from harness.deployment.executorch.export import export_package
from harness.deployment.executorch.options import ExecutorchOptions
from harness.deployment.executorch.runner import open_runner
from harness.judge.results import paired_difference
from harness.methods.batches import read_batch
from harness.methods.calibration import CalibrationBatch
from harness.methods.scheduling import Choice, choose
from harness.methods.selection import keep_top
from harness.methods.sensitivity import StructuredSensitivity, structured_sensitivity
from harness.pico import catalogue
from harness.run.preparation import prepare
from harness.run.settings import SubmitSettings
from harness.run.workspace import Workspace
from harness.surgery import anatomy as anatomies
from harness.surgery.apply import apply
from harness.surgery.count import weigh
from harness.surgery.plan import Plan, plan_of
from harness.testing.door import embedded_door

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.surgery.anatomy import Anatomy

KV_AXIS: Final = "kv_group"
MLP_AXIS: Final = "intermediate"
AXES: Final = (KV_AXIS, MLP_AXIS)
PROMPT: Final = list(range(5, 37))
TOKENS: Final = 24
MIXTURE: Final = {"c4": 0.4, "alpaca": 0.6}
Shape = tuple[int, int]
"""KV groups and channels of a layer."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The base, what its units are worth, and where its packages lie."""

    base: Path
    anatomy: Anatomy
    found: StructuredSensitivity
    folder: Path

    @property
    def whole(self) -> Shape:
        """The shape of the base's layers."""
        sizes = self.anatomy.sizes
        return sizes[KV_AXIS], sizes[MLP_AXIS]

    def plan(self, shapes: Sequence[Shape]) -> Plan:
        """The best units of these many layers; layers above go."""
        keep: dict[str, Any] = {
            axis: [
                keep_top(each, shapes[min(layer, len(shapes) - 1)][place]).tolist()
                for layer, each in enumerate(self.found.scores[axis])
            ]
            for place, axis in enumerate(AXES)
        }
        if len(shapes) < self.anatomy.layer_count:
            keep["layer"] = [list(range(len(shapes)))]
        return plan_of(self.anatomy, keep)

    def packaged(self, name: str, shapes: Sequence[Shape]) -> Path:
        """Checkpoint and package of these layers, made once; the package's folder."""
        package = self.folder / "packages" / name
        if not package.exists():
            started = time.process_time()
            checkpoint = self.checkpoint(name, shapes)
            export_package(checkpoint, package, ExecutorchOptions(dtype="float32", context_tokens=128))
            print(f"# package {name}: {time.process_time() - started:.1f} CPU s", flush=True)
        return package

    def checkpoint(self, name: str, shapes: Sequence[Shape]) -> Path:
        """The model of these layers."""
        output = self.folder / "checkpoints" / name
        if not output.exists():
            output.parent.mkdir(parents=True, exist_ok=True)
            apply(self.base, self.plan(shapes), output)
        return output


@dataclass(frozen=True, slots=True)
class Table:
    """Seconds of a layer by its shape, and of all that is not a layer."""

    fixed: float
    whole: float
    saved: tuple[dict[int, float], dict[int, float]]
    """By axis: width to the seconds that a layer saves beside the whole one."""

    def layer(self, shape: Shape) -> float:
        """Seconds of a layer of ``shape``."""
        return self.whole - sum(interpolated(saved, width) for saved, width in zip(self.saved, shape, strict=True))

    def model(self, shapes: Sequence[Shape]) -> float:
        """Seconds of a token."""
        return self.fixed + sum(map(self.layer, shapes))


def interpolated(saved: Mapping[int, float], width: int) -> float:
    """In a straight line between the widths that were measured."""
    widths = sorted(saved)
    return float(np.interp(width, widths, [saved[each] for each in widths]))


def main() -> None:
    """Make the table, search, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--model", default="llama", help="its embedded pico model")
    parser.add_argument("--kv-groups", default="1,2", help="measured beside the whole")
    parser.add_argument("--channels", default="64,192", help="measured beside the whole")
    parser.add_argument("--uniform", default="2,192", help="shape of every layer of the model to beat")
    parser.add_argument("--multiple", type=int, default=8, help="of the channels that the search may choose")
    parser.add_argument("--rounds", type=int, default=100)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    subject = make_subject(asked)
    uniform = parsed(asked.uniform)
    even = [(uniform[0], uniform[1])] * subject.anatomy.layer_count
    table, limit = measured_table(subject, even, asked)
    shapes = searched(subject, table, even, limit, asked.multiple)
    print(report(subject, table, shapes, even, asked))


def parsed(text: str) -> list[int]:
    """Numbers with commas between them."""
    return [int(each) for each in text.split(",")]


def make_subject(asked: argparse.Namespace) -> Subject:
    """The base, with its units' scores by calibration on the embedded corpus."""
    base = catalogue.path(f"pico-{asked.model}")
    config = read_described_config(base)
    anatomy = anatomies.load(config)
    asked.workspace.mkdir(parents=True, exist_ok=True)
    windows = pack(
        embedded_door(),
        MIXTURE,
        tokenizer_of(base),
        window_tokens=160,
        window_count=64,
        seed=0,
        path=asked.workspace / "calibration",
    )
    parts = np.array_split(np.arange(64), 4)
    batches = [CalibrationBatch(token_ids=read_batch(windows, part, torch.device("cpu")).token_ids) for part in parts]
    found = structured_sensitivity(base, anatomy, AXES, batches, relative=True)
    return Subject(base, anatomy, found, asked.workspace)


def measured_table(subject: Subject, even: Sequence[Shape], asked: argparse.Namespace) -> tuple[Table, float]:
    """Every package of the grid, measured in turns with the uniform one, whose seconds come second."""
    layers, whole = subject.anatomy.layer_count, subject.whole
    grid = {f"kv-{count}": (count, whole[1]) for count in parsed(asked.kv_groups)}
    grid |= {f"channels-{width}": (whole[0], width) for width in parsed(asked.channels)}
    packages = {name: subject.packaged(name, [shape] * layers) for name, shape in grid.items()}
    packages |= {"whole": subject.packaged("whole", [whole] * layers)}
    packages |= {"two layers": subject.packaged("two-layers", [whole] * 2)}
    packages |= {"uniform": subject.packaged(package_name("uniform", even), even)}
    seconds = measured(packages, asked.rounds)
    layer = (seconds["whole"] - seconds["two layers"]) / (layers - 2)
    saved: tuple[dict[int, float], dict[int, float]] = ({whole[0]: 0.0}, {whole[1]: 0.0})
    for name, (groups, width) in grid.items():
        axis, value = (0, groups) if groups != whole[0] else (1, width)
        saved[axis][value] = (seconds["whole"] - seconds[name]) / layers
    for name, value in seconds.items():
        print(f"# {name:14} {1e6 * value:8.1f} us a token", flush=True)
    return Table(seconds["whole"] - layers * layer, layer, saved), seconds["uniform"]


def package_name(name: str, shapes: Sequence[Shape]) -> str:
    """Of a model's folders."""
    return f"{name}-{'_'.join(f'{groups}x{width}' for groups, width in shapes)}"


def measured(packages: Mapping[str, Path], rounds: int) -> dict[str, float]:
    """Processor seconds of a decoded token by the fastest round, packages in turns."""
    runners = {name: open_runner(path, 1) for name, path in packages.items()}
    found: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            token = runner.prefill(PROMPT)
            started = time.process_time()
            for _ in range(TOKENS):
                token = runner.step(token)
            found[name].append((time.process_time() - started) / TOKENS)
    return {name: min(each) for name, each in found.items()}


def searched(subject: Subject, table: Table, uniform: Sequence[Shape], seconds: float, multiple: int) -> list[Shape]:
    """The shape of each layer with the least sum of errors within ``seconds`` and the bytes of ``uniform``."""
    groups, width = subject.whole
    shapes = [(count, each) for count in range(1, groups + 1) for each in range(multiple, width + 1, multiple)]
    weights = {shape: layer_parameters(subject, shape) for shape in shapes}
    rows = [
        [
            Choice(
                error=error_of(subject, layer, shape),
                costs={"seconds": table.layer(shape), "bytes": 4.0 * weights[shape]},
            )
            for shape in shapes
        ]
        for layer in range(subject.anatomy.layer_count)
    ]
    limits = {
        "seconds": seconds - table.fixed,
        "bytes": sum(4.0 * layer_parameters(subject, shape) for shape in uniform),
    }
    return [shapes[number] for number in choose(rows, limits)]


def error_of(subject: Subject, layer: int, shape: Shape) -> float:
    """What the layer loses, attention and MLP each beside the size of its output."""
    whole = subject.whole
    curves = [subject.found.curves[axis][layer] for axis in AXES]
    return float(sum(curve[whole[place] - shape[place]] for place, curve in enumerate(curves)))


def layer_parameters(subject: Subject, shape: Shape) -> int:
    """Parameters of one layer."""
    sizes = {**subject.anatomy.sizes, **dict(zip(AXES, shape, strict=True))}
    return sum(int(np.prod(each.shape(sizes))) for each in subject.anatomy.tensors.values() if each.layer == 0)


def report(
    subject: Subject, table: Table, shapes: Sequence[Shape], even: Sequence[Shape], asked: argparse.Namespace
) -> str:
    """Both models measured, as Markdown."""
    models: dict[str, list[Shape]] = {"uniform": list(even), "searched": list(shapes)}
    names = {name: package_name(name, each) for name, each in models.items()}
    packages = {name: subject.packaged(names[name], each) for name, each in models.items()}
    packages["whole"] = subject.folder / "packages" / "whole"
    seconds = measured(packages, asked.rounds)
    bits = bits_per_byte(subject, [subject.folder / "checkpoints" / names[name] for name in models], asked)
    lines = [
        "| model | KV groups | channels | parameters | predicted, us | measured, us | error | bits per byte |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, each), figure in zip(models.items(), bits, strict=True):
        count = weigh(subject.anatomy.config, subject.plan(each)).parameter_count
        guess, real = 1e6 * table.model(each), 1e6 * seconds[name]
        kv, channels = (" ".join(str(shape[place]) for shape in each) for place in (0, 1))
        lines.append(
            f"| {name} | {kv} | {channels} | {count:,} | {guess:.1f} | {real:.1f} | {guess / real - 1:+.1%} | "
            f"{figure.bits_per_byte:.4f} |"
        )
    found = paired_difference(bits[1], bits[0])
    lines += [
        "",
        f"Searched minus uniform: {found.mean:+.4f} bits per byte ({found.low:+.4f} to {found.high:+.4f}).",
        f"Latency: {seconds['searched'] / seconds['uniform']:.3f} of uniform; base {1e6 * seconds['whole']:.1f} us.",
    ]
    return "\n".join(lines)


def bits_per_byte(subject: Subject, checkpoints: Sequence[Path], asked: argparse.Namespace) -> list[Any]:
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
