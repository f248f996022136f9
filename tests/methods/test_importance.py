"""Scores equal the sums that one would write down for a layer, whatever the dtype and the chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.checkpoint.checkpoint import read_config
from harness.checkpoint.reader import open_checkpoint
from harness.methods import importance
from harness.methods.importance import magnitude, magnitudes
from harness.surgery.anatomy import load


def scores(path, axis, layer=1, **options):
    with open_checkpoint(path) as reader:
        return magnitude(reader, load(read_config(path)), axis, layer, **options)


def layer_tensors(path, part):
    prefix = f"model.layers.1.{part}."
    tensors = load_file(path / "model.safetensors")
    return {name.removeprefix(prefix): tensor.double() for name, tensor in tensors.items() if name.startswith(prefix)}


def rewritten(path, folder, change):
    """A copy of the checkpoint with its tensors changed."""
    folder.mkdir()
    tensors = {name: change(name, tensor) for name, tensor in load_file(path / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_bytes((path / "config.json").read_bytes())
    return folder


class TestMagnitude:
    def test_channels(self, tiny_checkpoint):
        """gate and up rows with the down column; fc1 rows with their bias and the fc2 column."""
        t = layer_tensors(tiny_checkpoint, "mlp")
        if "fc1.weight" in t:
            expected = t["fc1.weight"].abs().sum(1) + t["fc1.bias"].abs() + t["fc2.weight"].abs().sum(0)
        else:
            rows = t["gate_proj.weight"].abs() + t["up_proj.weight"].abs()
            expected = rows.sum(1) + t["down_proj.weight"].abs().sum(0)
        np.testing.assert_allclose(scores(tiny_checkpoint, "intermediate"), expected.numpy(), rtol=1e-6)

    def test_kv_groups(self, tiny_checkpoint):
        """k and v rows, the rows of all the group's query heads and the columns that follow them, with biases."""
        t = layer_tensors(tiny_checkpoint, "self_attn")
        groups = read_config(tiny_checkpoint)["num_key_value_heads"]
        expected = torch.zeros(groups, dtype=torch.float64)
        for name, tensor in t.items():
            is_exit = name.split(".")[0] in {"o_proj", "dense"}
            if not (is_exit and name.endswith("bias")):
                flat = tensor.abs().T if is_exit else tensor.abs()
                expected += flat.reshape(groups, -1).sum(1)
        np.testing.assert_allclose(scores(tiny_checkpoint, "kv_group"), expected.numpy(), rtol=1e-6)

    def test_mean_weighs_tensors_alike(self, tiny_checkpoint):
        """The mean of |w| over a tensor's part of each group, added up over q, k, v and o."""
        groups = read_config(tiny_checkpoint)["num_key_value_heads"]
        expected = torch.zeros(groups, dtype=torch.float64)
        for name, tensor in layer_tensors(tiny_checkpoint, "self_attn").items():
            is_exit = name.split(".")[0] in {"o_proj", "dense"}
            if not (is_exit and name.endswith("bias")):
                flat = tensor.abs().T if is_exit else tensor.abs()
                expected += flat.reshape(groups, -1).mean(1)
        np.testing.assert_allclose(scores(tiny_checkpoint, "kv_group", aggregation="mean"), expected.numpy(), rtol=1e-6)

    @pytest.mark.parametrize("axis", ["intermediate", "kv_group"])
    @pytest.mark.parametrize("aggregation", ["sum", "mean"])
    def test_scaling_all_weights_keeps_the_ranking(self, tiny_checkpoint, tmp_path, axis, aggregation):
        """Twice the weights, twice the scores."""
        doubled = rewritten(tiny_checkpoint, tmp_path / "doubled", lambda _, tensor: tensor * 2)
        np.testing.assert_allclose(
            scores(doubled, axis, aggregation=aggregation),
            2 * scores(tiny_checkpoint, axis, aggregation=aggregation),
            rtol=1e-12,
        )

    def test_adding_to_a_channel_raises_it_alone(self, tiny_checkpoint, tmp_path):
        """Larger magnitudes in one row raise that unit's score and no other."""

        def enlarge(name, tensor):
            if name in {"model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.fc1.weight"}:
                tensor[5] += torch.sign(tensor[5])
            return tensor

        change = scores(rewritten(tiny_checkpoint, tmp_path / "x", enlarge), "intermediate") - scores(
            tiny_checkpoint, "intermediate"
        )
        assert change[5] > 60
        assert np.abs(np.delete(change, 5)).max() == 0

    @pytest.mark.parametrize("axis", ["intermediate", "kv_group"])
    def test_chunks_do_not_matter(self, tiny_checkpoint, axis, monkeypatch):
        """Read a few rows at a time, the sums are the same."""
        whole = scores(tiny_checkpoint, axis)
        monkeypatch.setattr(importance, "CHUNK_BYTES", 700)
        np.testing.assert_allclose(scores(tiny_checkpoint, axis), whole, rtol=1e-6)

    def test_large_half_precision_rows_do_not_overflow(self, tiny_checkpoint, tmp_path):
        """Sums beyond what FP16 can hold are exact: widening comes before adding."""
        large = rewritten(tiny_checkpoint, tmp_path / "large", lambda _, tensor: torch.full_like(tensor, 60000.0))
        found = scores(large, "intermediate")
        assert np.isfinite(found).all()
        assert found[0] >= 2 * 64 * 60000

    def test_brain_float(self, tiny_checkpoint, tmp_path):
        """BF16 weights score by their values, not by their bits."""
        brain = rewritten(tiny_checkpoint, tmp_path / "brain", lambda _, tensor: tensor.bfloat16())
        np.testing.assert_allclose(scores(brain, "kv_group"), scores(tiny_checkpoint, "kv_group"), rtol=1e-2)

    @pytest.mark.parametrize("axis", ["intermediate", "kv_group"])
    def test_order_2_is_the_norm(self, tiny_checkpoint, tmp_path, axis):
        """The root of the sum of squares: the L1 score of squared weights, rooted. FP64, so that squares are exact."""
        wide = rewritten(tiny_checkpoint, tmp_path / "wide", lambda _, tensor: tensor.double())
        squared = rewritten(wide, tmp_path / "squared", lambda _, tensor: tensor**2)
        np.testing.assert_allclose(scores(wide, axis, order=2) ** 2, scores(squared, axis), rtol=1e-6)

    def test_order_2_with_mean(self, tiny_checkpoint, tmp_path):
        """Weights of one magnitude: the root of as many means as there are tensors."""
        ones = rewritten(tiny_checkpoint, tmp_path / "ones", lambda _, tensor: torch.full_like(tensor, -0.5))
        tensor_count = len(load(read_config(ones)).coupled("intermediate", 1))
        found = scores(ones, "intermediate", order=2, aggregation="mean")
        np.testing.assert_allclose(found, 0.5 * tensor_count**0.5, rtol=1e-6)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_wider_dtypes(self, tiny_checkpoint, tmp_path, dtype):
        """The same values in wider types have the same scores."""
        wide = rewritten(tiny_checkpoint, tmp_path / "wide", lambda _, tensor: tensor.to(dtype))
        np.testing.assert_allclose(scores(wide, "kv_group"), scores(tiny_checkpoint, "kv_group"), rtol=1e-12)

    def test_integers_are_refused(self, tiny_checkpoint, tmp_path):
        """Integer tensors have no magnitudes to compare."""
        integers = rewritten(tiny_checkpoint, tmp_path / "integers", lambda _, tensor: tensor.to(torch.int16))
        with pytest.raises(ValueError, match="dtype must be one of F16, BF16, F32, F64, got I16"):
            scores(integers, "kv_group")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    @pytest.mark.parametrize("order", [1, 2])
    def test_a_broken_weight_shows(self, tiny_checkpoint, tmp_path, value, order):
        """A weight that is not finite makes its unit's score not finite, and no other's."""

        def spoil(name, tensor):
            if name in {"model.layers.1.mlp.down_proj.weight", "model.layers.1.mlp.fc2.weight"}:
                tensor[3, 7] = value
            return tensor

        found = scores(rewritten(tiny_checkpoint, tmp_path / "x", spoil), "intermediate", order=order)
        assert np.flatnonzero(~np.isfinite(found)).tolist() == [7]


