"""Every kind of cut, alone and mixed: what was counted is what is written, and what stays computes what it did."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from harness.checkpoint.checkpoint import read_config, read_described_config
from harness.checkpoint.shards import read_layout
from harness.checkpoint.structure import MODELING_NAME, STRUCTURE_NAME
from harness.errors import UsageError
from harness.methods.models import load as load_model
from harness.surgery.anatomy import load
from harness.surgery.apply import apply
from harness.surgery.count import tensor_shapes, weigh
from harness.surgery.plan import Plan, keep_all, plan_of
from harness.surgery.shape import is_stock
from tests.surgery.plans import by_svd, plans

TOKENS = torch.arange(3, 43).reshape(2, 20)
QUIET = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def logits(path, tokens=TOKENS):
    with torch.no_grad():
        return load_model(path)(input_ids=tokens).logits


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


def changed_copy(source, folder, change, **fields):
    """A copy of a checkpoint with tensors changed by ``change(name, tensor)`` and configuration fields set."""
    folder.mkdir()
    tensors = load_file(source / "model.safetensors")
    save_file(
        {name: change(name, tensor).contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps({**read_config(source), **fields}))
    return folder


class TestAnyPlan:
    @QUIET
    @given(data=st.data())
    def test_counted_is_written(self, tiny, tmp_path, data):
        """For any mixture of cuts the predicted shapes, parameters and bytes are the files'."""
        config = read_config(tiny.path)
        plan = data.draw(plans(load(config)))
        out = apply(tiny.path, plan, tmp_path / "out", factorise=by_svd)
        entries = {entry.name: entry for entry in read_layout(out).tensors}
        described = read_described_config(out)
        assert {name: entry.shape for name, entry in entries.items()} == tensor_shapes(load(described))
        assert sum(entry.element_count for entry in entries.values()) == weigh(config, plan).parameter_count
        assert sum(entry.size_bytes for entry in entries.values()) == weigh(config, plan).weights_bytes("F32")
        assert (out / STRUCTURE_NAME).exists() == (out / MODELING_NAME).exists() == (not is_stock(described))

    @QUIET
    @given(data=st.data())
    def test_loads_and_computes(self, tiny, tmp_path, data):
        """The result of any plan loads strictly and gives finite logits of the kept vocabulary."""
        plan = data.draw(plans(load(read_config(tiny.path))))
        out = apply(tiny.path, plan, tmp_path / "out", factorise=by_svd)
        vocabulary = load(read_described_config(out)).sizes["vocab"]
        found = logits(out, torch.arange(6).reshape(1, 6) % vocabulary)
        assert found.shape[-1] == vocabulary
        assert torch.isfinite(found).all()

    @QUIET
    @given(data=st.data())
    def test_file_round_trip(self, tiny, tmp_path, data):
        """A plan survives its file."""
        plan = data.draw(plans(load(read_config(tiny.path))))
        plan.write(tmp_path / "plan.json")
        assert Plan.read(tmp_path / "plan.json") == plan


class TestLayers:
    def test_dropped_layers_are_skipped(self, tiny, tmp_path):
        """The second layer alone computes what the model without its first one does, numbered from zero."""
        anatomy = load(read_config(tiny.path))
        out = apply(tiny.path, plan_of(anatomy, {"layer": [[1]]}), tmp_path / "out")
        model = tiny.load()
        model.model.layers = model.model.layers[1:]
        model.model.layers[0].self_attn.layer_idx = 0
        model.config.num_hidden_layers = 1
        with torch.no_grad():
            close(logits(out), model(input_ids=TOKENS, use_cache=False).logits)
        assert any(name.startswith("model.layers.0.") for name in load_file(out / "model.safetensors"))


class TestHeads:
    def test_query_heads_within_groups(self, tiny, tmp_path):
        """Heads whose way out is zero can go from every group."""
        anatomy = load(read_config(tiny.path))
        if anatomy.sizes["head"] == 1:
            pytest.skip("one query head a group")
        plan = plan_of(anatomy, {"head": [[1], [0]]})
        output, head_dim = anatomy.table.block.output, anatomy.sizes["head_dim"]

        def silence(name, tensor):
            if name.endswith(f"{output}.weight"):
                layer = int(name.split(".")[2])
                grid = tensor.view(len(tensor), -1, anatomy.sizes["head"], head_dim)
                grid[:, :, layer] = 0  # layer 0 loses head 0, layer 1 loses head 1
            return tensor

        source = changed_copy(tiny.path, tmp_path / "silent", silence)
        close(logits(apply(source, plan, tmp_path / "out")), logits(source))


