"""Taylor scores against slow loops, finite differences and what must be zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.methods import models
from harness.methods.selection import keep_top
from harness.surgery.apply import apply
from harness.surgery.plan import plan_of
from tests.methods.scoring import (
    AXES,
    CASES,
    ORDERS,
    WAYS_OUT,
    make_batches,
    make_tiny,
    mean_loss,
    next_token_loss,
    set_unit,
    taylor_scores,
    unit_slices,
)


@pytest.fixture(params=CASES)
def tiny(request):
    return make_tiny(request.param)


def gradients(tiny, batches):
    """Of every batch, every parameter's gradient."""
    found = []
    for batch in batches:
        tiny.model.zero_grad()
        next_token_loss(tiny.model, batch).backward()
        found.append({name: parameter.grad.clone() for name, parameter in tiny.model.named_parameters()})
    tiny.model.zero_grad(set_to_none=True)
    return found


def slow(tiny, axis, layer, order, batches):
    """The definition, unit by unit, in loops."""
    each = gradients(tiny, batches)
    weights = dict(tiny.model.named_parameters())
    scores = []
    for parts in unit_slices(tiny.anatomy, axis, layer):
        total = 0.0
        for name, index in parts:
            w = weights[name].detach()[index]
            g = sum(gradient[name][index] for gradient in each) / len(each)
            h = sum(gradient[name][index] ** 2 for gradient in each) / len(each)
            along = w.ndim - 1 if not isinstance(index, tuple) else 0
            summed = (w * g).sum(along) if w.ndim > 1 else w * g
            values = {
                "first": (w * g).abs(),
                "vectorized": summed.abs(),
                "unit": w * g,
                "second": w * h * w,
                "mixed": (w * g - 0.5 * w * h * w).abs(),
            }[order]
            total += float(values.sum())
        scores.append(abs(total))
    return np.array(scores)


def permuted(tiny, layer, order):
    """The same function with the channels of one layer in another order."""
    copy = make_tiny(tiny.anatomy.table.model_type)
    copy.model.load_state_dict(tiny.model.state_dict())
    with torch.no_grad():
        for name, parameter in copy.model.named_parameters():
            module = name.split(".")[-2]
            if f".layers.{layer}." in name and module in {"gate_proj", "up_proj", "fc1"}:
                parameter.copy_(parameter[order])
            elif name.endswith((f"{layer}.mlp.down_proj.weight", f"{layer}.mlp.fc2.weight")):
                parameter.copy_(parameter[:, order])
    return copy


class TestOrders:
    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("axis", AXES)
    def test_equals_the_definition(self, tiny, axis, order):
        """Unit by unit in a slow loop, biases included; a KV group has the query heads that read it."""
        found = taylor_scores(tiny, (axis,), order=order)[axis]
        assert len(found) == tiny.anatomy.layer_count
        for layer, values in enumerate(found):
            np.testing.assert_allclose(values, slow(tiny, axis, layer, order, make_batches()), rtol=1e-9, atol=1e-15)

    def test_summing_later_never_makes_more(self, tiny):
        """|sum over the unit| <= sum of |sum over rows| <= sum of |each weight|."""
        unit, vectorized, first = (taylor_scores(tiny, order=order) for order in ("unit", "vectorized", "first"))
        for axis in AXES:
            for layer in range(tiny.anatomy.layer_count):
                assert (unit[axis][layer] <= vectorized[axis][layer] + 1e-12).all()
                assert (vectorized[axis][layer] <= first[axis][layer] + 1e-12).all()

    @pytest.mark.parametrize("order", ["first", "vectorized", "unit"])
    def test_first_order_does_not_see_how_the_texts_are_batched(self, tiny, order):
        """The gradient of a mean of equal batches is the mean of their gradients."""
        batches = make_batches(4)
        whole = taylor_scores(tiny, batches=[torch.cat(batches)], order=order)
        parts = taylor_scores(tiny, batches=batches, order=order)
        for axis in AXES:
            np.testing.assert_allclose(np.stack(parts[axis]), np.stack(whole[axis]), rtol=1e-9)

    def test_second_order_grows_where_batches_disagree(self, tiny):
        """The mean of squares is at least the square of the mean; equal where all batches are the same."""
        batches = make_batches(4)
        one, four = (taylor_scores(tiny, batches=each, order="second") for each in ([torch.cat(batches)], batches))
        same = taylor_scores(tiny, batches=[torch.cat(batches)] * 3, order="second")
        for axis in AXES:
            assert (np.stack(four[axis]) >= np.stack(one[axis]) - 1e-15).all()
            np.testing.assert_allclose(np.stack(same[axis]), np.stack(one[axis]), rtol=1e-9)

    @pytest.mark.parametrize(("order", "power"), [("first", 1), ("vectorized", 1), ("unit", 1), ("second", 2)])
    def test_scales_with_the_loss(self, tiny, order, power):
        """Twice the loss, twice the first order and four times the second: no ranking hangs on its unit."""
        once = taylor_scores(tiny, order=order)
        twice = taylor_scores(tiny, loss=lambda *inputs: 2 * next_token_loss(*inputs), order=order)
        for axis in AXES:
            np.testing.assert_allclose(np.stack(twice[axis]), 2**power * np.stack(once[axis]), rtol=1e-9)