class TestMagnitudes:
    @pytest.mark.parametrize("order", [1, 2])
    @pytest.mark.parametrize("aggregation", ["sum", "mean"])
    def test_several_axes_at_once(self, tiny_checkpoint, order, aggregation):
        """As each axis alone, to the bit."""
        anatomy, axes = load(read_config(tiny_checkpoint)), ("intermediate", "kv_group", "head", "hidden")
        with open_checkpoint(tiny_checkpoint) as reader:
            found = magnitudes(reader, anatomy, axes, 1, order=order, aggregation=aggregation)
            for axis in axes:
                alone = magnitude(reader, anatomy, axis, 1, order=order, aggregation=aggregation)
                np.testing.assert_array_equal(found[axis], alone)
                assert len(alone) == anatomy.sizes[axis]

    def test_each_tensor_is_read_once(self, tiny_checkpoint, monkeypatch):
        """Though rows are units of one axis and columns of another; other layers are not touched."""
        from harness.checkpoint.reader import CheckpointReader

        inner, names = CheckpointReader.chunks_into, []

        def watched(self, name, buffer):
            names.append(name)
            return inner(self, name, buffer)

        monkeypatch.setattr(CheckpointReader, "chunks_into", watched)
        anatomy = load(read_config(tiny_checkpoint))
        with open_checkpoint(tiny_checkpoint) as reader:
            magnitudes(reader, anatomy, ("kv_group", "head", "hidden"), 1)
        expected = {tensor.name for axis in ("kv_group", "head", "hidden") for tensor in anatomy.coupled(axis, 1)}
        assert sorted(names) == sorted(expected)

    def test_columns_of_every_dimension(self, tiny_checkpoint):
        """Hidden units: rows of what writes to the residual stream, columns of what reads from it, norms."""
        with open_checkpoint(tiny_checkpoint) as reader:
            anatomy = load(read_config(tiny_checkpoint))
            found = magnitude(reader, anatomy, "hidden", 1)
            expected = np.zeros(64)
            for tensor in anatomy.coupled("hidden", 1):
                weights = np.abs(reader.read(tensor.name).astype(np.float64))
                has_rows = tensor.dimensions[0] == (("hidden",),)
                expected += weights.reshape(64, -1).sum(1) if has_rows else weights.sum(0)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
