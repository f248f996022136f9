"""What ``harness deploy`` does, and how it answers."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import typer

from harness.cli import choices
from harness.cli.console import print_json
from harness.cli.deployed import is_broken, print_answer, print_answer_json, print_findings
from harness.cli.model_argument import Found, find_model
from harness.cli.watching import Watcher
from harness.containment import Limits
from harness.deployment.packaging import Packaged, PackagingWork, Target, check_stranger, make_package
from harness.document import Document
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.deployment.deliverables import DeliverablesRecord
    from harness.deployment.mlc.driver import MlcRun

PACKAGES: Final = Path("packages")
TYPED_AS: Final = {
    "context_tokens": "--context",
    "context_window_size": "--context",
    "prefill_chunk": "--prefill-chunk",
    "prefill_chunk_size": "--prefill-chunk",
    "max_batch_size": "--max-batch-size",
}
"""Fields of the targets' options, and how they are typed."""
OptionsT = TypeVar("OptionsT", bound=Document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was typed."""

    model: str
    target: Target
    out: Path | None
    dtype: str
    context: int | None
    prefill_chunk: int | None
    name: str | None
    weights: Path | None
    conversation: str
    weight_layout: str
    max_batch_size: int
    mlc_python: Path | None
    mlc_llm: bool
    mlc_device: str
    mlc_source: Path | None
    deliverables: Path | None
    apk: Path | None
    evidence: Path | None
    time_limit_s: float
    memory_limit_gb: float | None


def answer(asked: Asked, *, quiet: bool, as_json: bool) -> bool:
    """Make the package and everything that was asked for besides; whether something is not the checkpoint's.

    Raises:
        HarnessError: as ``harness.deployment.packaging`` and ``harness.deployment.mlc.driver`` raise them.
    """
    from harness.deployment.mlc.driver import mark_tried

    _check_options(asked)
    found = find_model(asked.model, name=asked.name, weights=asked.weights)
    work = _work(asked, found)
    with Watcher(quiet=quiet) as watcher:
        started = time.monotonic()
        watcher.started(f"packaging for {asked.target}")
        made = make_package(work, watcher.event)
        watcher.finished(f"package for {asked.target}", str(made.folder), time.monotonic() - started, reused=False)
        run = _drive(asked, found, work, watcher) if asked.mlc_llm else None
    if run is not None and not is_broken(run.findings):
        made = replace(made, manifest=mark_tried(made.folder).model_dump(mode="json"))
    record = _deliver(asked, found, made) if asked.deliverables is not None else None
    (print_answer_json if as_json else print_answer)(found, made, run, record)
    return run is not None and is_broken(run.findings)


def check_only(asked: Asked, package: Path, *, quiet: bool, as_json: bool) -> bool:
    """Hold the MLC package ``package`` against the model; whether it is another one's."""
    if asked.target != "mlc":
        raise UsageError(f"--check with --target {asked.target}: only MLC packages are checked so; --target mlc")
    found = find_model(asked.model, name=asked.name, weights=asked.weights)
    work = _work(asked, found, out=package)
    with Watcher(quiet=quiet) as watcher:
        watcher.started("checking the package")
        findings = check_stranger(work, watcher.event)
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in findings])
    else:
        print_findings(findings)
        typer.echo(f"{package}: {'is not' if is_broken(findings) else 'is'} a package of {work.checkpoint}")
    return is_broken(findings)


def _work(asked: Asked, found: Found, out: Path | None = None) -> PackagingWork:
    import psutil

    from harness.deployment.executorch.options import ExecutorchOptions
    from harness.deployment.mlc.options import MlcOptions

    memory, total = asked.memory_limit_gb, psutil.virtual_memory().total
    folder = out or asked.out or PACKAGES / f"{found.name}-{asked.target}"
    for_mlc, for_executorch = asked.target == "mlc", asked.target == "executorch"
    return PackagingWork(
        target=asked.target,
        checkpoint=found.checkpoint,
        out=folder,
        executorch=_parsed(ExecutorchOptions, _executorch_fields(asked)) if for_executorch else ExecutorchOptions(),
        mlc=_parsed(MlcOptions, _mlc_fields(asked)) if for_mlc else MlcOptions(),
        work_dir=choices.workspace_here().root / "deploy" / folder.resolve().name,
        limits=Limits(
            time_s=asked.time_limit_s, memory_bytes=int(memory * 1e9) if memory else int(total * choices.MEMORY_SHARE)
        ),
    )


