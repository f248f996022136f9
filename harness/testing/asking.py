"""Requests for single steps, as the harness makes them, for a plugin's own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.checkpoint.checkpoint import Checkpoint
from harness.contracts import CompressRequest, TrainRequest
from harness.progress import silent
from harness.surgery.count import parameter_count
from harness.testing.door import embedded_door

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.options import Options
    from harness.progress import Progress

    AnyRequest = CompressRequest[Any, Any] | TrainRequest[Any, Any]


def asking(
    options: type[Options], *, fraction: float
) -> Callable[..., CompressRequest[Any, Any] | TrainRequest[Any, Any]]:
    """A function that builds the request for one step, given as a table of a recipe, on one checkpoint.

    In a ``conftest.py``::

        @pytest.fixture
        def ask():
            return asking(MyOptions, fraction=0.6)

        def test_writes(tiny_checkpoints, tmp_path, ask):
            compress(ask(tiny_checkpoints["phi"], {"stage": "compress", "method": "l1"}, tmp_path / "work"))

    Args:
        options: the plugin's.
        fraction: Parameters that may stay, as a share of the student's, where the call says nothing else.
    """

    def build(  # noqa: PLR0913 - what a test may want to say, all but the first three by name
        student: Path,
        step: Mapping[str, Any],
        workdir: Path,
        *,
        base: Path | None = None,
        fraction: float = fraction,
        seed: int = 0,
        progress: Progress = silent,
    ) -> AnyRequest:
        recipe: Any = options.model_validate({"steps": [step]})
        workdir.mkdir(exist_ok=True)
        found = Checkpoint.of(student)
        kind = CompressRequest if recipe.steps[0].stage == "compress" else TrainRequest
        return kind(
            base=found if base is None else Checkpoint.of(base),
            student=found,
            options=recipe,
            step=recipe.steps[0],
            parameter_budget=round(fraction * parameter_count(found.config())),
            data=embedded_door(),
            workdir=workdir,
            device="cpu",
            seed=seed,
            progress=progress,
        )

    return build
