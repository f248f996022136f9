"""Only the window learns, only the window is remembered, and what is above it is not run."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoModelForCausalLM, LlamaConfig

from harness.corpora.windows import Windows
from harness.methods.layer_tuning import ExitModel, segments, tune
from harness.methods.training import TrainingSettings

SETTINGS = TrainingSettings(optimizer_steps=5, batch_windows=2, learning_rate=1e-2)


@pytest.fixture
def model():
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        initializer_range=0.2,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


@pytest.fixture
def text():
    token_ids = np.random.default_rng(0).integers(0, 40, (10, 12)).astype(np.uint16)
    return Windows(token_ids=token_ids, loss_mask=None, key="random")


TOKENS = torch.arange(24).view(2, 12)


class TestSegments:
    @given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 200))
    def test_every_layer_and_step_once(self, layers, stride, more):
        """Windows follow each other from the bottom up, and so do their equal shares of the steps."""
        stride = min(stride, layers)
        count = -(-layers // stride)
        found = segments(layers, stride, count + more)
        assert [layer for each in found for layer in range(each.first, each.exit + 1)] == list(range(layers))
        assert [step for each in found for step in each.steps] == list(range(count + more))
        assert len({len(each.steps) for each in found[:-1]}) <= 1

    def test_published(self):
        """32 layers by 8: exits after 7, 15, 23 and 31, 2,500 of 10,000 steps each."""
        found = segments(32, 8, 10_000)
        assert [each.exit for each in found] == [7, 15, 23, 31]
        assert {len(each.steps) for each in found} == {2500}

    @pytest.mark.parametrize(("stride", "steps"), [(0, 9), (5, 9), (1, 3)])
    def test_refused(self, stride, steps):
        """No stride, one beyond the model, or too few steps."""
        with pytest.raises(ValueError, match=r"stride|steps"):
            segments(4, stride, steps)


class TestExitModel:
    @torch.no_grad()
    def test_last_exit_is_the_model(self, model):
        """With the shared head, to the bit, and however the layers are run."""
        exits = ExitModel(model, (1, 3))
        expected = model(input_ids=TOKENS, use_cache=False).logits
        assert torch.equal(exits(TOKENS, exit_layer=3), expected)
        assert torch.equal(exits(TOKENS, exit_layer=3, first=2), expected)
        assert torch.equal(exits.exit_logits(TOKENS)[-1], expected)
        assert torch.equal(exits.exit_logits(TOKENS)[0], exits(TOKENS, exit_layer=1))

    def test_gradients_inside_the_window_only(self, model):
        """Layers below have none, layers above were never run."""
        exits = ExitModel(model, (1, 3), heads="own")
        segment = segments(4, 2, 2)[0]
        run = []
        for number, layer in enumerate(model.model.layers):
            layer.register_forward_hook(lambda *_, number=number: run.append(number))
        exits.open(segment)
        exits(TOKENS, exit_layer=1).sum().backward()
        assert run == [0, 1]
        has_gradient = {name for name, each in exits.named_parameters() if each.grad is not None}
        assert has_gradient
        assert all(
            name.startswith(("model.model.layers.0.", "model.model.layers.1.", "own_heads.1.")) for name in has_gradient
        )

    def test_activations_of_the_window_only(self, model):
        """What backpropagation keeps, in bytes: a quarter of the layers, at most half of what all keep."""
        exits = ExitModel(model, (0, 1, 2, 3))

        def kept(first):
            seen = {}
            own = {each.untyped_storage().data_ptr() for each in exits.parameters()}

            def pack(tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in own:
                    seen[storage.data_ptr()] = storage.nbytes()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                hidden = exits.hidden(TOKENS, exit_layer=3, first=first)
                functional.mse_loss(hidden, torch.zeros_like(hidden)).backward()
            return sum(seen.values())

        assert kept(3) <= kept(0) / 2

    @pytest.mark.parametrize("exits", [(), (4,), (2, 1), (1, 1)])
    def test_refused(self, model, exits):
        """No exits, one that there is not, or out of order."""
        with pytest.raises(ValueError, match="exits must ascend"):
            ExitModel(model, exits)


class TestTune:
    @pytest.mark.parametrize("heads", ["shared", "own"])
    def test_layers_learn_and_nothing_else(self, model, text, tmp_path, heads):
        """Every layer of every window moves; embedding, norm and head stay."""
        before = copy.deepcopy(model.state_dict())
        histories = tune(ExitModel(model, (1, 3), heads=heads), text, SETTINGS, 2, state=tmp_path)
        assert [len(each.steps) for each in histories] == [2, 3]
        moved = {name for name, each in model.state_dict().items() if not torch.equal(each, before[name])}
        assert {name.split(".")[2] for name in moved} == {"0", "1", "2", "3"}
        assert all(name.startswith("model.layers.") for name in moved)

    def test_goes_on_to_the_same_bits(self, model, text, tmp_path):
        """Killed in the second window and run again, the end is that of a run in one go."""
        whole, killed = copy.deepcopy(model), copy.deepcopy(model)
        tune(ExitModel(whole, (1, 3)), text, SETTINGS, 2, state=tmp_path / "whole")

        def kill(_, done, total, *rest):
            if total == 3 and done == 2:
                raise KeyboardInterrupt

        eager = TrainingSettings(**{**vars_of(SETTINGS), "checkpoint_every_steps": 1})
        with pytest.raises(KeyboardInterrupt):
            tune(ExitModel(killed, (1, 3)), text, eager, 2, state=tmp_path / "killed", progress=kill)
        again = copy.deepcopy(model)
        tune(ExitModel(again, (1, 3)), text, eager, 2, state=tmp_path / "killed")
        for name, value in whole.state_dict().items():
            assert torch.equal(value, again.state_dict()[name]), name

    def test_an_exit_is_missing(self, model, text, tmp_path):
        """Said before its window is tuned."""
        with pytest.raises(ValueError, match="exit after layer 1"):
            tune(ExitModel(model, (3,)), text, SETTINGS, 2, state=tmp_path)


def vars_of(settings):
    return {name: getattr(settings, name) for name in settings.__dataclass_fields__}
