"""A budget is used as far as legal widths go, never beyond, by the same count that apply leads to."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from harness.checkpoint.checkpoint import read_config
from harness.errors import BudgetUnreachable
from harness.methods import budget as budgets
from harness.methods.budget import fit_bytes, fit_parameters, global_family, uniform_family
from harness.methods.selection import keep_top
from harness.surgery.anatomy import load
from harness.surgery.apply import apply
from harness.surgery.count import parameter_count, weigh
from harness.surgery.plan import keep_all, plan_of
from harness.surgery.shape import is_stock, reduced_config
from tests.methods.scoring import AXES, CASES, make_tiny

MULTIPLES = {"intermediate": 3}
LLAMA = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
QWEN2 = {
    "model_type": "qwen2",
    "vocab_size": 106155,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
}
PUBLISHED = (
    ({**LLAMA, "vocab_size": 77209}, 7, 11468, range(4, 28), 6_598_504_448),
    (QWEN2, 3, 14208, range(4, 25), 6_011_636_736),
)

ANATOMIES = {case: make_tiny(case, layers=3).anatomy for case in CASES}


def random_scores(anatomy, axes, seed=0):
    generator = np.random.default_rng(seed)
    return {axis: [generator.random(sizes[axis]) for sizes in anatomy.layer_sizes] for axis in axes}


@st.composite
def families(draw):
    """Either kind, along any axes, in any layers."""
    anatomy = ANATOMIES[draw(st.sampled_from(CASES))]
    axes = sorted(draw(st.sets(st.sampled_from(AXES), min_size=1)))
    scores = random_scores(anatomy, axes, draw(st.integers(0, 9)))
    layers = draw(st.dictionaries(st.sampled_from(axes), st.sets(st.integers(0, 2), min_size=1)))
    if draw(st.booleans()):
        return uniform_family(anatomy, scores, multiples=MULTIPLES, layers=layers)
    return global_family(
        anatomy,
        scores,
        multiples=MULTIPLES,
        layers=layers,
        minimum_fraction=draw(st.sampled_from([0.0, 0.5])),
        normalization=draw(st.sampled_from(["none", "mean", "norm"])),
    )


def one_axis(anatomy):
    return random_scores(anatomy, ("intermediate",))["intermediate"]


def kept_counts(anatomy, plan, axis):
    return [plan.sizes(anatomy, layer)[axis] for layer in range(anatomy.layer_count)]


def steps_up(family, plan):
    """The plans that are one legal step wider on one rail."""
    anatomy = family.anatomy
    widths = {axis: kept_counts(anatomy, plan, axis) for axis in family.scores}
    for rail in family.rails:
        now = widths[rail.axis][rail.layers[0]]
        wider = [width for width in rail.widths if width > now]
        if wider:
            after = {axis: list(counts) for axis, counts in widths.items()}
            for layer in rail.layers:
                after[rail.axis][layer] = wider[0]
            yield plan_of(anatomy, {axis: [range(count) for count in counts] for axis, counts in after.items()})


class TestFit:
    @settings(max_examples=60, deadline=None)
    @given(family=families(), share=st.floats(0.2, 1.0))
    def test_fits_and_no_step_up_does(self, family, share):
        """Counted by ``weigh``: at most the budget, and one more legal step on any rail is over it; unreachable exactly
        where the smallest plan is, and the message has its count."""
        config = family.anatomy.config
        limit = int(share * parameter_count(config))
        smallest = weigh(config, family.plan({})).parameter_count
        if smallest > limit:
            with pytest.raises(BudgetUnreachable, match=rf"leave {smallest:,} parameters"):
                fit_parameters(family, limit)
            return
        plan = fit_parameters(family, limit)
        assert weigh(config, plan).parameter_count <= limit
        assert all(weigh(config, wider).parameter_count > limit for wider in steps_up(family, plan))

    @settings(max_examples=30, deadline=None)
    @given(family=families(), data=st.data())
    def test_widths_are_legal_and_units_the_best(self, family, data):
        """Every layer keeps a legal width, of each axis the units with the highest scores; others stay whole."""
        anatomy = family.anatomy
        smallest, largest = family.parameter_count({}), parameter_count(anatomy.config)
        plan = fit_parameters(family, data.draw(st.integers(smallest, largest)))
        legal = {(rail.axis, layer): rail.widths for rail in family.rails for layer in rail.layers}
        for axis, layers in family.scores.items():
            for layer, count in enumerate(kept_counts(anatomy, plan, axis)):
                whole = anatomy.layer_sizes[layer][axis]
                assert count in legal.get((axis, layer), (whole,))
                assert count == whole or axis != "intermediate" or count % 3 == 0
                kept = plan.kept(axis, layer)
                np.testing.assert_array_equal(
                    np.arange(whole) if kept is None else kept, keep_top(layers[layer], count)
                )

    @settings(max_examples=40, deadline=None)
    @given(family=families(), data=st.data())
    def test_the_quick_count_is_what_weigh_finds(self, family, data):
        """For any steps taken, of any rails."""
        climbed = {number: data.draw(st.integers(0, len(rail.widths) - 1)) for number, rail in enumerate(family.rails)}
        assert family.parameter_count(climbed) == weigh(family.anatomy.config, family.plan(climbed)).parameter_count

    @settings(max_examples=20, deadline=None)
    @given(family=families(), more=st.integers(0, 10**6))
    def test_a_whole_budget_removes_nothing(self, family, more):
        """What fits as it is stays as it is."""
        assert fit_parameters(family, parameter_count(family.anatomy.config) + more) == keep_all(family.anatomy)

    @settings(max_examples=30, deadline=None)
    @given(family=families(), dtype=st.sampled_from(["F16", "F32", "F8_E4M3", "F4"]), share=st.floats(0.8, 1.0))
    def test_bytes_are_those_of_weigh(self, family, dtype, share):
        """The largest plan whose ``weights_bytes`` fit, in any dtype."""
        config = family.anatomy.config
        limit = int(share * weigh(config).weights_bytes(dtype))
        if weigh(config, family.plan({})).weights_bytes(dtype) > limit:
            with pytest.raises(BudgetUnreachable, match=f"{limit:,} bytes"):
                fit_bytes(family, limit, dtype)
            return
        plan = fit_bytes(family, limit, dtype)
        assert weigh(config, plan).weights_bytes(dtype) <= limit
        assert all(weigh(config, wider).weights_bytes(dtype) > limit for wider in steps_up(family, plan))

    @pytest.mark.parametrize("make", [uniform_family, global_family])
    def test_what_is_applied_weighs_what_was_planned(self, tiny_checkpoint, tmp_path, make):
        """The tensors of the written checkpoint are within the budget, to the parameter that was counted."""
        config = read_config(tiny_checkpoint)
        anatomy = load(config)
        limit = int(0.8 * parameter_count(config))
        plan = fit_parameters(make(anatomy, random_scores(anatomy, ("intermediate", "kv_group")), multiples={}), limit)
        made = load_file(apply(tiny_checkpoint, plan, tmp_path / "cut") / "model.safetensors")
        assert sum(tensor.size for tensor in made.values()) == parameter_count(config, plan) <= limit


class TestUniformFamily:
    def test_both_axes_keep_the_same_share(self):
        """Half of Llama 3.1 8B: what is kept of both axes differs by less than a step of either, in all layers."""
        anatomy = load(LLAMA)
        scores = random_scores(anatomy, ("intermediate", "kv_group"))
        plan = fit_parameters(uniform_family(anatomy, scores), parameter_count(LLAMA) // 2)
        channels, groups = (set(kept_counts(anatomy, plan, axis)) for axis in ("intermediate", "kv_group"))
        assert len(channels) == len(groups) == 1
        assert channels.pop() / 14336 == pytest.approx(groups.pop() / 8, abs=1 / 8)
        assert 0.98 * parameter_count(LLAMA) / 2 < parameter_count(LLAMA, plan)

    @pytest.mark.parametrize(("config", "groups", "channels", "layers", "count"), PUBLISHED)
    def test_finds_the_widths_that_were_published(self, config, groups, channels, layers, count):
        """The second place of 2024 took one KV group from every layer and channels from the middle ones; with the
        groups gone, the budget of its own parameters leaves exactly its channels."""
        before = load(config)
        narrow = reduced_config(config, plan_of(before, {"kv_group": [range(groups)] * before.layer_count}))
        anatomy = load(narrow)
        family = uniform_family(
            anatomy, random_scores(anatomy, ("intermediate",)), multiples={}, layers={"intermediate": layers}
        )
        plan = fit_parameters(family, count)
        assert weigh(narrow, plan).parameter_count == count
        found = kept_counts(anatomy, plan, "intermediate")
        assert {width for layer, width in enumerate(found) if layer in layers} == {channels}
        assert {width for layer, width in enumerate(found) if layer not in layers} == {config["intermediate_size"]}

    def test_multiples_of_128_by_default(self):
        """Along the MLP; KV groups by one."""
        anatomy = load(LLAMA)
        rails = uniform_family(anatomy, random_scores(anatomy, ("intermediate", "kv_group"))).rails
        assert rails[0].widths == tuple(range(128, 14337, 128))
        assert rails[1].widths == tuple(range(1, 9))

    def test_stock_only_leaves_out_what_the_stock_class_refuses(self):
        """Llama takes head counts that divide the hidden size, so plans along KV groups stay stock."""
        anatomy = load(LLAMA)
        family = uniform_family(anatomy, random_scores(anatomy, ("kv_group",)), stock_only=True)
        assert family.rails[0].widths == (1, 2, 4, 8)
        plan = fit_parameters(family, parameter_count(LLAMA) - 1)
        assert is_stock(reduced_config(LLAMA, plan))

    def test_refuses_layers_that_differ(self):
        """Cut alike, they must be alike; a stock class has no layers of different widths."""
        whole = ANATOMIES["llama"]
        ragged = load(reduced_config(whole.config, plan_of(whole, {"intermediate": [range(9), range(10), range(8)]})))
        with pytest.raises(ValueError, match=re.escape("intermediate must be the same in all layers to be cut alike")):
            uniform_family(ragged, random_scores(ragged, ("intermediate",)))
        with pytest.raises(ValueError, match="stock_only"):
            uniform_family(
                whole, random_scores(whole, ("intermediate",)), layers={"intermediate": [1]}, stock_only=True
            )


class TestGlobalFamily:
    def test_the_layers_that_score_less_lose_more(self):
        """One layer's units are worth a tenth: they go first, down to its minimum."""
        anatomy = ANATOMIES["qwen2"]
        scores = {"intermediate": [(1 + each) / size for each, size in zip(one_axis(anatomy), (1, 10, 1), strict=True)]}
        limit = parameter_count(anatomy.config) - 5 * 3 * 24
        found = global_family(anatomy, scores, multiples={}, minimum_fraction=0.5)
        assert kept_counts(anatomy, fit_parameters(found, limit), "intermediate") == [10, 5, 10]
        levelled = global_family(anatomy, scores, multiples={}, normalization="mean")
        assert kept_counts(anatomy, fit_parameters(levelled, limit), "intermediate")[1] > 5

    def test_a_score_is_held_against_what_it_costs(self):
        """Of two axes with the same scores, the one whose units take more parameters loses them first."""
        anatomy = ANATOMIES["llama"]
        scores = {
            axis: [np.ones(sizes[axis]) for sizes in anatomy.layer_sizes] for axis in ("intermediate", "kv_group")
        }
        family = global_family(anatomy, scores, multiples={})
        plan = fit_parameters(family, parameter_count(anatomy.config) - 1)
        assert kept_counts(anatomy, plan, "intermediate") == [10, 10, 10]
        assert sum(kept_counts(anatomy, plan, "kv_group")) == 5

    def test_a_structured_model_is_cut_further(self):
        """Widths that differ already are where the ladders end."""
        whole = ANATOMIES["phi"]
        config = reduced_config(whole.config, plan_of(whole, {"intermediate": [range(9), range(10), range(4)]}))
        anatomy = load(config)
        family = global_family(anatomy, random_scores(anatomy, AXES), multiples=MULTIPLES)
        limit = int(0.9 * parameter_count(config))
        plan = fit_parameters(family, limit)
        assert weigh(config, plan).parameter_count <= limit
        assert [rail.widths[-1] for rail in family.rails if rail.axis == "intermediate"] == [9, 10, 4]