class TestHidden:
    def test_silent_units_go_losslessly(self, tmp_path, write_tiny):
        """T4: residual units that are always zero can go; RMSNorm is rescaled for those that it no longer counts."""
        source = write_tiny("llama", tmp_path / "source")
        gone = torch.arange(3, 64, 4)

        def silence(name, tensor):
            if name == "model.embed_tokens.weight":
                tensor[:, gone] = 0
            if "o_proj" in name or "down_proj" in name:
                tensor[gone] = 0
            return tensor

        silent = changed_copy(source, tmp_path / "silent", silence, rms_norm_eps=1e-12)
        kept = sorted(set(range(64)) - set(gone.tolist()))
        plan = plan_of(load(read_config(silent)), {"hidden": [kept]})
        close(logits(apply(silent, plan, tmp_path / "out")), logits(silent))
        bare = apply(silent, plan.model_copy(update={"rescale_norms": False}), tmp_path / "bare")
        assert (logits(bare) - logits(silent)).abs().max() > 1e-3


class TestVocabulary:
    def test_kept_tokens_keep_their_logits(self, tiny, tmp_path):
        """The logits of the kept tokens, for inputs of kept tokens, do not change."""
        config = read_config(tiny.path)
        kept = [0, 1, 2, *range(7, 300, 3)]
        for field in ("bos_token_id", "eos_token_id", "pad_token_id"):
            assert config[field] in kept
        source = changed_copy(tiny.path, tmp_path / "source", lambda _name, tensor: tensor)
        out = apply(source, plan_of(load(config), {"vocab": [kept]}), tmp_path / "out")
        new = torch.arange(len(kept))[5:45].reshape(2, 20)
        old = torch.tensor(kept)[new]
        close(logits(out, new), logits(tiny.path, old)[..., kept])


class TestFused:
    def test_fused_and_parted_again(self, tiny, tmp_path):
        """Concatenated linears compute the same; parted again, the files have the same bytes."""
        anatomy = load(read_config(tiny.path))
        names = tuple(fusion.name for fusion in anatomy.table.fusions)
        fused = apply(tiny.path, plan_of(anatomy, {}, fused=names), tmp_path / "fused")
        close(logits(fused), logits(tiny.path))
        back = apply(fused, plan_of(load(read_described_config(fused)), {}, fused=()), tmp_path / "back")
        again, before = load_file(back / "model.safetensors"), load_file(tiny.path / "model.safetensors")
        assert again.keys() == before.keys()
        assert all(torch.equal(again[name], before[name]) for name in before)
        assert not (back / STRUCTURE_NAME).exists()

    def test_cut_while_fused(self, tiny, tmp_path):
        """Cutting a fused checkpoint is fusing the cut one."""
        anatomy = load(read_config(tiny.path))
        names = tuple(fusion.name for fusion in anatomy.table.fusions)
        keep = {"intermediate": [range(0, 96, 2), range(60)], "kv_group": [[1], [0]]}
        fused = apply(tiny.path, plan_of(anatomy, {}, fused=names), tmp_path / "fused")
        first = apply(fused, plan_of(load(read_described_config(fused)), keep), tmp_path / "a")
        second = apply(tiny.path, plan_of(anatomy, keep, fused=names), tmp_path / "b")
        left, right = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left)


