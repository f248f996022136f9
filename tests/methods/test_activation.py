"""Scores from activations: the sums that one would write down, and what must hold of them whatever the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.methods import models
from harness.methods.activation import activation, coupled_linears, exit_linears, wanda
from harness.methods.calibration import CalibrationBatch, gather_statistics
from harness.methods.selection import keep_top
from harness.surgery.apply import apply
from harness.surgery.plan import plan_of
from tests.methods.scoring import (
    AXES,
    CASES,
    WAYS_OUT,
    make_batches,
    make_tiny,
    set_unit,
    structured,
    unit_slices,
)


@pytest.fixture(params=CASES)
def tiny(request):
    return make_tiny(request.param)


def gather(tiny, paths):
    return gather_statistics(tiny.model, paths, [CalibrationBatch(token_ids=each) for each in make_batches()])


def activations(tiny, axes=AXES, **options):
    return activation(tiny.anatomy, axes, gather(tiny, exit_linears(tiny.anatomy, axes)), **options)


def wandas(tiny, axes=AXES):
    return wanda(tiny.model, tiny.anatomy, axes, gather(tiny, coupled_linears(tiny.anatomy, axes)))


class TestLinears:
    def test_of_a_llama(self):
        """All that lose rows or columns; of these, the one that a unit leaves through."""
        anatomy = make_tiny("llama", layers=1).anatomy
        paths = [f"model.layers.0.{name}" for name in ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")]
        assert list(coupled_linears(anatomy, ["intermediate"])) == paths
        assert exit_linears(anatomy, ["intermediate"]) == ("model.layers.0.mlp.down_proj",)
        assert exit_linears(anatomy, ["kv_group", "head"]) == ("model.layers.0.self_attn.o_proj",)

    def test_refuse_axes_of_the_whole_model(self, tiny):
        """Hidden units have no layer."""
        for ask in (coupled_linears, exit_linears):
            with pytest.raises(ValueError, match="axis must be one of a layer's"):
                ask(tiny.anatomy, ["hidden"])


class TestActivation:
    def test_equals_what_units_hand_on(self, tiny):
        """Mean of |x| added up over a unit's columns of the way out, or the root mean square of their vector."""
        for layer in range(tiny.anatomy.layer_count):
            for axis in AXES:
                for unit, parts in enumerate(unit_slices(tiny.anatomy, axis, layer)):
                    (name, (_, columns)), *_ = [part for part in parts if part[0].split(".")[-2] in WAYS_OUT]
                    found = gather(tiny, [name.removesuffix(".weight")])[name.removesuffix(".weight")]
                    assert activations(tiny, [axis])[axis][layer][unit] == pytest.approx(
                        found.mean_magnitude[columns].sum()
                    )
                    assert activations(tiny, [axis], statistic="norm")[axis][layer][unit] == pytest.approx(
                        np.sqrt(found.second_moment[columns].sum())
                    )

    def test_a_unit_that_never_fires_goes_first_and_without_loss(self, tiny, tmp_path):
        """With the rows of up (fc1 and its bias) zero a channel hands on nothing on any token."""
        for layer in range(tiny.anatomy.layer_count):
            set_unit(tiny, "intermediate", layer, 4, 0.0, only=("up_proj", "fc1"))
        scores = activations(tiny, ["intermediate"])["intermediate"]
        assert [values[4] for values in scores] == [0, 0]
        keep = [keep_top(values, 9).tolist() for values in scores]
        assert all(4 not in units for units in keep)
        tiny.model.save_pretrained(tmp_path / "whole")
        cut = apply(tmp_path / "whole", plan_of(tiny.anatomy, {"intermediate": keep}), tmp_path / "cut")
        smaller, batch = models.load(cut, dtype=torch.float64), make_batches(1)[0]
        with torch.no_grad():
            torch.testing.assert_close(smaller(batch).logits, tiny.model(batch).logits, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("axis", AXES)
    def test_the_way_out_does_not_matter(self, tiny, axis):
        """A score is of what comes to the last linear, not of what that makes of it."""
        before = activations(tiny, [axis])[axis][1]
        set_unit(tiny, axis, 1, 0, 5.0, only=WAYS_OUT)
        np.testing.assert_allclose(activations(tiny, [axis])[axis][1], before, rtol=1e-12)

    def test_fused_and_factorised_are_the_same(self, tiny, tmp_path):
        """How linears are stored is not what they do."""
        found, expected = activations(structured(tiny, tmp_path)), activations(tiny)
        for axis in AXES:
            np.testing.assert_allclose(np.stack(found[axis]), np.stack(expected[axis]), rtol=1e-4)

    def test_refuses_statistics_of_other_linears(self, tiny):
        """It says of which."""
        with pytest.raises(ValueError, match=r"no statistics of model\.layers\.0\.self_attn"):
            activation(tiny.anatomy, ["head"], gather(tiny, exit_linears(tiny.anatomy, ["intermediate"])))


class TestWanda:
    def test_equals_the_definition(self, tiny):
        """|w| times the root mean square of its input, unit by unit; 1 is what a bias is multiplied with."""
        statistics = gather(tiny, coupled_linears(tiny.anatomy, AXES))
        found = wanda(tiny.model, tiny.anatomy, AXES, statistics)
        for axis in AXES:
            for layer in range(tiny.anatomy.layer_count):
                for unit, parts in enumerate(unit_slices(tiny.anatomy, axis, layer)):
                    total = 0.0
                    for name, index in parts:
                        weight = tiny.model.get_parameter(name).detach().abs()
                        if weight.ndim == 2:
                            scale = statistics[name.removesuffix(".weight")].root_mean_square
                            weight = weight * torch.from_numpy(scale)
                        total += float(weight[index].sum())
                    assert found[axis][layer][unit] == pytest.approx(total, rel=1e-9)

    def test_with_inputs_of_one_it_is_the_magnitude(self, tiny):
        """The L1 norm over all coupled tensors, as importance.magnitude has it."""
        statistics = gather(tiny, coupled_linears(tiny.anatomy, AXES))
        for each in statistics.values():
            each.second_moment[:] = 1
        found = wanda(tiny.model, tiny.anatomy, AXES, statistics)
        for axis in AXES:
            for unit, parts in enumerate(unit_slices(tiny.anatomy, axis, 1)):
                total = sum(float(tiny.model.get_parameter(name).detach()[index].abs().sum()) for name, index in parts)
                assert found[axis][1][unit] == pytest.approx(total, rel=1e-9)

    def test_repeating_the_texts_changes_nothing(self, tiny):
        """Scores do not grow with the number of tokens."""
        paths = coupled_linears(tiny.anatomy, AXES)
        batches = [CalibrationBatch(token_ids=each) for each in make_batches()]
        once, twice = (
            wanda(tiny.model, tiny.anatomy, AXES, gather_statistics(tiny.model, paths, texts))
            for texts in (batches, batches * 2)
        )
        for axis in AXES:
            np.testing.assert_allclose(np.stack(twice[axis]), np.stack(once[axis]), rtol=1e-9)

    def test_permuted_channels_permute_the_scores(self, tiny):
        """Channels have no order of their own."""
        before, order = wandas(tiny, ["intermediate"])["intermediate"], [3, 1, 4, 0, 9, 2, 6, 5, 8, 7]
        with torch.no_grad():
            for name, parameter in tiny.model.named_parameters():
                if name.split(".")[-2] in {"gate_proj", "up_proj", "fc1"}:
                    parameter.copy_(parameter[order])
                elif name.endswith(("down_proj.weight", "fc2.weight")):
                    parameter.copy_(parameter[:, order])
        np.testing.assert_allclose(
            np.stack(wandas(tiny, ["intermediate"])["intermediate"]), np.stack(before)[:, order], rtol=1e-9
        )

    def test_fused_linears_are_the_same(self, tiny, tmp_path):
        """Rows of a fused linear count for the units that they had before; layer 1 has no factorised linear."""
        found, expected = wandas(structured(tiny, tmp_path)), wandas(tiny)
        for axis in AXES:
            np.testing.assert_allclose(found[axis][1], expected[axis][1], rtol=1e-4)
