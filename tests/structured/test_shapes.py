"""Shapes that no stock class has: layers of different sizes, factorised and fused linears."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.structured.loading import load

HEAD_DIM = 16
CASES = ["llama", "llama-biased", "qwen2-tied", "qwen3", "phi", "phi-multi-head"]


@pytest.fixture(params=CASES)
def dense(request, dense_models):
    """A stock model of every kind of block."""
    return dense_models[request.param]


def units(record, index):
    layer = record["layers"][index]
    return layer["intermediate"], layer["kv_group"], layer["head"]


def keep(dense, state, record, index, *, intermediate, groups, heads):
    """Zero the columns of all other units in the dense state; return the state with these units alone."""
    block, (_, group_count, head_count) = record["block"], units(record, index)
    query = torch.arange(group_count * head_count * HEAD_DIM).view(group_count, head_count, HEAD_DIM)
    query = query[groups][:, :heads].flatten()
    key = torch.arange(group_count * HEAD_DIM).view(group_count, HEAD_DIM)[groups].flatten()
    rows = {block["query"]: query, block["key"]: key, block["value"]: key, block["up"]: intermediate}
    rows |= {block["gate"]: intermediate} if "gate" in block else {}
    columns = {block["output"]: query, block["down"]: intermediate}
    small = dict(state)
    for name, kept in rows.items():
        for leaf in ("weight", "bias"):
            if (path := f"model.layers.{index}.{name}.{leaf}") in small:
                small[path] = small[path][kept]
    for name, kept in columns.items():
        path = f"model.layers.{index}.{name}.weight"
        small[path] = small[path][:, kept]
        zeroed = torch.zeros_like(state[path])
        zeroed[:, kept] = state[path][:, kept]
        state[path] = zeroed
    record["layers"][index] |= {"intermediate": len(intermediate), "kv_group": len(groups), "head": heads}
    return small


def sliced(dense, choices):
    """The dense state with zeros, the small state and its record; ``choices`` has the units of each layer."""
    state, record = {name: part.clone() for name, part in dense.state.items()}, copy.deepcopy(dense.record)
    small = dict(state)
    for index, choice in enumerate(choices):
        before = dict(state)
        layer = keep(dense, state, record, index, **choice)
        small |= {name: part for name, part in layer.items() if name.startswith(f"model.layers.{index}.")}
        assert before.keys() == state.keys()
    return state, small, record


@st.composite
def layer_units(draw, group_count, head_count):
    """Units that a layer keeps: at least one of each kind."""
    groups = draw(st.sets(st.integers(0, group_count - 1), min_size=1))
    intermediate = draw(st.sets(st.integers(0, 95), min_size=1, max_size=96))
    return {
        "intermediate": torch.tensor(sorted(intermediate)),
        "groups": sorted(groups),
        "heads": draw(st.integers(1, head_count)),
    }


class TestSizesOfLayers:
    @settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_sliced_equals_masked(self, dense, tmp_path_factory, data):
        """Each layer with units of its own computes what the dense model computes with the others' columns at zero."""
        _, group_count, head_count = units(dense.record, 0)
        choices = [data.draw(layer_units(group_count, head_count)) for _ in dense.record["layers"]]
        state, small, record = sliced(dense, choices)
        masked = copy.deepcopy(dense.model)
        masked.load_state_dict(state, strict=False)
        model = load(dense.write(tmp_path_factory.mktemp("sliced"), state=small, record=record))
        assert sum(part.numel() for part in small.values()) == sum(part.numel() for part in model.parameters())
        difference = (dense.logits(model) - dense.logits(masked)).abs().max()
        assert difference < 5e-5

    def test_generates_with_a_cache_of_different_heads(self, dense, tmp_path, token_ids):
        """A cache takes as many heads as each layer has, and gives the same text as none."""
        _, group_count, head_count = units(dense.record, 0)
        every = torch.arange(96)
        choices = [
            {"intermediate": every[:7], "groups": [0], "heads": head_count},
            {"intermediate": every, "groups": list(range(group_count)), "heads": 1},
            {"intermediate": every[5:64], "groups": [1], "heads": 1},
        ]
        _, small, record = sliced(dense, choices)
        model = load(dense.write(tmp_path / "s", state=small, record=record))
        mask, options = torch.ones_like(token_ids), {"max_new_tokens": 8, "do_sample": False}
        expected = model.generate(token_ids, attention_mask=mask, use_cache=False, **options)
        for implementation in (None, "static"):
            found = model.generate(token_ids, attention_mask=mask, cache_implementation=implementation, **options)
            assert torch.equal(found, expected)

    def test_config_has_the_largest(self, dense, tmp_path):
        """Who reads only ``config.json`` plans for the largest layer."""
        choices = [{"intermediate": torch.arange(10 + i), "groups": [0], "heads": 1} for i in range(3)]
        _, small, record = sliced(dense, choices)
        config = load(dense.write(tmp_path / "s", state=small, record=record)).config
        assert (config.intermediate_size, config.num_key_value_heads, config.num_attention_heads) == (12, 1, 1)
        assert config.head_dim == HEAD_DIM


