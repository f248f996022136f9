"""The figures of docs/bench/memory.md: memory predicted from a configuration beside memory measured under a cap.

    python bench/memory.py FOLDER                          all shapes, both runtimes
    python bench/memory.py FOLDER --shapes llama-5m        some of them
    python bench/memory.py FOLDER --runtimes '' --write docs/bench/memory.md      the page of what FOLDER has

A shape is random weights. Every figure is VmHWM of a fresh process on one thread. FOLDER keeps models, packages and
figures, so that what was cut short is gone on with. Both experiments with a cap, on one shape: at the prediction the
run passes, a little below what it needs it is ended and leaves no result.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from harness.containment import Limits
from harness.deployment.manifest import ExecutorchManifest, read_manifest
from harness.document import Document
from harness.errors import MeasurementFailed
from harness.judge.fingerprint import host_fingerprint
from harness.judge.host_figures import HostPlan, load_of
from harness.judge.measure import Surroundings, measure_floor, measure_performance
from harness.judge.prediction import MemoryPrediction, predict
from harness.judge.requests import Runtime
from harness.judge.runtimes import edge_absence
from harness.judge.subject import Subject, of_checkpoint
from harness.rules.edition import MeasurementRule

RULE: Final = MeasurementRule(memory_limit_bytes=12 * 10**9, prefill_tokens=128, decode_tokens=16, repeats=1)
LIMITS: Final = Limits(time_s=1800, memory_bytes=16 * 10**9)
CONTEXT_TOKENS: Final = 512
DTYPES: Final = ("float16", "float32")
BELOW: Final = 0.98
"""Share of what a run needed that it is given in the experiment that has to fail."""
SHAPES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "llama-5m": ("llama", {"layers": 4, "hidden": 256, "mlp": 688, "heads": 4, "kv": 2, "vocab": 4000}),
    "llama-30m": ("llama", {"layers": 8, "hidden": 512, "mlp": 1408, "heads": 8, "kv": 4, "vocab": 8000}),
    "llama-127m": ("llama", {"layers": 8, "hidden": 1024, "mlp": 2816, "heads": 16, "kv": 8, "vocab": 16000}),
    "qwen2-76m": ("qwen2", {"layers": 6, "hidden": 896, "mlp": 2432, "heads": 14, "kv": 2, "vocab": 32000}),
    "phi-81m": ("phi", {"layers": 8, "hidden": 768, "mlp": 3072, "heads": 12, "kv": 12, "vocab": 16000}),
}
TIED: Final = {"qwen2-76m"}
CAPPED: Final = "llama-127m"
"""The shape of the experiments with a cap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One shape under one runtime in one precision."""

    shape: str
    runtime: Runtime
    dtype: str
    subject: Subject


class Found(Document):
    """What was predicted and what was measured, bytes; a line of FOLDER/figures.jsonl."""

    shape: str
    runtime: Runtime
    dtype: str
    predicted: MemoryPrediction
    measured: int
    floor: int
    """Of the measured process itself."""

    @property
    def ratio(self) -> float:
        """Predicted over measured, of the whole process."""
        return self.predicted.total_bytes / self.measured

    @property
    def model_ratio(self) -> float:
        """The same above the runtime's floor: what the model itself needs, which is the harder question."""
        return self.predicted.model_bytes / (self.measured - self.floor)


