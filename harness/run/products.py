"""What a step made, read back from the disk: a plugin's word is not taken for it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from harness.checkpoint.checkpoint import files_digest, list_files
from harness.errors import CheckpointCorrupt, ContractBroken
from harness.run.digests import FILES
from harness.run.stepping import Product
from harness.submission.describe import checkpoint_parameters

if TYPE_CHECKING:
    from pathlib import Path

    from harness.run.host import Answer
    from harness.run.protocol import WorkerRequest


def product_of(request: WorkerRequest, answer: Answer, folder: Path) -> Product:
    """The checkpoint that the hook wrote into the step's ``folder``, with its digest and its size.

    Raises:
        ContractBroken: it is no whole checkpoint.
    """
    value = answer.value if isinstance(answer.value, dict) else {}
    made = folder / "work" / str(value["checkpoint"])
    try:
        files, count = list_files(made), checkpoint_parameters(made)
    except CheckpointCorrupt as error:
        shutil.rmtree(made, ignore_errors=True)
        raise ContractBroken(
            f"plugin {request.plugin!r}: hook {request.operation!r} wrote no whole checkpoint: {error}"
        ) from error
    return Product(
        value={
            "digest": files_digest(files),
            "files": FILES.dump_python(files, mode="json"),
            "parameter_count": count,
            "ledger": answer.ledger,
            "notes": value.get("notes"),
        },
        duration_s=answer.duration_s,
        peak_memory_bytes=answer.peak_memory_bytes,
        made=made,
    )
