"""An ExecuTorch package, loaded and run: ``open_runner(package, threads)`` gives a ``deployment.runner.Runner``.

Importing this imports nothing of executorch; opening a package does, and with it torch: some 220 MiB of resident
memory before the first weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from harness.deployment.executorch.bindings import load_bindings
from harness.deployment.executorch.installed import require_executorch
from harness.deployment.executorch.quiet import quiet
from harness.deployment.manifest import ExecutorchManifest, read_manifest
from harness.errors import EngineFailed, MeasurementFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

METHOD = "forward"


class Method(Protocol):
    """A loaded method of a program."""

    def __call__(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Run it; the outputs are copies."""


class ExecutorchRunner:
    """A ``Runner`` on XNNPACK; the cache lives in the runtime and is reused by every prompt.

    After logits that were not finite the cache may hold numbers that are none: open the package again.
    """

    def __init__(self, method: Method, manifest: ExecutorchManifest, version: str) -> None:
        self.name = f"executorch {version}"
        self.dtype: str = manifest.dtype
        self.context_tokens = manifest.context_tokens
        self.vocabulary_count = manifest.vocabulary_count
        self.chunk = manifest.prefill_chunk
        self._method = method
        self._position = 0
        self._logits: Tensor | None = None

    def prefill(self, token_ids: Sequence[int]) -> int:
        """As ``Runner.prefill``; positions that an earlier prompt left in the cache are never looked at."""
        if not token_ids:
            raise ValueError("token_ids must not be empty")
        self._position, self._logits = 0, None
        self._check(token_ids)
        for first in range(0, len(token_ids), self.chunk):
            self._read(token_ids[first : first + self.chunk])
        return self._choice()

    def step(self, token_id: int) -> int:
        """As ``Runner.step``."""
        if self._logits is None:
            raise ValueError("step needs a prompt; call prefill first")
        self._check([token_id])
        self._read([token_id])
        return self._choice()

    def last_logits(self) -> NDArray[np.float32]:
        """As ``Runner.last_logits``."""
        if self._logits is None:
            raise ValueError("there are no logits before a prompt; call prefill first")
        logits: NDArray[np.float32] = self._logits.float().numpy().copy()
        return logits

    def _check(self, token_ids: Sequence[int]) -> None:
        if len(token_ids) > self.context_tokens - self._position:
            raise ValueError(
                f"the context has room for {self.context_tokens - self._position} of {self.context_tokens} tokens, "
                f"got {len(token_ids)}"
            )
        wrong = [token_id for token_id in token_ids if not 0 <= token_id < self.vocabulary_count]
        if wrong:
            raise ValueError(f"token ids must be in 0..{self.vocabulary_count - 1}, got {wrong[0]}")

    def _read(self, token_ids: Sequence[int]) -> None:
        import torch

        inputs = torch.tensor([token_ids], dtype=torch.int64), torch.tensor([self._position], dtype=torch.int64)
        self._logits = self._method(inputs)[0][0]
        self._position += len(token_ids)

    def _choice(self) -> int:
        """The most likely token; the first of several that are equal."""
        if self._logits is None:  # pragma: no cover - both callers have just read a token
            raise ValueError("no token was read")
        best = int(self._logits.argmax())
        if not bool(self._logits[best].isfinite()):
            raise MeasurementFailed(f"{self.name}: logits after {self._position} tokens are not finite in {self.dtype}")
        return best


def open_runner(package: Path, threads: int) -> ExecutorchRunner:
    """Load the package ``package`` to run on ``threads`` threads of this process.

    Files are not held against the manifest's digests; ``harness.deployment.manifest.verify`` does that.

    Raises:
        ToolchainFailed: executorch is not installed.
        CheckpointCorrupt: it is no package of this kind.
        EngineFailed: the runtime cannot load it.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    version = require_executorch()
    manifest = read_manifest(ExecutorchManifest, package)
    with quiet(f"package {package.name} on executorch {version}"):
        method = _load(package / manifest.program, package / manifest.data, threads)
    return ExecutorchRunner(method, manifest, version)


def _load(program: Path, data: Path, threads: int) -> Method:
    bindings = load_bindings()
    # The pool is the process's, not the program's; there is no public name for it.
    bindings._unsafe_reset_threadpool(threads)  # noqa: SLF001
    if (found := bindings._threadpool_get_thread_count()) != threads:  # noqa: SLF001
        raise EngineFailed(f"executorch took {found} threads, asked {threads}")
    method: Method = bindings._load_program(str(program), data_path=str(data)).load_method(METHOD)  # noqa: SLF001
    return method
