"""A recipe is understood or refused before anything heavy runs."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise

import pytest
from harness_baseline_l1 import options
from harness_baseline_l1.options import BaselineOptions, FullStep, LoraStep, PruneStep
from pydantic import ValidationError

TRAIN = {"stage": "train", "learning_rate": 1e-3, "optimizer_steps": 1}


class TestBaselineOptions:
    @pytest.mark.parametrize(
        ("step", "kind"),
        [
            ({"stage": "compress", "method": "l1"}, PruneStep),
            ({**TRAIN, "method": "lora"}, LoraStep),
            ({**TRAIN, "method": "full"}, FullStep),
        ],
    )
    def test_the_method_decides_the_fields(self, step, kind):
        """Each method has a class of its own."""
        assert type(BaselineOptions.model_validate({"steps": [step]}).steps[0]) is kind

    @pytest.mark.parametrize(
        "step",
        [
            {"stage": "compress", "method": "l2"},
            {"stage": "train", "method": "l1"},
            {"stage": "compress", "method": "l1", "axes": ["hidden"]},
            {"stage": "compress", "method": "l1", "aggregation": "max"},
            {"stage": "compress", "method": "l1", "round_to": 0},
            {**TRAIN, "method": "full", "rank": 8},
            {**TRAIN, "method": "lora", "rank": 0},
            {**TRAIN, "method": "lora", "learning_rate": float("nan")},
            {**TRAIN, "method": "lora", "mixture": {}},
            {**TRAIN, "method": "lora", "mixture": {"c4": 0}},
            {**TRAIN, "method": "lora", "dropout": 1},
            {"stage": "train", "method": "lora"},
        ],
    )
    def test_refuses(self, step):
        """Unknown methods and fields, and values out of range."""
        with pytest.raises(ValidationError):
            BaselineOptions.model_validate({"steps": [step]})

    @pytest.mark.parametrize("kind", [PruneStep, LoraStep, FullStep])
    def test_every_field_of_its_own_is_explained(self, kind):
        """Docstrings of fields are the help; none is missing."""
        classes = {
            node.name: node for node in ast.parse(inspect.getsource(options)).body if isinstance(node, ast.ClassDef)
        }
        own = [name for base in kind.__mro__ if base.__name__ in classes for name in explained(classes[base.__name__])]
        assert set(own) | {"stage", "method"} == set(kind.model_fields)


def explained(node):
    """The fields of a class that are followed by a string."""
    return [
        field.target.id
        for field, after in pairwise(node.body)
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    ]