def main() -> None:
    """Read the command line, measure, print, and write the page where it was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--runtimes", default="executorch,transformers")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    figures, experiments = asked.folder / "figures.jsonl", asked.folder / "caps.jsonl"
    for runtime in filter(None, asked.runtimes.split(",")):
        for shape in asked.shapes.split(","):
            for case in cases(asked.folder, shape, runtime):
                append(figures, measured(case).model_dump_json())
        if runtime == "transformers" or edge_absence() is None:
            for line in cap_experiments(asked.folder, runtime):
                append(experiments, json.dumps(line))
    if asked.write:
        found = [Found.model_validate_json(line) for line in figures.read_text().splitlines()]
        latest = {(one.runtime, one.shape, one.dtype): one for one in found}
        caps = {(line[0], line[2]): line for line in map(json.loads, experiments.read_text().splitlines())}
        asked.write.write_text(
            page(
                sorted(latest.values(), key=lambda one: (one.runtime, [*SHAPES].index(one.shape), one.dtype)),
                [*caps.values()],
            ),
            encoding="utf-8",
        )


def append(file: Path, line: str) -> None:
    """Keep a figure: a run that is cut short is gone on with."""
    with file.open("a") as stream:
        stream.write(line + "\n")


def cases(folder: Path, shape: str, runtime: Runtime) -> list[Case]:
    """The cases of a shape; none where the runtime is not installed."""
    checkpoint = of_checkpoint(make_checkpoint(folder, shape), shape)
    if runtime == "transformers":
        return [Case(shape=shape, runtime=runtime, dtype=dtype, subject=checkpoint) for dtype in DTYPES]
    if (absence := edge_absence()) is not None:
        print(absence)
        return []
    return [
        Case(shape=shape, runtime=runtime, dtype=dtype, subject=make_package(folder, checkpoint, dtype))
        for dtype in DTYPES
    ]


def make_checkpoint(folder: Path, shape: str) -> Path:
    """Random weights of ``shape`` in FP16 with a tokenizer of bytes, or those that are there."""
    made = folder / shape
    if not made.is_dir():
        from transformers import AutoModelForCausalLM, LlamaConfig, PhiConfig, Qwen2Config

        from harness.testing.tiny import write_tiny_checkpoint

        kind, size = SHAPES[shape]
        config = {"llama": LlamaConfig, "phi": PhiConfig, "qwen2": Qwen2Config}[kind](
            vocab_size=size["vocab"],
            hidden_size=size["hidden"],
            intermediate_size=size["mlp"],
            num_hidden_layers=size["layers"],
            num_attention_heads=size["heads"],
            num_key_value_heads=size["kv"],
            max_position_embeddings=CONTEXT_TOKENS,
            tie_word_embeddings=shape in TIED,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
        write_tiny_checkpoint("llama", made)  # for its tokenizer; the weights are replaced
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        model.half().save_pretrained(made)
    return made


def make_package(folder: Path, checkpoint: Subject, dtype: str) -> Subject:
    """The ExecuTorch package of ``checkpoint``, or the one that is there."""
    from harness.deployment.executorch.export import export_package
    from harness.deployment.executorch.options import ExecutorchOptions

    out = folder / f"{checkpoint.name}-{dtype}"
    if not out.is_dir():
        export_package(checkpoint.folder, out, ExecutorchOptions.model_validate({"dtype": dtype}))
    manifest = read_manifest(ExecutorchManifest, out)
    return Subject(
        name=out.name,
        folder=out,
        config=checkpoint.config,
        weights_digest=manifest.content_digest(),
        checkpoint_digest=manifest.checkpoint_digest,
        edge=manifest,
    )


def measured(case: Case, limit_bytes: int | None = None) -> Found:
    """Predict, then measure in a fresh process; prints the line.

    Raises:
        MeasurementFailed: the cap was reached.
    """
    plan = HostPlan(rule=RULE, precision="checkpoint" if case.subject.edge else precision_of(case.dtype))
    floor = floor_bytes(case.runtime, "." if case.subject.edge else str(case.subject.folder), plan.precision)
    predicted = predict(case.subject.config or {}, load_of(case.subject, case.runtime, plan), runtime_bytes=floor)
    with tempfile.TemporaryDirectory() as work:
        performance = measure_performance(
            case.subject.folder,
            rule=RULE,
            surroundings=around(Path(work)),
            precision=plan.precision,
            runtime=case.runtime,
            memory_limit_bytes=limit_bytes,
        )
    found = Found(
        shape=case.shape,
        runtime=case.runtime,
        dtype=case.dtype,
        predicted=predicted,
        measured=performance.peak_memory_bytes,
        floor=performance.runtime_memory_bytes,
    )
    print(row(found), flush=True)
    return found


def precision_of(dtype: str) -> Any:  # noqa: ANN401 - a literal type of the request
    """FP16 is what the shapes are stored in."""
    return "checkpoint" if dtype == "float16" else dtype


@cache
def floor_bytes(runtime: Runtime, folder: str, precision: Any) -> int:  # noqa: ANN401 - as above
    """What the runtime takes alone, in a process of its own."""
    with tempfile.TemporaryDirectory() as work:
        found = measure_floor(Path(folder), runtime=runtime, surroundings=around(Path(work)), precision=precision)
    return found.resident_bytes


def around(work_dir: Path) -> Surroundings:
    """One thread, limits that nothing here reaches, events dropped."""
    return Surroundings(work_dir=work_dir, limits=LIMITS, on_event=lambda _event: None, threads=1)


def cap_experiments(folder: Path, runtime: Runtime) -> list[list[str]]:
    """The shape of ``CAPPED`` in FP16: a cap at the prediction, then one below what was needed there."""
    case = cases(folder, CAPPED, runtime)[0]
    free = measured(case)
    lines = []
    for name, cap in (("at the prediction", free.predicted.total_bytes), ("below", int(BELOW * free.measured))):
        try:
            said = f"passed, peak {mb(measured(case, cap).measured)} MB"
        except MeasurementFailed as error:
            said = f"failed: {str(error).splitlines()[0]}"
        lines.append([runtime, CAPPED, name, mb(cap), said])
        print(lines[-1], flush=True)
    return lines


def row(found: Found) -> str:
    """One line of the table."""
    part = found.predicted
    case = f"| {found.runtime} | {found.shape} | {found.dtype} "
    sizes = (part.runtime_bytes, part.weights_bytes, part.cache_bytes, part.activation_bytes + part.logits_bytes)
    parts = " | ".join(mb(size) for size in (*sizes, part.staging_bytes, part.total_bytes, found.measured))
    return f"{case}| {parts} | {found.ratio:.3f} | {found.model_ratio:.3f} |"


def mb(size_bytes: int) -> str:
    """Decimal megabytes."""
    return f"{size_bytes / 1e6:.1f}"


def page(found: list[Found], caps: list[list[str]]) -> str:
    """The page, with the machine that it was measured on."""
    host = host_fingerprint()
    versions = ", ".join(f"{name} {version(name)}" for name in sorted({"torch", *(one.runtime for one in found)}))
    worst = max(abs(1 - one.ratio) for one in found)
    above = max(abs(1 - one.model_ratio) for one in found)
    table = "\n".join(map(row, found))
    experiments = "\n".join(f"| {' | '.join(line)} |" for line in caps)
    return f"""# Memory: predicted, measured, capped

