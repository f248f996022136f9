"""Make a package for a runtime, and check it, each in a fresh and contained process.

    make_package ── request ──> harness.deployment.packaging_worker      export (and, for MLC, the check bit for bit)
                                then, for ExecuTorch, logits and choices of the package as it lies on the disk
                 ── request ──> for transformers the check in a process of its own
              <── Packaged ─┘   manifest, what was checked, what is wrong

A process of its own, because an exporter brings gigabytes and threads that nobody wants in the next step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import JsonValue

from harness.channel import ContainedRequest, call
from harness.deployment.check import check_package
from harness.deployment.executorch.check import ExecutorchCheck
from harness.deployment.executorch.options import ExecutorchOptions
from harness.deployment.mlc.options import MlcOptions
from harness.document import Document
from harness.errors import EngineFailed
from harness.rules.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.containment import Event, Limits

Target = Literal["executorch", "mlc", "transformers"]
WORKER: Final = "harness.deployment.packaging_worker"
TARGETS: Final[tuple[Target, ...]] = ("executorch", "mlc", "transformers")


class PackagingRequest(ContainedRequest):
    """Make a package of a checkpoint, or check one that is there."""

    target: Target
    checkpoint: str
    package: str
    executorch: ExecutorchOptions = ExecutorchOptions()
    mlc: MlcOptions = MlcOptions()
    only_check: bool = False
    """Write nothing; hold the MLC package that stands there against the checkpoint."""


class PackagingAnswer(Document):
    """What was made."""

    manifest: dict[str, JsonValue]
    """Content of ``package.json``; empty where a stranger's package was checked."""
    findings: tuple[Finding, ...] = ()
    executorch: ExecutorchCheck | None = None
    """What the check of an ExecuTorch package found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagingWork:
    """A package that is asked for."""

    target: Target
    checkpoint: Path
    out: Path
    executorch: ExecutorchOptions = field(default_factory=ExecutorchOptions)
    mlc: MlcOptions = field(default_factory=MlcOptions)
    work_dir: Path
    """For requests, results and logs; made if absent."""
    limits: Limits
    """Of each process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """A package that was made and checked."""

    target: Target
    folder: Path
    manifest: dict[str, Any]
    checks: tuple[str, ...]
    """What was compared and came out right, in words."""
    executorch: ExecutorchCheck | None = None
    """The same as figures, of an ExecuTorch package."""


def make_package(work: PackagingWork, on_event: Callable[[Event], None]) -> Packaged:
    """Make the package and hold it against the checkpoint.

    Raises:
        EngineFailed: it could not be made, or does not hold or compute what the checkpoint does.
    """
    answer = _ask(work, on_event, only_check=False)
    wrong = [finding for finding in answer.findings if finding.severity is Severity.ERROR]
    if wrong:
        first = wrong[0]
        raise EngineFailed(
            f"{work.target} package {work.out}: {len(wrong)} faults, first {first.rule} in {first.place.file} "
            f"{first.place.tensor or first.place.field or ''}: {first.message}; found {first.found}"
        )
    checks = _CHECKS[work.target](work, answer, on_event)
    return Packaged(
        target=work.target,
        folder=work.out,
        manifest=dict(answer.manifest),
        checks=checks,
        executorch=answer.executorch,
    )


def check_stranger(work: PackagingWork, on_event: Callable[[Event], None]) -> tuple[Finding, ...]:
    """Everything in which the MLC package ``work.out``, whoever made it, is not one of the checkpoint.

    Raises:
        EngineFailed: the checkpoint itself is not whole.
    """
    return _ask(work, on_event, only_check=True).findings


def _ask(work: PackagingWork, on_event: Callable[[Event], None], *, only_check: bool) -> PackagingAnswer:
    folder = work.work_dir.resolve() / ("check" if only_check else "make")
    request = PackagingRequest(
        result=str(folder / "result.json"),
        target=work.target,
        checkpoint=str(work.checkpoint.resolve()),
        package=str(work.out.resolve()),
        executorch=work.executorch,
        mlc=work.mlc,
        only_check=only_check,
    )
    return call(
        WORKER,
        request,
        PackagingAnswer,
        what=f"{work.target} package of {work.checkpoint.name}",
        failed=EngineFailed,
        limits=work.limits,
        work_dir=folder,
        on_event=on_event,
    )


def _mlc_checks(work: PackagingWork, answer: PackagingAnswer, _on_event: Callable[[Event], None]) -> tuple[str, ...]:
    manifest, stored = answer.manifest, {"q0f16": "F16", "q0f32": "F32"}[work.mlc.quantization]
    others = sorted({str(dtype) for dtype in _list(manifest["source_dtypes"])} - {stored})
    rounded = f", those in {' and '.join(others)} converted to {stored}" if others else ""
    return (
        f"{manifest['tensor_count']} tensors equal the checkpoint's, bit for bit{rounded}",
        "sizes, MD5, offsets and totals of every shard",
        "stop ids are in the vocabulary; tokenizer files equal the checkpoint's",
    )


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _transformers_checks(
    work: PackagingWork, _answer: PackagingAnswer, on_event: Callable[[Event], None]
) -> tuple[str, ...]:
    found = check_package(
        work.checkpoint, work.out, work_dir=work.work_dir / "logits", limits=work.limits, on_event=on_event
    )
    return (f"logits at {found.token_count} positions equal the checkpoint's",)


def _executorch_checks(
    work: PackagingWork, answer: PackagingAnswer, _on_event: Callable[[Event], None]
) -> tuple[str, ...]:
    if (found := answer.executorch) is None:
        raise EngineFailed(f"executorch package {work.out}: it was not held against the checkpoint")
    return found.words


_CHECKS: Final = {"mlc": _mlc_checks, "transformers": _transformers_checks, "executorch": _executorch_checks}
