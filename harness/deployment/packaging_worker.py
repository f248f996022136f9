"""The fresh process of ``packaging``: ``python -m harness.deployment.packaging_worker REQUEST.json``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.channel import serve
from harness.deployment.packaging import PackagingAnswer, PackagingRequest

if TYPE_CHECKING:
    from harness.progress import Progress


def answer(request: PackagingRequest, progress: Progress) -> PackagingAnswer:
    """Make or check the package; each runtime's exporter is imported only where it is asked for."""
    checkpoint, package = Path(request.checkpoint), Path(request.package)
    match request.target:
        case "executorch":
            return _executorch(request, checkpoint, package, progress)
        case "mlc":
            return _mlc(request, checkpoint, package, progress)
        case "transformers":
            from harness.deployment.transformers_package import package as make

            return PackagingAnswer(manifest=make(checkpoint, package).model_dump(mode="json"))


def _executorch(request: PackagingRequest, checkpoint: Path, package: Path, progress: Progress) -> PackagingAnswer:
    from harness.deployment.executorch.export import export_package

    manifest = export_package(checkpoint, package, request.executorch, progress)
    return PackagingAnswer(manifest=manifest.model_dump(mode="json"))


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
