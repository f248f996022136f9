"""L1 scores equal the sums that one would write down for a layer, whatever the dtype and the chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.checkpoint.checkpoint import read_config
from harness.checkpoint.dtypes import to_float32
from harness.checkpoint.reader import open_checkpoint
from harness.methods import importance
from harness.methods.importance import magnitude
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
        from harness.checkpoint.reader import CheckpointReader

        in_one = CheckpointReader.chunks
        monkeypatch.setattr(CheckpointReader, "chunks", lambda self, name: in_one(self, name, chunk_bytes=700))
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


def test_absolute_sums_overwrite_their_input_only():
    """The widened copy is used as scratch; what was read is not touched."""
    stored = np.array([[-1, 2], [3, -4]], np.float16)
    assert importance.absolute_sums(to_float32(stored, "F16"), 0).tolist() == [3, 7]
    assert stored[0, 0] == -1