class TestScores:
    def test_must_be_those_of_the_model(self):
        """Axes, layers, units, finite numbers and layer numbers."""
        anatomy = ANATOMIES["llama"]
        good = one_axis(anatomy)
        for make in (uniform_family, global_family):
            with pytest.raises(ValueError, match="axis must be one of a layer's"):
                make(anatomy, {"vocab": good})
            with pytest.raises(ValueError, match=re.escape("must be of [10, 10, 10] units by layer, got [10, 10]")):
                make(anatomy, {"intermediate": good[:2]})
            with pytest.raises(ValueError, match="finite"):
                make(anatomy, {"intermediate": [good[0], good[1], good[2] * np.nan]})
            with pytest.raises(ValueError, match=re.escape("layers of intermediate must be some of 0..2, got [3]")):
                make(anatomy, {"intermediate": good}, layers={"intermediate": [3]})
            with pytest.raises(ValueError, match="layers must be of axes with scores, intermediate, got 'head'"):
                make(anatomy, {"intermediate": good}, layers={"head": [0]})


def test_a_search_on_a_model_of_eight_billion_counts_seldom(monkeypatch):
    """Widths of 32 layers along two axes take a few hundred counts, not one for each of the thousands of steps."""
    anatomy, counts = load(LLAMA), []
    counted = budgets.Family.parameter_count
    monkeypatch.setattr(
        budgets.Family, "parameter_count", lambda self, climbed: counts.append(1) or counted(self, climbed)
    )
    family = global_family(anatomy, random_scores(anatomy, ("intermediate", "kv_group")))
    fit_parameters(family, parameter_count(LLAMA) // 2)
    assert len(family.order) > 3000
    assert len(counts) < 300
