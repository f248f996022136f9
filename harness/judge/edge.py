"""The figure that a submission files: on the edge runtime where it is installed, under transformers otherwise.

checkpoint ── executorch here? ── yes ──> package, made and checked once ──> measured on executorch
                               └─ no, or a GPU ───────────────────────────> measured under transformers, and why
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.checkpoint.checkpoint import read_described_config
from harness.deployment.executorch.check import ExecutorchCheck
from harness.deployment.executorch.options import ExecutorchOptions, PackageDtype
from harness.deployment.manifest import MANIFEST_NAME, ExecutorchManifest, verify
from harness.deployment.packaging import PackagingWork, make_package
from harness.errors import CheckpointCorrupt
from harness.judge.measure import measure_performance
from harness.judge.runtimes import edge_absence
from harness.options import Packaging

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from harness.judge.measure import Surroundings
    from harness.judge.requests import Runtime
    from harness.judge.results import Performance
    from harness.rules.edition import MeasurementRule

USUAL: Final = ExecutorchOptions()
AS_THE_HARNESS_CHOOSES: Final = Packaging()


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledFigure:
    """A figure, and why it is from that runtime; ``performance.runtime`` names it with its version."""

    performance: Performance
    runtime: Runtime
    why: str


def runtime_for_record(device: str) -> tuple[Runtime, str]:
    """The runtime that submissions are measured with here, and why; it is part of what a figure depends on."""
    if device != "cpu":
        return "transformers", f"the edge runtime computes on the CPU, asked was {device}"
    if (absence := edge_absence()) is not None:
        return "transformers", absence
    return "executorch", "the edge runtime is installed"


def package_folder(packages: Path, checkpoint_digest: str, code_digest: str, packaging: Packaging) -> Path:
    """Where among ``packages`` the one of that checkpoint stands, made by that code with those settings."""
    chosen = "" if packaging == AS_THE_HARNESS_CHOOSES else f"-{packaging.content_digest()[:8]}"
    return packages / f"{checkpoint_digest[:24]}-{code_digest[:12]}{chosen}"


def measure_for_record(
    checkpoint: Path,
    *,
    package: Path,
    rule: MeasurementRule,
    surroundings: Surroundings,
    packaging: Packaging = AS_THE_HARNESS_CHOOSES,
) -> FiledFigure:
    """Speed and memory of ``checkpoint`` as a submission files them.

    Args:
        checkpoint: Folder in Hugging Face's layout.
        package: Folder of its ExecuTorch package, named by whoever calls so that it is of this checkpoint; made and
            held against the checkpoint where it is absent, and left for the next measurement.
        rule: The edition's protocol.
        surroundings: Where, and within which limits.
        packaging: What a plugin says about the package.

    Raises:
        EngineFailed: the package could not be made, or does not compute what the checkpoint does.
        CheckpointCorrupt: what stands at ``package`` is no whole ExecuTorch package.
        MeasurementFailed: as ``measure_performance``.
    """
    runtime, why = runtime_for_record(surroundings.device)
    folder = checkpoint
    if runtime == "executorch":
        folder = package_for_record(
            checkpoint, package=package, rule=rule, surroundings=surroundings, packaging=packaging
        )
    performance = measure_performance(folder, rule=rule, surroundings=surroundings, runtime=runtime)
    return FiledFigure(performance=performance, runtime=runtime, why=why)


def edge_options(
    config: Mapping[str, Any], rule: MeasurementRule, packaging: Packaging = AS_THE_HARNESS_CHOOSES
) -> ExecutorchOptions:
    """The precision that is stored, and a context for the protocol: the package's usual one, or more, or what is known.

    A plugin's ``packaging`` stands in for what is usual.

    BF16 is no precision of the edge: such a model is packaged, and so measured, in FP16.
    """
    stored = str(config.get("dtype") or config.get("torch_dtype"))
    kept: PackageDtype = "float32" if stored == "float32" else "float16"
    needed = rule.prefill_tokens + rule.decode_tokens
    known = config.get("max_position_embeddings")
    asked = packaging.context_tokens or USUAL.context_tokens
    context = min(asked, known) if isinstance(known, int) and known > 0 else asked
    return ExecutorchOptions(
        dtype=packaging.dtype or kept,
        context_tokens=max(context, needed),
        prefill_chunk=packaging.prefill_chunk or USUAL.prefill_chunk,
    )


def package_for_record(
    checkpoint: Path,
    *,
    package: Path,
    rule: MeasurementRule,
    surroundings: Surroundings,
    packaging: Packaging = AS_THE_HARNESS_CHOOSES,
) -> Path:
    """The ExecuTorch package ``package`` of ``checkpoint``, made and held against it where it is absent.

    Raises:
        EngineFailed: it could not be made, or does not compute what the checkpoint does.
        CheckpointCorrupt: what stands there is no whole ExecuTorch package.
    """
    if (package / MANIFEST_NAME).is_file():
        verify(ExecutorchManifest, package)
        return package
    if package.exists():
        raise CheckpointCorrupt(f"{package}: stands where a package is to be made, and is none; move it away")
    work = PackagingWork(
        target="executorch",
        checkpoint=checkpoint,
        out=package,
        executorch=edge_options(read_described_config(checkpoint), rule, packaging),
        work_dir=surroundings.work_dir / "packaging",
        limits=surroundings.limits,
    )
    made = make_package(work, surroundings.on_event)
    if made.executorch is not None:
        made.executorch.write(_check_file(package))
    return package


def check_of(package: Path) -> ExecutorchCheck | None:
    """What was found when ``package`` was held against its checkpoint; None where the note of it is gone."""
    note = _check_file(package)
    return ExecutorchCheck.read(note) if note.is_file() else None


def _check_file(package: Path) -> Path:
    return package.with_name(f"{package.name}.check.json")
