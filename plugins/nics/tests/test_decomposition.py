"""Linears become products within the budget, and the better factors are the better model."""

from __future__ import annotations

import pytest
import torch
from harness_nics import compress, decomposition
from harness_nics.calibration import mean_loss

from harness.checkpoint.checkpoint import Checkpoint
from harness.checkpoint.shards import read_layout
from harness.errors import BudgetUnreachable, LimitExceeded
from harness.methods import memory, models
from harness.methods.batches import Batch
from harness.pico import catalogue
from harness.surgery.anatomy import load

STEP = {
    "stage": "compress",
    "method": "decompose",
    "window_count": 4,
    "window_tokens": 32,
    "batch_windows": 2,
    "search_windows": 4,
}
ALLOCATIONS = ("top-k", "binary", "error", "sensitivity", "uniform")


class TestDecompose:
    @pytest.mark.parametrize("allocation", ALLOCATIONS)
    def test_within_the_budget_and_close_to_it(self, tiny_checkpoints, ask, predict, tmp_path, allocation):
        """Whoever decides; a forecast comes true, or its bounds do."""
        request = ask(tiny_checkpoints["llama"], {**STEP, "allocation": allocation}, tmp_path / "work", fraction=0.8)
        made = read_layout(compress(request).checkpoint).parameter_count
        assert 0.9 * request.parameter_budget < made <= request.parameter_budget
        predicted = predict(request)
        least, most = predicted.parameter_bounds or (predicted.parameter_count, predicted.parameter_count)
        assert least <= made <= most <= request.parameter_budget
        assert (predicted.parameter_bounds is None) is (allocation == "uniform")

    def test_streamed_is_the_same_model(self, tiny_checkpoint, ask, tmp_path):
        """Layer by layer from the disk, the same bytes; and what a killed run had factorised is not made again."""
        step = {**STEP, "allocation": "error"}
        whole = compress(ask(tiny_checkpoint, step, tmp_path / "whole"))
        request = ask(tiny_checkpoint, {**step, "streamed": True}, tmp_path / "streamed")
        streamed = compress(request)
        assert Checkpoint.of(streamed.checkpoint).digest == Checkpoint.of(whole.checkpoint).digest
        factors = sorted((tmp_path / "streamed" / "factors").iterdir())
        stamps = [path.stat().st_mtime_ns for path in factors[1:]]
        factors[0].unlink()
        assert Checkpoint.of(compress(request).checkpoint).digest == Checkpoint.of(whole.checkpoint).digest
        assert [path.stat().st_mtime_ns for path in factors[1:]] == stamps
        assert factors[0].is_file()

    def test_whitened_beats_asvd_beats_plain(self, ask, tmp_path):
        """At the same uniform ranks, on text that calibration has not seen."""
        pico, losses = catalogue.path("pico-llama"), {}
        for scaling in ("plain", "asvd", "whitened"):
            step = {**STEP, "window_count": 32, "window_tokens": 96, "allocation": "uniform", "scaling": scaling}
            request = ask(pico, step, tmp_path / scaling, fraction=0.7)
            losses[scaling] = loss_on_held_out(compress(request).checkpoint, request)
        assert losses["whitened"] < losses["asvd"] < losses["plain"]

    def test_search_costs_are_noted(self, tiny_checkpoints, ask, tmp_path):
        """Never more factorisations than linears; the original's way measures more often."""
        ours, theirs = (
            compress(ask(tiny_checkpoints["llama"], {**STEP, "top_k": 2, **more}, tmp_path / name)).notes
            for name, more in (("ours", {}), ("theirs", {"compat": "full-rounds"}))
        )
        assert ours["factorisations"] <= ours["linears"]
        assert ours["loss_measurements"] < theirs["loss_measurements"]

    def test_factorised_linears_are_left_alone(self, tiny_checkpoints, ask, tmp_path):
        """A second step takes from what is dense still."""
        first = compress(ask(tiny_checkpoints["llama"], {**STEP, "keep_fraction": 0.9}, tmp_path / "first"))
        second = compress(ask(first.checkpoint, {**STEP, "keep_fraction": 0.9}, tmp_path / "second"))
        before, after = (load(Checkpoint.of(each.checkpoint).config()) for each in (first, second))
        for layer in range(before.layer_count):
            assert before.ranks(layer).items() <= after.ranks(layer).items()

    def test_refusals(self, tiny_checkpoints, ask, tmp_path, monkeypatch):
        """Budgets out of reach, and models that do not fit."""
        base = tiny_checkpoints["llama"]
        with pytest.raises(BudgetUnreachable):
            compress(ask(base, {**STEP, "allocation": "uniform"}, tmp_path / "a", fraction=0.1))
        monkeypatch.setattr(memory, "available_bytes", lambda _: 1000)
        with pytest.raises(LimitExceeded, match="set streamed = true"):
            compress(ask(base, STEP, tmp_path / "b"))
        compress(ask(base, {**STEP, "allocation": "error", "streamed": True}, tmp_path / "c"))


class TestFactors:
    def test_round_trip(self, tmp_path):
        """What is kept on disk is what was made."""
        from harness.methods.low_rank import factorise

        made = factorise(torch.randn(6, 9, generator=torch.Generator().manual_seed(0)), largest_rank=3)
        decomposition.write_factors(tmp_path, "model.layers.0.x", made)
        found = decomposition.read_factors(tmp_path, "model.layers.0.x")
        assert torch.equal(found.left, made.left)
        assert torch.equal(found.right, made.right)
        assert torch.equal(found.dropped_energy(), made.dropped_energy())


def loss_on_held_out(checkpoint, request):
    from harness.corpora.encoding import tokenizer_of

    tokenizer = tokenizer_of(checkpoint)
    texts = [sample.text for sample, _ in zip(request.data.open("c4", split="validation"), range(200), strict=False)]
    ids = torch.tensor([i for text in texts for i in tokenizer.encode(text)])
    ids = ids[: len(ids) // 96 * 96].view(-1, 96)
    return mean_loss(models.load(checkpoint), [Batch(token_ids=ids, labels=ids)])
