"""The fresh process of ``packaging``: ``python -m harness.deployment.packaging_worker REQUEST.json``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.channel import serve
from harness.checkpoint.writer import replace_folder
from harness.deployment.executorch.collecting import collecting_rarely
from harness.deployment.packaging import PackagingAnswer, PackagingRequest
from harness.errors import EngineFailed

if TYPE_CHECKING:
    from harness.progress import Progress


def answer(request: PackagingRequest, progress: Progress) -> PackagingAnswer:
    """Make or check the package; each runtime's exporter is imported only where it is asked for."""
    checkpoint, package = Path(request.checkpoint), Path(request.package)
    match request.target:
        case "executorch":
            with collecting_rarely():
                return _executorch(request, checkpoint, package, progress)
        case "mlc":
            return _mlc(request, checkpoint, package, progress)
        case "transformers":
            from harness.deployment.transformers_package import package as make

            return PackagingAnswer(manifest=make(checkpoint, package).model_dump(mode="json"))


def _executorch(request: PackagingRequest, checkpoint: Path, package: Path, progress: Progress) -> PackagingAnswer:
    """A package gets its name once it was checked: one that computes something else, or a killed run's, never does."""
    from harness.deployment.executorch.check import NEW_TOKENS, PROMPT_TOKENS, ExecutorchCheckRequest
    from harness.deployment.executorch.export import export_package

    unchecked = package.with_name(f".{package.name}.unchecked")
    try:
        manifest = export_package(checkpoint, unchecked, request.executorch, progress)
        from harness.deployment.executorch.check_worker import compare

        asked = ExecutorchCheckRequest(
            result=request.result,
            checkpoint=request.checkpoint,
            package=str(unchecked),
            prompt_tokens=PROMPT_TOKENS,
            new_tokens=NEW_TOKENS,
        )
        found = compare(asked, progress)
        if found.fault is not None:
            raise EngineFailed(f"package {package.name}: {found.fault}: it is not a package of this checkpoint")
        replace_folder(package, unchecked)
    finally:
        shutil.rmtree(unchecked, ignore_errors=True)
    return PackagingAnswer(manifest=manifest.model_dump(mode="json"), executorch=found)


def _mlc(request: PackagingRequest, checkpoint: Path, package: Path, progress: Progress) -> PackagingAnswer:
    from harness.deployment.mlc.check import check_mlc
    from harness.deployment.mlc.export import export_package

    if request.only_check:
        return PackagingAnswer(manifest={}, findings=check_mlc(package, checkpoint, progress))
    manifest = export_package(checkpoint, package, request.mlc, progress)
    findings = check_mlc(package, checkpoint, progress)
    return PackagingAnswer(manifest=manifest.model_dump(mode="json"), findings=findings)


if __name__ == "__main__":
    sys.exit(serve(PackagingRequest, answer, sys.argv[1:]))
