"""A recipe is understood or refused before anything heavy runs."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from itertools import pairwise

import pytest
from harness_nics import options
from harness_nics.options import (
    DecomposeStep,
    FullStep,
    FuseStep,
    LoraStep,
    MergeStep,
    NicsOptions,
    PartialStep,
    VocabularyStep,
    WidthStep,
)
from pydantic import ValidationError

TRAIN = {"stage": "train", "optimizer_steps": 1}
COMPRESS = {"stage": "compress"}
KINDS = (VocabularyStep, WidthStep, FuseStep, DecomposeStep, MergeStep, LoraStep, FullStep, PartialStep)


class TestNicsOptions:
    @pytest.mark.parametrize(
        ("step", "kind"),
        [
            ({**COMPRESS, "method": "vocabulary", "drop_fraction": 0.4}, VocabularyStep),
            ({**COMPRESS, "method": "width"}, WidthStep),
            ({**COMPRESS, "method": "fuse"}, FuseStep),
            ({**COMPRESS, "method": "decompose"}, DecomposeStep),
            ({**COMPRESS, "method": "merge"}, MergeStep),
            ({**TRAIN, "method": "lora"}, LoraStep),
            ({**TRAIN, "method": "full"}, FullStep),
            ({**TRAIN, "method": "partial"}, PartialStep),
        ],
    )
    def test_the_method_decides_the_fields(self, step, kind):
        """Each method has a class of its own."""
        assert type(NicsOptions.model_validate({"steps": [step]}).steps[0]) is kind

    @pytest.mark.parametrize(
        "step",
        [
            {**COMPRESS, "method": "l1"},
            {**TRAIN, "method": "width"},
            {**COMPRESS, "method": "vocabulary"},
            {**COMPRESS, "method": "vocabulary", "drop_fraction": 0.4, "row_count": 9},
            {**COMPRESS, "method": "vocabulary", "drop_fraction": 1},
            {**COMPRESS, "method": "width", "mlp_layers": "9-4"},
            {**COMPRESS, "method": "width", "mlp_layers": "some"},
            {**COMPRESS, "method": "width", "budget_multiple": 0.5},
            {**COMPRESS, "method": "decompose", "scaling": "magic"},
            {**COMPRESS, "method": "decompose", "keep_fraction": 1},
            {**TRAIN, "method": "partial", "trained_fraction": 0},
            {**TRAIN, "method": "full", "rank": 8},
            {**TRAIN, "method": "lora", "mixture": {}},
            {"stage": "train", "method": "lora"},
        ],
    )
    def test_refuses(self, step):
        """Unknown methods and fields, and values out of range."""
        with pytest.raises(ValidationError):
            NicsOptions.model_validate({"steps": [step]})

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_field_of_its_own_is_explained(self, kind):
        """Docstrings of fields are the help; none is missing."""
        classes = {
            node.name: node for node in ast.parse(inspect.getsource(options)).body if isinstance(node, ast.ClassDef)
        }
        own = [name for base in kind.__mro__ if base.__name__ in classes for name in explained(classes[base.__name__])]
        assert set(own) | {"stage", "method"} == set(kind.model_fields)

    def test_options_cost_no_torch(self):
        """Only a step that runs pays for torch, also where layers are named."""
        code = (
            "import sys; from harness_nics.options import WidthStep;"
            "WidthStep(mlp_layers='4-27'); sys.exit('torch' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def explained(node):
    """The fields of a class that are followed by a string."""
    return [
        field.target.id
        for field, after in pairwise(node.body)
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    ]
