"""What the result of a task depends on: everything that its key is the digest of.

The number of threads is not part of it: it changes how fast an answer comes, and a score only where two tokens are as
likely as rounding can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from harness.document import digest_of
from harness.judge import task_data
from harness.pico.tasks import prompts
from harness.run.code import tree_digest
from harness.toolchains.catalogue import opencompass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import JsonValue

    from harness.judge.opencompass import TaskModel
    from harness.judge.scores import EngineName
    from harness.rules.edition import SuiteName, TaskRule

SCORING_CODE = (
    "judge/opencompass.py",
    "judge/recorded.py",
    "judge/items.py",
    "judge/scores.py",
    "judge/uncertainty.py",
    "toolchains/opencompass",
    "structured",
    "sandbox",
)
"""What of the harness decides a score; the rest of the judge may change without a task being scored again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is the same for every checkpoint and task of an evaluation."""

    suite: SuiteName
    tasks: Mapping[str, TaskRule]
    data: Path
    """Folder of the evaluation sets."""
    limit: int | None
    seed: int
    device: str
    engine: EngineName = "fast"
    early_stop: bool = True
    weak_sandbox: bool = False

    @property
    def stops_early(self) -> bool:
        """Whether answers may end early; only the faster model class does it."""
        return self.early_stop and self.engine == "fast"


def keys_of(
    model: TaskModel, setting: Setting, digest_of_file: Callable[[Path], str]
) -> dict[str, dict[str, JsonValue]]:
    """By task, what its result on ``model`` depends on.

    Raises:
        UsageError: the data of a task is missing.
    """
    shared = _shared(setting)
    return {
        task: {
            **shared,
            "checkpoint": model.checkpoint.digest,
            "prompts": model.kind,
            "task": task,
            "rule": rule.model_dump(mode="json"),
            "data": [list(pair) for pair in task_data.data_digest(task, setting.data, digest_of_file)],
        }
        for task, rule in setting.tasks.items()
    }


def scoring_digest() -> str:
    """Digest of the part of the harness that decides a score, pins of the toolchain included."""
    root = Path(str(resources.files("harness")))
    return tree_digest([root / part for part in SCORING_CODE if (root / part).exists()])


def _shared(setting: Setting) -> dict[str, JsonValue]:
    return {
        "kind": "task",
        "suite": setting.suite,
        "turns": digest_of({name: prompt.user for name, prompt in prompts().items()})
        if setting.suite == "demo"
        else None,
        "limit": setting.limit,
        "seed": setting.seed,
        "engine": setting.engine,
        "early_stop": setting.stops_early,
        "device": setting.device.partition(":")[0],
        "toolchain": opencompass().pins_digest(),
        "code": scoring_digest(),
    }
