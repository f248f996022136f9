"""What a plugin's recipe may say: the bases of its options and of its steps.

A plugin derives one class per method from ``Step`` and one class from ``Options``; the harness parses recipe files
and ``--set`` into them and shows their fields as help, so a wrong field is an error before anything heavy runs.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

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


class Packaging(Document):
    """How the harness is to package a final checkpoint for the edge runtime; what is None, the harness decides.

    A plugin returns one from its hook ``deploy``; as a field of its ``Options`` a recipe can set it. It says how the
    model is packaged, never how it is measured: what is filed is the package that was measured.
    """

    dtype: Literal["float16", "float32"] | None = None
    """Of weights, cache and computation. None: as stored, BF16 as FP16."""
    context_tokens: int | None = Field(default=None, gt=0)
    """Positions of the KV cache, prompt and answer together; no more than the model knows are taken, and no fewer than
    the edition's protocol needs. None: 512. Each costs memory, and every step attends over all of them."""
    prefill_chunk: int | None = Field(default=None, gt=0)
    """Most tokens that one call reads. None: 64. Fewer take less memory for activations and make prefill slower."""


class NoOptions(Options):
    """The options of a plugin that declares none."""
