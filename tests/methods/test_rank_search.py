"""The search reaches its limit, does the same each time, and pays only for what changed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.errors import BudgetUnreachable, MeasurementFailed
from harness.methods.low_rank import factorise
from harness.methods.rank_search import ModelProbe, TopKSettings, losses_by_fraction, search_top_k
from harness.methods.ranks import LinearSize, count_weights

SIZES = [(24, 16), (16, 24), (24, 16), (16, 24), (24, 16), (16, 24)]
WHOLE = sum(rows * columns for rows, columns in SIZES)


class Chain(nn.Module):
    """Linears behind each other, each after the root of its own importance."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.linears = nn.ModuleList(nn.Linear(columns, rows, bias=False) for rows, columns in SIZES)
        for linear in self.linears:
            linear.weight.data = torch.randn(linear.weight.shape, generator=generator) / 4
        self.x = torch.randn(50, 16, generator=generator)

    def forward(self):
        hidden = self.x
        for linear in self.linears:
            hidden = torch.tanh(linear(hidden)) + 0.1
        return hidden


@pytest.fixture
def chain():
    return Chain()


def linears_of(chain):
    return [
        LinearSize(path=f"linears.{index}", out_count=linear.out_features, in_count=linear.in_features)
        for index, linear in enumerate(chain.linears)
    ]


def probe_of(chain):
    with torch.no_grad():
        target = chain()

    def loss(model):
        return float((model() - target).square().mean())

    return ModelProbe(chain, lambda path: factorise(chain.get_submodule(path).weight.detach()), loss)


def search(chain, share=0.7, **fields):
    return search_top_k(linears_of(chain), round(share * WHOLE), probe_of(chain), TopKSettings(top_k=2, **fields))


class TestSearchTopK:
    @settings(max_examples=15, deadline=None)
    @given(share=st.floats(0.25, 1), ranked_by=st.sampled_from(["loss", "loss-per-weight"]))
    def test_reaches_the_limit_and_uses_it(self, share, ranked_by):
        """Never over; under by less than one rank of a linear."""
        chain, limit = Chain(), round(share * WHOLE)
        found = search(chain, share, ranked_by=ranked_by)
        used = count_weights(linears_of(chain), found.ranks)
        assert used <= limit
        assert limit - used < max(rows + columns for rows, columns in SIZES) or set(found.ranks.values()) == {None}

    def test_whole_rounds_go_further(self, chain):
        """As the original: the last round is not cut short."""
        cut, whole = search(chain), search(Chain(), whole_rounds=True)
        sizes = linears_of(chain)
        assert count_weights(sizes, whole.ranks) < count_weights(sizes, cut.ranks)

    def test_the_same_each_time(self, chain):
        """Nothing is drawn."""
        assert search(chain) == search(Chain())

    def test_each_matrix_is_factorised_once(self, chain):
        """However many rounds there are; the original would have made one for every trial."""
        found = search(chain, 0.4)
        assert found.round_count > 5
        assert found.factorisation_count == len(SIZES) < found.trial_count

    def test_a_round_costs_what_changed(self, chain):
        """First all linears, then a trial for each that stepped and one for the whole; the original tries all again."""
        ours, theirs = search(chain, 0.5), search(Chain(), 0.5, refresh="all")
        assert ours.trial_count <= 1 + len(SIZES) + ours.round_count * (1 + 2)
        assert theirs.trial_count > ours.trial_count

    def test_first_round_takes_the_least_sensitive(self, chain):
        """The linears that step are those whose own step raises the loss least."""
        sizes = linears_of(chain)
        alone = losses_by_fraction(sizes, [0.85], probe_of(chain))
        best = sorted(alone, key=lambda path: alone[path][0.85])[:2]
        found = search_top_k(sizes, WHOLE - 1, probe_of(Chain()), TopKSettings(top_k=2))
        assert [path for path, rank in found.ranks.items() if rank is not None] == best[:1]

    def test_enough_room(self, chain):
        """Nothing is measured where everything fits."""
        found = search(chain, 1.0)
        assert (found.trial_count, found.factorisation_count, found.round_count) == (0, 0, 0)
        assert set(found.ranks.values()) == {None}

    def test_unreachable(self, chain):
        """The smallest shares are more: the message says how much is left."""
        with pytest.raises(BudgetUnreachable, match="are left"):
            search(chain, 0.05)


class TestModelProbe:
    def test_restores(self, chain):
        """Whatever was tried, the weights are the ones from before."""
        before = [linear.weight.detach().clone() for linear in chain.linears]
        probe = probe_of(chain)
        probe.set("linears.0", 3)
        probe.set("linears.2", 5)
        assert probe.loss() > 0
        assert torch.linalg.matrix_rank(chain.linears[0].weight) == 3
        probe.restore()
        assert all(torch.equal(old, linear.weight) for old, linear in zip(before, chain.linears, strict=True))
        assert probe.loss() == 0

    def test_a_loss_that_is_not_finite(self, chain):
        """Is told, not ranked."""
        probe = ModelProbe(chain, lambda _: None, lambda _: float("nan"))
        with pytest.raises(MeasurementFailed, match="nan at trial 1"):
            probe.loss()
