"""What a plugin's recipe may say: the bases of its options and of its steps.

A plugin derives one class per method from ``Step`` and one class from ``Options``; the harness parses recipe files
and ``--set`` into them and shows their fields as help, so a wrong field is an error before anything heavy runs.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from harness.document import Document

TrainingStage = Literal["initialise", "compress", "train"]
"""The stages that a recipe orders; evaluate, deploy and validate follow by themselves. Where a track starts from no
base model, the first step of a recipe is an ``initialise`` step, and only that one."""


class Step(Document):
    """One entry of a recipe. Derive, give ``stage`` and ``method`` a ``Literal``, add the method's fields."""

    reads_data: ClassVar[bool] = True
    """Whether the step opens the data door. A step that says no is refused there, and new data does not rerun it."""

    legal_variant: ClassVar[str] = ""
    """What a recipe can say instead where an edition forbids the step."""

    stage: TrainingStage
    """The hook that carries the step out."""
    method: str
    """The algorithm, by its name on the shelf or in the plugin."""

    def practices(self) -> tuple[str, ...]:
        """What the step does besides what its method is called, in words that editions know: ``quantisation``.

        A step that an edition forbids, by its method or by one of these, is refused before anything runs.
        """
        return ()


class Options(Document):
    """Everything that a recipe may set. Derive and narrow ``steps`` to a discriminated union on ``method``."""

    steps: tuple[Step, ...] = ()
    """The steps in order; in a recipe file each is one ``[[step]]`` table."""


class NoOptions(Options):
    """The options of a plugin that declares none."""