def _executorch_fields(asked: Asked) -> dict[str, object]:
    return {"dtype": asked.dtype, "prefill_chunk": asked.prefill_chunk, "context_tokens": asked.context}


def _mlc_fields(asked: Asked) -> dict[str, object]:
    return {
        "quantization": {"float16": "q0f16", "float32": "q0f32"}[asked.dtype],
        "conversation": asked.conversation,
        "weight_layout": asked.weight_layout,
        "max_batch_size": asked.max_batch_size,
        "prefill_chunk_size": asked.prefill_chunk,
        "context_window_size": asked.context,
    }


def _parsed(kind: type[OptionsT], fields: dict[str, object]) -> OptionsT:
    """Options of a target from what was typed; raises ``UsageError`` that names the option."""
    from pydantic import ValidationError

    try:
        return kind.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        field = (
            str(first["loc"][0]) if first["loc"] else "context_tokens"
        )  # what no field has alone is about both sizes
        raise UsageError(
            f"{TYPED_AS.get(field, field)}: {first['msg'].lower()}, found {first['input']!r:.80}"
        ) from error


def _check_options(asked: Asked) -> None:
    """Options of a target that is not asked for would be overlooked in silence."""
    only_mlc = {
        "--mlc-python or --mlc-llm": asked.mlc_llm,
        "--mlc-source": asked.mlc_source is not None,
        "--conv-template": asked.conversation != "auto",
        "--weight-layout": asked.weight_layout != "plain",
    }
    foreign = [option for option, typed in only_mlc.items() if typed]
    if foreign and asked.target != "mlc":
        raise UsageError(f"{', '.join(foreign)} with --target {asked.target}: allowed with --target mlc only")
    beside = {"--apk": asked.apk, "--evidence": asked.evidence}
    if asked.deliverables is None and (typed := [option for option, path in beside.items() if path is not None]):
        raise UsageError(f"{', '.join(typed)}: goes into the deliverables; name their folder: --deliverables DIR")
    for option, path in beside.items():
        if path is not None and not path.is_file():
            raise UsageError(f"{option} {path}: is no file")


def _drive(asked: Asked, found: Found, work: PackagingWork, watcher: Watcher) -> MlcRun:
    """The real mlc_llm on the same checkpoint, beside the package that the harness wrote."""
    from harness.deployment.mlc.driver import Drive, drive
    from harness.deployment.mlc.tool import find_tool

    watcher.started("mlc_llm")
    started = time.monotonic()
    run = drive(
        Drive(
            tool=find_tool(asked.mlc_python, work.work_dir),
            checkpoint=found.checkpoint.resolve(),
            out=work.out.with_name(f"{work.out.name}.mlc_llm").absolute(),
            options=work.mlc,
            device=asked.mlc_device,
            source_dir=asked.mlc_source,
            limits=work.limits,
        ),
        watcher.event,
    )
    said = ", ".join(step.name for step in run.steps)
    watcher.finished("mlc_llm", said, time.monotonic() - started, reused=False)
    return run


def _deliver(asked: Asked, found: Found, made: Packaged) -> DeliverablesRecord:
    from harness.deployment.deliverables import Deliverables, write_deliverables

    folder = asked.deliverables or Path("deliverables")
    return write_deliverables(
        Deliverables(
            name=found.name,
            target=made.target,
            checkpoint=found.checkpoint,
            package=made.folder,
            checks=made.checks,
            results_csv=found.results_csv,
            apk=asked.apk,
            evidence=asked.evidence,
        ),
        folder,
    )
