"""Surgery is exact: T0 to T5 of the dossier's rules, on tiny models of every architecture."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from harness.checkpoint.checkpoint import Checkpoint, read_config
from harness.checkpoint.reader import open_checkpoint
from harness.checkpoint.shards import read_layout
from harness.errors import CheckpointCorrupt, UsageError
from harness.surgery.anatomy import load
from harness.surgery.apply import apply
from harness.surgery.count import parameter_count
from harness.surgery.dimension import axes_of, kept_positions
from harness.surgery.plan import keep_all, plan_of

TOKENS = torch.arange(3, 43).reshape(2, 20)


def logits(model):
    with torch.no_grad():
        return model(input_ids=TOKENS).logits


def half_plan(config, axis):
    """Keep different halves in both layers."""
    anatomy = load(config)
    count = anatomy.sizes[axis]
    generator = np.random.default_rng(7)
    layers = [sorted(generator.choice(count, count // 2, replace=False)) for _ in range(anatomy.layer_count)]
    return anatomy, plan_of(anatomy, {axis: layers})


def zero_removed(tiny, folder, anatomy, plan, *, only=str):
    """A copy of the checkpoint in which the removed units of the tensors chosen by ``only`` are zero."""
    tensors = load_file(tiny.path / "model.safetensors")
    for name, tensor in anatomy.tensors.items():
        for place, dimension in enumerate(tensor.dimensions):
            keep = {axis: units for axis in plan.axes if (units := plan.kept(axis, tensor.layer)) is not None}
            if not axes_of(dimension) & keep.keys() or not only(name):
                continue
            positions = kept_positions(dimension, anatomy.sizes, keep)
            removed = np.setdiff1d(np.arange(tensors[name].shape[place]), positions)
            tensors[name].index_fill_(place, torch.from_numpy(removed), 0.0)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_bytes((tiny.path / "config.json").read_bytes())
    return folder


class TestKeepAll:
    def test_is_bit_exact(self, tiny, tmp_path):
        """T0: keeping everything changes no bit of the weights and no field but the explicit head_dim."""
        config = read_config(tiny.path)
        out = apply(tiny.path, keep_all(load(config)), tmp_path / "out")
        assert (out / "model.safetensors").read_bytes() == (tiny.path / "model.safetensors").read_bytes()
        assert read_config(out) == {**config, "head_dim": 16}

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_keeps_the_dtype(self, tmp_path, write_tiny, dtype):
        """FP16 stays FP16 and BF16 stays BF16, bit for bit."""
        source = write_tiny("qwen2", tmp_path / "source", dtype=dtype)
        out = apply(source, keep_all(load(read_config(source))), tmp_path / "out")
        assert (out / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()


class TestExactness:
    @pytest.mark.parametrize("axis", ["intermediate", "kv_group"])
    def test_masked_equals_sliced(self, tiny, tmp_path, axis):
        """T2: the full model with the removed units at zero computes what the sliced one does."""
        anatomy, plan = half_plan(read_config(tiny.path), axis)
        masked = tiny.load(zero_removed(tiny, tmp_path / "masked", anatomy, plan))
        sliced = tiny.load(apply(tiny.path, plan, tmp_path / "out"))
        torch.testing.assert_close(logits(sliced), logits(masked), atol=1e-5, rtol=1e-5)
        assert (logits(sliced) - logits(tiny.load())).abs().max() > 1e-3

    @pytest.mark.parametrize(
        ("axis", "exits"), [("intermediate", ("down_proj", "fc2")), ("kv_group", ("o_proj", "dense"))]
    )
    def test_units_without_effect_prune_losslessly(self, tiny, tmp_path, axis, exits):
        """T1 and T3: where only the way out of the removed units is zero, removing them changes no logit."""
        anatomy, plan = half_plan(read_config(tiny.path), axis)
        zeroed = zero_removed(
            tiny, tmp_path / "zeroed", anatomy, plan, only=lambda name: any(exit_ in name for exit_ in exits)
        )
        sliced = tiny.load(apply(zeroed, plan, tmp_path / "out"))
        torch.testing.assert_close(logits(sliced), logits(tiny.load(zeroed)), atol=1e-5, rtol=1e-5)


class TestResult:
    @settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(intermediate=st.integers(1, 96), groups=st.integers(1, 2))
    def test_count_equals_the_files(self, tiny, tmp_path, intermediate, groups):
        """T5: what was predicted is what lies on disk and what transformers loads."""
        config = read_config(tiny.path)
        plan = plan_of(load(config), {"intermediate": [range(intermediate)] * 2, "kv_group": [range(groups)] * 2})
        out = apply(tiny.path, plan, tmp_path / "out")
        predicted = parameter_count(config, plan)
        assert read_layout(out).parameter_count == predicted
        assert tiny.load(out).num_parameters() == predicted

    def test_round_trip_and_cached_generation(self, tiny, tmp_path):
        """T5: saved and loaded again it has the same logits, and generation with a cache equals generation without."""
        config = read_config(tiny.path)
        plan = plan_of(load(config), {"intermediate": [range(0, 96, 3)] * 2, "kv_group": [[1], [0]]})
        model = tiny.load(apply(tiny.path, plan, tmp_path / "out"))
        model.save_pretrained(tmp_path / "again")
        assert torch.equal(logits(model), logits(tiny.load(tmp_path / "again")))
        options = {"max_new_tokens": 8, "do_sample": False, "attention_mask": torch.ones_like(TOKENS)}
        cached = model.generate(TOKENS, use_cache=True, **options)
        assert torch.equal(cached, model.generate(TOKENS, use_cache=False, **options))

    def test_same_bytes_each_time(self, tiny, tmp_path):
        """The digest depends on source and plan alone."""
        _, plan = half_plan(read_config(tiny.path), "intermediate")
        first = Checkpoint.of(apply(tiny.path, plan, tmp_path / "a"))
        assert Checkpoint.of(apply(tiny.path, plan, tmp_path / "b")).digest == first.digest
        assert Checkpoint.of(apply(tiny.path, plan, tmp_path / "a")).digest == first.digest

    def test_other_files_are_copied_and_weights_are_not(self, tiny, tmp_path):
        """Tokenizer files go along; pickled weights, hidden files and folders do not."""
        source = tmp_path / "source"
        zero_removed(tiny, source, load(read_config(tiny.path)), keep_all(load(read_config(tiny.path))))
        for name in ("tokenizer.json", "pytorch_model.bin", ".hidden"):
            (source / name).write_text(name)
        (source / "original").mkdir()
        out = apply(source, keep_all(load(read_config(source))), tmp_path / "out")
        assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]

    def test_reads_shards(self, tiny, tmp_path):
        """A sharded source gives the same tensors as a single file."""
        tiny.load().save_pretrained(tmp_path / "sharded", max_shard_size="50KB")
        assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
        _, plan = half_plan(read_config(tiny.path), "kv_group")
        with (
            open_checkpoint(apply(tiny.path, plan, tmp_path / "a")) as one,
            open_checkpoint(apply(tmp_path / "sharded", plan, tmp_path / "b")) as many,
        ):
            names = {entry.name for entry in one.layout.tensors}
            assert names == {entry.name for entry in many.layout.tensors}
            assert all(np.array_equal(one.read(name), many.read(name)) for name in names)


class TestRefusal:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"intermediate_size": 95}, r"must be \[95, 64\] by config.json"),
            ({"num_hidden_layers": 3}, "is missing"),
            ({"num_hidden_layers": 1}, "is not part of"),
        ],
    )
    def test_configuration_and_weights_disagree(self, tmp_path, write_tiny, change, message):
        """A checkpoint that is not what its configuration says is not cut."""
        source = write_tiny("llama", tmp_path / "source")
        config = {**read_config(source), **change}
        (source / "config.json").write_text(json.dumps(config))
        with pytest.raises(CheckpointCorrupt, match=message):
            apply(source, keep_all(load(config)), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_plan_for_something_else(self, tmp_path, write_tiny):
        """Nothing is written for a plan that does not fit."""
        source = write_tiny("llama", tmp_path / "source")
        plan = keep_all(load(read_config(write_tiny("phi", tmp_path / "other"))))
        with pytest.raises(UsageError, match="plan is for a phi"):
            apply(source, plan, tmp_path / "out")
        assert not (tmp_path / "out").exists()