class TestFactorised:
    def test_full_rank_computes_the_same(self, tiny, tmp_path):
        """At full rank every linear may be two."""
        anatomy = load(read_config(tiny.path))
        shapes = {tensor.module: tensor.shape(anatomy.sizes) for tensor in anatomy.linears(0)}
        ranks = {module: (min(shape),) * 2 for module, shape in shapes.items()}
        out = apply(tiny.path, plan_of(anatomy, {}, ranks=ranks), tmp_path / "out", factorise=by_svd)
        torch.testing.assert_close(logits(out), logits(tiny.path), atol=1e-3, rtol=1e-3)

    def test_dense_again(self, tiny, tmp_path):
        """Multiplied out, a factorised linear is its product, and all-dense is a stock checkpoint."""
        anatomy = load(read_config(tiny.path))
        module = anatomy.table.block.down
        factored = apply(
            tiny.path, plan_of(anatomy, {}, ranks={module: (5, None)}), tmp_path / "factored", factorise=by_svd
        )
        dense = plan_of(load(read_described_config(factored)), {}, ranks={module: (0, None)})
        out = apply(factored, dense, tmp_path / "dense")
        pair, single = load_file(factored / "model.safetensors"), load_file(out / "model.safetensors")
        name = f"model.layers.0.{module}"
        torch.testing.assert_close(single[f"{name}.weight"], pair[f"{name}.A.weight"] @ pair[f"{name}.B.weight"])
        assert not (out / STRUCTURE_NAME).exists()

    def test_cut_while_factorised(self, tiny, tmp_path):
        """Cutting channels of a factorised linear removes columns of B and leaves A alone."""
        module = load(read_config(tiny.path)).table.block.down
        anatomy = load(read_config(tiny.path))
        factored = apply(
            tiny.path, plan_of(anatomy, {}, ranks={module: (5, 7)}), tmp_path / "factored", factorise=by_svd
        )
        kept = list(range(0, 96, 3))
        plan = plan_of(load(read_described_config(factored)), {"intermediate": [kept] * 2})
        before, after = (
            load_file(each / "model.safetensors") for each in (factored, apply(factored, plan, tmp_path / "o"))
        )
        name = f"model.layers.1.{module}"
        assert torch.equal(after[f"{name}.A.weight"], before[f"{name}.A.weight"])
        assert torch.equal(after[f"{name}.B.weight"], before[f"{name}.B.weight"][:, kept])

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"ranks": {"mlp.up_proj": (65, 65)}}, r"rank must be in 1\.\.64, found 65"),
            ({"ranks": {"mlp.down_proj": (4, 4)}}, "factorised at rank 5; make it dense first"),
            ({"ranks": {"mlp.middle": (4, 4)}}, "no linear 'mlp.middle'"),
            ({"fused": ("self_attn.qkv_proj",), "ranks": {"self_attn.q_proj": (4, 4)}}, "no linear"),
        ],
    )
    def test_contradictions(self, tmp_path, write_tiny, fields, message):
        """A second rank, an unknown linear and a linear that the same plan fuses away are refused."""
        source = write_tiny("llama", tmp_path / "source")
        first = plan_of(load(read_config(source)), {}, ranks={"mlp.down_proj": (5, 5)})
        factored = apply(source, first, tmp_path / "factored", factorise=by_svd)
        with pytest.raises(UsageError, match=message):
            apply(factored, plan_of(load(read_described_config(factored)), {}, **fields), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_no_method(self, tmp_path, write_tiny):
        """Ranks without a method to make factors are an error that leaves nothing behind."""
        source = write_tiny("llama", tmp_path / "source")
        with pytest.raises(UsageError, match="no method to factorise"):
            apply(source, plan_of(load(read_config(source)), {}, ranks={"mlp.down_proj": (5, 5)}), tmp_path / "out")
        assert [path.name for path in tmp_path.iterdir()] == ["source"]


class TestHalf:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_dtype_of_computed_tensors(self, tmp_path, write_tiny, dtype):
        """Factors and rescaled norms are stored in the dtype of what they were made from."""
        source = write_tiny("qwen2", tmp_path / "source", dtype=dtype)
        plan = plan_of(load(read_config(source)), {"hidden": [range(48)]}, ranks={"mlp.up_proj": (8, 8)})
        out = apply(source, plan, tmp_path / "out", factorise=by_svd)
        assert {tensor.dtype for tensor in load_file(out / "model.safetensors").values()} == {dtype}
        assert np.isclose(
            load_file(out / "model.safetensors")["model.norm.weight"][0].item(), (64 / 48) ** 0.5, atol=1e-2
        )

    def test_keep_all_of_a_structured_checkpoint(self, tiny, tmp_path):
        """T0 holds for structured checkpoints: same files, bit for bit."""
        anatomy = load(read_config(tiny.path))
        ragged = apply(tiny.path, plan_of(anatomy, {"intermediate": [range(64), range(32)]}), tmp_path / "ragged")
        again = apply(ragged, keep_all(load(read_described_config(ragged))), tmp_path / "again")
        names = sorted(path.name for path in ragged.iterdir())
        assert names == sorted(path.name for path in again.iterdir())
        assert all((ragged / name).read_bytes() == (again / name).read_bytes() for name in names)
