"""Errors from moments are those of running the changed model; units that matter to nothing cost nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.checkpoint.checkpoint import read_config
from harness.methods import models
from harness.methods.calibration import CalibrationBatch
from harness.methods.fake_quantisation import fake_quantised
from harness.methods.sensitivity import stream_sensitivity, structured_sensitivity
from harness.methods.sparsity import magnitude_mask
from harness.surgery.anatomy import load
from harness.testing import write_tiny_checkpoint

PATH = "model.layers.1.mlp.down_proj"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return write_tiny_checkpoint("llama", tmp_path_factory.mktemp("llama") / "model")


@pytest.fixture(scope="module")
def batches():
    generator = torch.Generator().manual_seed(0)
    return [CalibrationBatch(token_ids=torch.randint(5, 261, (2, 24), generator=generator)) for _ in range(2)]


def measured(path, batches, change):
    """Mean squared error of the linear's output, found by running the model and ``change`` of its weight."""
    model = models.load(path)
    linear = model.get_submodule(PATH)
    inputs = []
    linear.register_forward_pre_hook(lambda _, given: inputs.append(given[0].detach().flatten(0, -2)))
    with torch.no_grad():
        for batch in batches:
            model(input_ids=batch.token_ids)
        every, weight = torch.cat(inputs), linear.weight.detach()
        return float((every @ (change(weight) - weight).T).square().mean())


class TestStreamSensitivity:
    def test_as_measured(self, llama, batches):
        """Zeros and bits alike, to rounding, and layers with their own numbers."""
        found = dict(stream_sensitivity(llama, [PATH], batches, sparsities=(0.5,), bits=(4,)))
        assert set(found) == {0, 1}
        (linear,) = found[1]
        expected = measured(llama, batches, lambda weight: weight * magnitude_mask(weight, 0.5))
        assert linear.by_sparsity[0.5] == pytest.approx(expected, rel=1e-4)
        expected = measured(llama, batches, lambda weight: fake_quantised(weight, 4))
        assert linear.by_bits[4] == pytest.approx(expected, rel=1e-4)

    def test_grows(self, llama, batches):
        """More zeros and fewer bits, more error; and all zeros lose the whole output."""
        ((linear,),) = [each for _, each in stream_sensitivity(llama, [PATH], batches, bits=(2, 4, 8)) if each]
        by_sparsity = [linear.by_sparsity[share] for share in sorted(linear.by_sparsity)]
        assert by_sparsity == sorted(by_sparsity)
        assert linear.by_bits[2] > linear.by_bits[4] > linear.by_bits[8]
        assert by_sparsity[-1] < linear.output


class TestStructuredSensitivity:
    def test_scores_are_measured_errors(self, llama, batches):
        """What a unit's score says is what its columns at zero do to the output."""
        anatomy = load(read_config(llama))
        found = structured_sensitivity(llama, anatomy, ("intermediate",), batches)

        def without(weight):
            left = weight.clone()
            left[:, 7] = 0
            return left

        assert found.scores["intermediate"][1][7] == pytest.approx(measured(llama, batches, without), rel=1e-4)

    def test_all_units_are_the_whole_output(self, llama, batches):
        """Relative errors end at one, so that scales of layers do not matter; KV groups as well."""
        anatomy = load(read_config(llama))
        found = structured_sensitivity(
            llama, anatomy, ("kv_group", "intermediate"), batches, sparsities=(1.0,), relative=True
        )
        for by_layer in found.errors.values():
            assert list(by_layer.values()) == pytest.approx([1.0, 1.0])
        assert [len(each) for each in found.scores["kv_group"]] == [2, 2]

    def test_curves(self, llama, batches):
        """From nothing to the whole output; the first step is the score of the lowest unit."""
        anatomy = load(read_config(llama))
        found = structured_sensitivity(llama, anatomy, ("intermediate",), batches, relative=True)
        plain = structured_sensitivity(llama, anatomy, ("intermediate",), batches)
        for layer, curve in found.curves["intermediate"].items():
            assert len(curve) == len(found.scores["intermediate"][layer]) + 1
            assert (curve[0], curve[-1]) == pytest.approx((0.0, 1.0))
            lowest = found.scores["intermediate"][layer].min()
            assert plain.curves["intermediate"][layer][1] == pytest.approx(lowest)

    def test_an_axis_without_a_way_out(self, llama, batches):
        """Nothing is guessed for it."""
        with pytest.raises(ValueError, match="leave each layer"):
            structured_sensitivity(llama, load(read_config(llama)), ("hidden",), batches)

    def test_finite(self, llama, batches):
        """Every score is a number, so that budgets can be met."""
        found = structured_sensitivity(llama, load(read_config(llama)), ("kv_group",), batches)
        assert all(np.isfinite(each).all() for each in found.scores["kv_group"])
