"""Widths: where, how many, and which."""

from __future__ import annotations

import numpy as np
import pytest
from harness_nics import compress, width

from harness.checkpoint.checkpoint import Checkpoint
from harness.checkpoint.shards import read_layout
from harness.errors import LimitExceeded
from harness.methods import memory
from harness.surgery.anatomy import load
from harness.surgery.plan import Plan

STEP = {
    "stage": "compress",
    "method": "width",
    "round_to": 8,
    "window_count": 4,
    "window_tokens": 32,
    "batch_windows": 2,
}


class TestWidth:
    def test_only_the_layers_that_were_named(self, tiny_checkpoint, ask, tmp_path):
        """Attention of one, MLP of the other; as many units as the share says, KV groups whole."""
        fields = {"drop_fraction": 0.5, "attention_layers": "0", "mlp_layers": "1"}
        request = ask(tiny_checkpoint, {**STEP, **fields}, tmp_path / "work")
        before = load(request.student.config()).layer_sizes
        result = compress(request)
        after = load(type(request.student).of(result.checkpoint).config()).layer_sizes
        groups = before[0]["kv_group"]
        assert [each["kv_group"] for each in after] == [groups // 2, groups]
        assert [each["intermediate"] for each in after] == [96, 48]

    @pytest.mark.parametrize("fraction", [0.6, 0.8])
    def test_solved_to_the_budget(self, tiny_checkpoint, ask, predict, tmp_path, fraction):
        """What lies on disk is what was forecast, and no more than is allowed."""
        request = ask(tiny_checkpoint, STEP, tmp_path / "work", fraction=fraction)
        made = read_layout(compress(request).checkpoint).parameter_count
        assert made == predict(request).parameter_count <= request.parameter_budget

    def test_the_best_stay(self, tiny_checkpoints, ask, tmp_path, monkeypatch):
        """In every layer nothing that went scores above what stayed."""
        seen = {}
        real = width.width_plan

        def remember(anatomy, step, scores, budget):
            seen.update(scores)
            return real(anatomy, step, scores, budget)

        monkeypatch.setattr(width, "width_plan", remember)
        compress(ask(tiny_checkpoints["llama"], {**STEP, "drop_fraction": 0.5}, tmp_path / "work"))
        plan = Plan.read(tmp_path / "work" / "plan.json")
        for axis, layers in seen.items():
            for layer, scores in enumerate(layers):
                kept = plan.kept(axis, layer)
                gone = np.setdiff1d(np.arange(len(scores)), kept)
                assert scores[gone].max() <= scores[kept].min()

    def test_streamed_is_the_same_model(self, tiny_checkpoint, ask, tmp_path):
        """Layer by layer from the disk, the same bytes, and no states are left behind."""
        whole = compress(ask(tiny_checkpoint, {**STEP, "streamed": False}, tmp_path / "whole"))
        streamed = compress(ask(tiny_checkpoint, {**STEP, "streamed": True}, tmp_path / "streamed"))
        assert [whole.notes["streamed"], streamed.notes["streamed"]] == [False, True]
        assert Checkpoint.of(streamed.checkpoint).digest == Checkpoint.of(whole.checkpoint).digest
        assert not list((tmp_path / "streamed").glob("states-*"))

    def test_a_model_that_does_not_fit_is_streamed(self, tiny_checkpoints, ask, tmp_path, monkeypatch):
        """Unless the recipe says otherwise: then it is refused with the memory that it would take."""
        anatomy = load(Checkpoint.of(tiny_checkpoints["llama"]).config())
        one_layer = memory.layer_backward_bytes(anatomy, memory.BatchSize(texts=2, tokens=32))
        monkeypatch.setattr(memory, "available_bytes", lambda _: one_layer)
        monkeypatch.setattr(width, "available_bytes", lambda _: one_layer)
        assert compress(ask(tiny_checkpoints["llama"], STEP, tmp_path / "made")).notes["streamed"]
        request = ask(tiny_checkpoints["llama"], {**STEP, "streamed": False}, tmp_path / "refused")
        with pytest.raises(LimitExceeded, match=r"width: Taylor scores needs about .* GiB .* layers_at_once"):
            compress(request)

    def test_too_large_is_refused_before_loading(self, tiny_checkpoints, ask, tmp_path, monkeypatch):
        """Where not even a layer fits: with the memory that it would take; nothing is read."""
        for module in (memory, width):
            monkeypatch.setattr(module, "available_bytes", lambda _: 1000)
        request = ask(tiny_checkpoints["llama"], STEP, tmp_path / "work")
        with pytest.raises(LimitExceeded, match=r"a layer at a time, needs about .* GiB .* lower batch_windows"):
            compress(request)
        assert list((tmp_path / "work").iterdir()) == []
