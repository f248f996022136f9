"""The fresh process of ``check``: ``python -m harness.deployment.check_worker REQUEST.json``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoTokenizer

from harness.channel import serve
from harness.deployment.check import PackageCheck, PackageCheckRequest
from harness.deployment.transformers_package import read_package
from harness.errors import CheckpointCorrupt
from harness.methods.models import load

if TYPE_CHECKING:
    from torch import Tensor

    from harness.deployment.manifest import PackageManifest
    from harness.progress import Progress

PROMPT_SEED = 0


def compare(request: PackageCheckRequest, progress: Progress) -> PackageCheck:
    """Logits of package and checkpoint on the same token ids.

    Raises:
        CheckpointCorrupt: the package is not whole, or its tokenizer does not know its stop ids.
    """
    package = Path(request.package)
    manifest = read_package(package)
    _check_stop_ids(package, manifest)
    generator = torch.Generator().manual_seed(PROMPT_SEED)
    count = min(request.prompt_tokens, manifest.context_tokens)
    token_ids = torch.randint(manifest.vocabulary_count, (1, count), generator=generator)
    found = _logits(package, token_ids)
    progress("package check", 1, 2)
    expected = _logits(Path(request.checkpoint), token_ids)
    progress("package check", 2, 2)
    same_shape = found.shape == expected.shape
    return PackageCheck(
        token_count=count,
        largest_logit=float(expected.abs().max()),
        largest_difference=float((found - expected).abs().max()) if same_shape else float("inf"),
        same_choices=same_shape and bool((found.argmax(-1) == expected.argmax(-1)).all()),
    )


def _check_stop_ids(package: Path, manifest: PackageManifest) -> None:
    tokenizer = AutoTokenizer.from_pretrained(package, local_files_only=True, trust_remote_code=False)
    unknown = [token_id for token_id in manifest.stop_ids if token_id >= len(tokenizer)]
    if unknown:
        raise CheckpointCorrupt(f"{package}: its tokenizer has {len(tokenizer)} tokens, none of them is {unknown}")


@torch.inference_mode()
def _logits(folder: Path, token_ids: Tensor) -> Tensor:
    """``[1, tokens]`` -> ``[1, tokens, vocab]``, float32; NaN becomes infinity, so that it never counts as equal."""
    model = load(folder)
    return torch.nan_to_num(model(input_ids=token_ids, use_cache=False).logits, nan=float("inf"))


if __name__ == "__main__":
    sys.exit(serve(PackageCheckRequest, compare, sys.argv[1:]))