class TestMeaning:
    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("axis", AXES)
    def test_a_unit_whose_way_out_is_zero_scores_zero(self, tiny, axis, order):
        """Columns zero: their own w is 0, and no gradient comes back through them, so that the g of all weights on the
        way in is 0. The score is exactly 0, the others' are not, and removing the unit leaves the loss as it is."""
        set_unit(tiny, axis, 1, 1, 0.0, only=WAYS_OUT)
        values = taylor_scores(tiny, (axis,), order=order)[axis][1]
        assert values[1] == 0
        assert (np.delete(values, 1) > 0).all()
        before = mean_loss(tiny.model, make_batches())
        set_unit(tiny, axis, 1, 1, 0.0)
        assert mean_loss(tiny.model, make_batches()) == pytest.approx(before, abs=1e-14)

    @pytest.mark.parametrize("axis", ["intermediate", "kv_group"])
    def test_the_unit_that_scores_zero_is_cut_without_loss(self, tiny, axis, tmp_path):
        """It is the first to go, and the smaller checkpoint has the same logits."""
        for layer in range(tiny.anatomy.layer_count):
            set_unit(tiny, axis, layer, 1, 0.0, only=WAYS_OUT)
        keep = [keep_top(values, len(values) - 1).tolist() for values in taylor_scores(tiny, (axis,))[axis]]
        assert all(1 not in units for units in keep)
        tiny.model.save_pretrained(tmp_path / "whole")
        cut = apply(tmp_path / "whole", plan_of(tiny.anatomy, {axis: keep}), tmp_path / "cut")
        smaller, batch = models.load(cut, dtype=torch.float64), make_batches(1)[0]
        with torch.no_grad():
            torch.testing.assert_close(smaller(batch).logits, tiny.model(batch).logits, rtol=1e-4, atol=1e-5)

    def test_a_way_in_of_zero_is_not_enough_where_a_bias_is_left(self):
        """Phi: with the row of fc1 zero the unit still hands on gelu(bias), and its score says so."""
        tiny = make_tiny("phi")
        with torch.no_grad():
            tiny.model.get_parameter("model.layers.1.mlp.fc1.weight")[3] = 0
        assert taylor_scores(tiny, ("intermediate",))["intermediate"][1][3] > 0
        with torch.no_grad():
            tiny.model.get_parameter("model.layers.1.mlp.fc1.bias")[3] = 0
        assert taylor_scores(tiny, ("intermediate",))["intermediate"][1][3] == 0

    @pytest.mark.parametrize("weights", ["coupled", "exit"])
    @pytest.mark.parametrize("axis", AXES)
    def test_predicts_the_loss_of_shrinking_a_unit(self, tiny, axis, weights):
        """Weights of a unit times 1 - e change the loss by e times its ``unit`` score, as far as first order goes."""
        values = taylor_scores(tiny, (axis,), order="unit", weights=weights)[axis]
        only = None if weights == "coupled" else WAYS_OUT
        batches, small = make_batches(), 1e-6
        before = mean_loss(tiny.model, batches)
        for layer in range(tiny.anatomy.layer_count):
            for unit in range(len(values[layer])):
                set_unit(tiny, axis, layer, unit, 1 - small, only=only)
                found = abs(mean_loss(tiny.model, batches) - before) / small
                set_unit(tiny, axis, layer, unit, 1 / (1 - small), only=only)
                assert found == pytest.approx(values[layer][unit], rel=1e-3, abs=1e-6)

    @pytest.mark.parametrize("axis", AXES)
    def test_the_way_out_alone_predicts_removal(self, tiny, axis):
        """Where its columns are small, all of a unit's loss is the first-order change over them; over all of its
        matrices the change is counted for each."""
        set_unit(tiny, axis, 0, 1, 1e-5, only=WAYS_OUT)
        predicted = taylor_scores(tiny, (axis,), order="unit", weights="exit")[axis][0][1]
        counted_often = taylor_scores(tiny, (axis,), order="unit")[axis][0][1]
        before = mean_loss(tiny.model, make_batches())
        set_unit(tiny, axis, 0, 1, 0.0)
        assert abs(mean_loss(tiny.model, make_batches()) - before) == pytest.approx(predicted, rel=1e-3)
        assert abs(counted_often - predicted) > 1e-2 * predicted

    @settings(max_examples=5, deadline=None)
    @given(order=st.permutations(range(10)), case=st.sampled_from(CASES))
    def test_permuted_channels_permute_the_scores(self, order, case):
        """Channels have no order of their own."""
        tiny = make_tiny(case)
        before = taylor_scores(tiny, ("intermediate",), order="mixed")["intermediate"]
        after = taylor_scores(permuted(tiny, 1, list(order)), ("intermediate",), order="mixed")["intermediate"]
        np.testing.assert_allclose(after[1], before[1][list(order)], rtol=1e-8)
        np.testing.assert_allclose(after[0], before[0], rtol=1e-8)