def factorise(state, path, rank=None):
    """``W`` as ``W`` and the identity, or as the product of the largest ``rank`` singular directions."""
    weight = state.pop(f"{path}.weight")
    if rank is None:
        first, second = weight, torch.eye(weight.shape[1])
    else:
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        first, second = left[:, :rank] * values[:rank], right[:rank]
    state |= {f"{path}.A.weight": first, f"{path}.B.weight": second}
    if f"{path}.bias" in state:
        state[f"{path}.A.bias"] = state.pop(f"{path}.bias")
    return first.shape[1]


class TestFactorised:
    def test_full_rank_equals_dense(self, dense, tmp_path):
        """Every linear as itself times the identity computes what it computed."""
        state, record = dict(dense.state), copy.deepcopy(dense.record)
        block = record["block"]
        names = [block[role] for role in ("query", "key", "value", "output", "gate", "up", "down") if role in block]
        for index, layer in enumerate(record["layers"]):
            layer["ranks"] = {name: factorise(state, f"model.layers.{index}.{name}") for name in names}
        model = load(dense.write(tmp_path / "s", state=state, record=record))
        assert (dense.logits(model) - dense.logits(dense.model)).abs().max() < 1e-5

    def test_low_rank_equals_the_product(self, dense, tmp_path):
        """One linear of one layer at rank 5 computes what its product as one matrix computes."""
        state, record, product = dict(dense.state), copy.deepcopy(dense.record), dict(dense.state)
        name = record["block"]["down"]
        path = f"model.layers.1.{name}"
        record["layers"][1]["ranks"] = {name: factorise(state, path, rank=5)}
        product[f"{path}.weight"] = state[f"{path}.A.weight"] @ state[f"{path}.B.weight"]
        model = load(dense.write(tmp_path / "a", state=state, record=record))
        whole = load(dense.write(tmp_path / "b", state=product))
        assert (dense.logits(model) - dense.logits(whole)).abs().max() < 2e-5
        assert (dense.logits(model) - dense.logits(dense.model)).abs().max() > 1e-2


def fuse(state, record, name, parts):
    """Concatenate the rows of ``parts`` in every layer."""
    record["fused"][name] = parts
    for index in range(len(record["layers"])):
        for leaf in ("weight", "bias"):
            paths = [f"model.layers.{index}.{part}.{leaf}" for part in parts]
            if paths[0] in state:
                state[f"model.layers.{index}.{name}.{leaf}"] = torch.cat([state.pop(path) for path in paths])


def fusions(block):
    attention = [block["query"], block["key"], block["value"]]
    mlp = [block["gate"], block["up"]] if "gate" in block else []
    yield {"self_attn.qkv_proj": attention}
    yield {"self_attn.mixed": attention[::-1]}
    yield {"self_attn.kv_proj": attention[1:]}
    yield {"self_attn.qkv_proj": attention} | ({"mlp.gate_up_proj": mlp} if mlp else {})


class TestFused:
    @pytest.mark.parametrize("choice", range(4))
    def test_fused_equals_unfused(self, dense, tmp_path, choice):
        """Several linears in one matrix compute what they computed apart, in any order of the rows."""
        state, record = dict(dense.state), copy.deepcopy(dense.record)
        for name, parts in list(fusions(record["block"]))[choice].items():
            fuse(state, record, name, parts)
        model = load(dense.write(tmp_path / "s", state=state, record=record))
        assert (dense.logits(model) - dense.logits(dense.model)).abs().max() < 1e-5

    def test_fused_and_factorised(self, dense, tmp_path):
        """A fused linear may be factorised, with its bias in A; it may be listed by its own name."""
        state, record = dict(dense.state), copy.deepcopy(dense.record)
        name = "self_attn.qkv_proj"
        for fused, parts in next(fusions(record["block"])).items():
            fuse(state, record, fused, parts)
            if parts[0] in record["biases"]:
                record["biases"] = [*(set(record["biases"]) - set(parts)), fused]
        for index, layer in enumerate(record["layers"]):
            layer["ranks"] = {name: factorise(state, f"model.layers.{index}.{name}")}
        model = load(dense.write(tmp_path / "s", state=state, record=record))
        assert (dense.logits(model) - dense.logits(dense.model)).abs().max() < 1e-5