Host figures, not a phone's: peak resident memory (VmHWM) of a fresh process that loads one model and runs
{RULE.prefill_tokens} tokens of prefill and {RULE.decode_tokens} of decode on one thread. Made by
`python bench/memory.py FOLDER --write docs/bench/memory.md`. Random weights, stored in FP16; packages have a context of
{CONTEXT_TOKENS} tokens. MB are 10**6 bytes.

{host.cpu_model}, {host.usable_cores} cores, {host.memory_bytes / 1e9:.1f} GB, {host.architecture}; {versions}.

The prediction comes from the configuration (`harness/judge/prediction.py`) and one measured number: what the runtime
takes before it sees a weight, in a process of its own. `model` is the ratio of what is above that floor, the harder
question: for a small model the floor makes any prediction of the whole look good. The runtimes' own constants were
seen on the Llama and Qwen2 shapes; Phi's was predicted before it was measured.

| runtime | shape | precision | floor | weights | cache | activations, logits | staging | predicted | measured | predicted / measured | model |
|---|---|---|---|---|---|---|---|---|---|---|---|
{table}

Largest error of the whole: {worst:.1%}. Largest error above the floor: {above:.1%}.

## The cap

Enforced by RLIMIT_DATA in the process, a watchdog that reads VmHWM every 10 ms and kills, and a last comparison before
the result is written: a run that was above its cap has no result.

| runtime | shape | cap | MB | what happened |
|---|---|---|---|---|
{experiments}
"""  # noqa: E501 - a table's head is one line


if __name__ == "__main__":
    main()