class TestCompat:
    @pytest.mark.parametrize("case", CASES)
    @pytest.mark.parametrize("order", ["first", "vectorized", "second"])
    def test_gives_groups_the_heads_of_others(self, case, order):
        """Group j is credited with the query heads j, j + groups, ..., in q rows and o columns; k and v stay right."""
        tiny = make_tiny(case)
        sizes = tiny.anatomy.sizes
        groups, heads = sizes["kv_group"], sizes["head"]
        true = taylor_scores(tiny, ("kv_group",), order=order)["kv_group"]
        found = taylor_scores(tiny, ("kv_group",), order=order, compat="llm-pruner-gqa")["kv_group"]
        for layer in range(tiny.anatomy.layer_count):
            by_head = query_head_scores(tiny, layer, order)
            keys_and_values = true[layer] - by_head.reshape(groups, heads).sum(1)
            mistaken = np.array([sum(by_head[j::groups]) for j in range(groups)])
            np.testing.assert_allclose(found[layer], keys_and_values + mistaken, rtol=1e-8)
            assert np.abs(found[layer] - true[layer]).max() > 1e-6 * true[layer].max()
            assert found[layer].sum() == pytest.approx(true[layer].sum())

    def test_touches_nothing_else(self, tiny):
        """Channels and heads are scored as always."""
        plain, mistaken = taylor_scores(tiny), taylor_scores(tiny, compat="llm-pruner-gqa")
        for axis in ("intermediate", "head"):
            np.testing.assert_array_equal(np.stack(mistaken[axis]), np.stack(plain[axis]))


def query_head_scores(tiny, layer, order):
    """Of each query head by its number in the tensors: its rows of q and its columns of o."""
    (each,) = gradients(tiny, [torch.cat(make_batches())]) if order != "second" else (None,)
    several = gradients(tiny, make_batches()) if order == "second" else [each]
    total = 0.0
    for name, parameter in tiny.model.named_parameters():
        module, leaf = name.split(".")[-2:]
        if f".layers.{layer}." not in name or module not in {"q_proj", "o_proj", "dense"}:
            continue
        if leaf == "bias" and module != "q_proj":
            continue
        turn = (lambda x: x.T) if module != "q_proj" else (lambda x: x)
        w = turn(parameter.detach()).reshape(len(turn(parameter)), -1)
        g = sum(turn(gradient[name]).reshape(w.shape) for gradient in several) / len(several)
        h = sum(turn(gradient[name]).reshape(w.shape) ** 2 for gradient in several) / len(several)
        values = {"first": (w * g).abs().sum(1), "vectorized": (w * g).sum(1).abs(), "second": (w * h * w).sum(1)}[
            order
        ]
        total = total + values.reshape(tiny.anatomy.sizes["kv_group"] * tiny.anatomy.sizes["head"], -1).sum(1).numpy()
    return total
