"""nGPT: everything of unit length, scales of their own while it trains, one form of checkpoint."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import DynamicCache

from harness.corpora.windows import Windows
from harness.methods import models, ngpt, training
from harness.methods.training import TrainingSettings
from harness.structured.modeling_structured import CACHE_NAME, StructuredConfig, StructuredForCausalLM
from harness.surgery.anatomy import load
from harness.surgery.count import parameter_count, tensor_shapes
from harness.surgery.plan import plan_of
from harness.surgery.shape import reduced_config

SHAPE = ngpt.NgptShape(vocabulary=40, hidden=32, layers=2, heads=4, intermediate=96, context_tokens=64)
SETTINGS = TrainingSettings(optimizer_steps=6, batch_windows=4, learning_rate=3e-2, checkpoint_every_steps=2)


class Killed(Exception):
    pass


def new_model(seed=0, shape=SHAPE):
    return ngpt.initialised(ngpt.config_of(shape), seed=seed)


def trained_model():
    """A model whose scales are all different, as after training."""
    model = new_model()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.mul_(
                    1 + 0.4 * torch.rand(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
                )
        model.lm_head.weight.mul_(torch.linspace(0.5, 9.0, SHAPE.vocabulary)[:, None])
    return model


def text(rows=2, tokens=19):
    return torch.randint(0, SHAPE.vocabulary, (rows, tokens), generator=torch.Generator().manual_seed(3))


def logits(model, token_ids=None, **inputs):
    with torch.inference_mode():
        return model(input_ids=text() if token_ids is None else token_ids, use_cache=False, **inputs).logits


def windows():
    starts = np.random.default_rng(0).integers(0, SHAPE.vocabulary, (24, 1))
    token_ids = ((starts + 3 * np.arange(12)) % SHAPE.vocabulary).astype(np.uint16)
    return Windows(token_ids=token_ids, loss_mask=None, key="pairs")


def unit_tensors(model):
    """Matrices by name with the dimension along which they have unit length."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            yield name, parameter.detach(), 0 if "o_proj" in name or "down_proj" in name else 1


def by_the_formulas(model, token_ids):
    """The logits, written down from the paper with the scales of the checkpoint, head by head, in FP64."""
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    size, heads, unit = SHAPE.hidden // SHAPE.heads, SHAPE.heads, lambda x: x / x.norm(dim=-1, keepdim=True)
    hidden = state["model.embed_tokens.weight"][token_ids]
    count = token_ids.shape[1]
    frequencies = SHAPE.rope_theta ** -(torch.arange(0, size, 2).double() / size)
    angles = torch.arange(count).double()[:, None] * frequencies
    cos, sin = torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()

    def rotated(states):
        first, second = states.chunk(2, dim=-1)
        return states * cos + torch.cat((-second, first), -1) * sin

    for index in range(SHAPE.layers):
        part = {name.split(f"layers.{index}.")[1]: t for name, t in state.items() if f"layers.{index}." in name}
        context = []
        for head in range(heads):
            rows = slice(head * size, (head + 1) * size)
            query, key, value = (hidden @ part[f"self_attn.{kind}_proj.weight"][rows].T for kind in "qkv")
            scale = part["self_attn.qk_scale.weight"][rows]
            query, key = scale * unit(rotated(query)), scale * unit(rotated(key))
            scores = query @ key.transpose(1, 2) * math.sqrt(size)
            scores = scores.masked_fill(torch.ones(count, count).triu(1).bool(), -torch.inf)
            context.append(scores.softmax(-1) @ value)
        attended = unit(torch.cat(context, -1) @ part["self_attn.o_proj.weight"].T)
        hidden = unit(hidden + part["attention_move.weight"] * (attended - hidden))
        units = functional.silu(hidden @ part["mlp.gate_proj.weight"].T) * (hidden @ part["mlp.up_proj.weight"].T)
        said = unit(units @ part["mlp.down_proj.weight"].T)
        hidden = unit(hidden + part["mlp_move.weight"] * (said - hidden))
    return hidden @ state["lm_head.weight"].T


class TestFunction:
    def test_is_the_papers(self):
        """The logits are those of the formulas, computed apart in FP64."""
        model = trained_model()
        assert torch.allclose(logits(model).double(), by_the_formulas(model, text()), atol=2e-5)

    def test_hidden_states_have_unit_length(self):
        """After the embedding and after every layer."""
        with torch.inference_mode():
            states = trained_model()(input_ids=text(), output_hidden_states=True).hidden_states
        assert len(states) == SHAPE.layers + 1
        for hidden in states:
            assert torch.allclose(hidden.norm(dim=-1), torch.ones(hidden.shape[:-1]), atol=1e-6)

    def test_logits_are_bounded_by_their_scale(self):
        """No logit is larger than its token's scale, the length of its row."""
        model = trained_model()
        bound = model.lm_head.weight.detach().norm(dim=1)
        assert (logits(model).abs() <= bound * (1 + 1e-6)).all()

    def test_heads_have_bounded_products(self):
        """Query and key are unit vectors times the same factor: their product stays within its square."""
        model = trained_model()
        scale = model.model.layers[0].self_attn.qk_scale
        with torch.no_grad():
            scale.weight.fill_(1.7)
            query, key = (scale(torch.randn(2, SHAPE.heads, 5, 8) * size) for size in (0.01, 100.0))
        assert ((query * key).sum(-1).abs() <= 1.7**2 + 1e-5).all()

    def test_a_share_of_zero_is_identity(self):
        """A layer that moves nothing gives back what it got."""
        model = trained_model()
        with torch.no_grad():
            for layer in model.model.layers:
                layer.attention_move.weight.zero_()
                layer.mlp_move.weight.zero_()
            states = model(input_ids=text(), output_hidden_states=True).hidden_states
        assert torch.allclose(states[-1], states[0], atol=1e-6)

    def test_a_share_of_one_goes_all_the_way(self):
        """Then the hidden state is the normalised output, whatever it was."""
        move = trained_model().model.layers[0].attention_move
        hidden, output = functional.normalize(torch.randn(3, SHAPE.hidden), dim=-1), torch.randn(3, SHAPE.hidden) * 7
        with torch.no_grad():
            move.weight.fill_(1.0)
            assert torch.allclose(move(hidden, output), functional.normalize(output, dim=-1), atol=1e-6)

    @pytest.mark.parametrize("implementation", ["sdpa", "eager"])
    def test_cached_equals_uncached(self, implementation):
        """Piece by piece with a cache, the logits are those of the whole text."""
        model = trained_model()
        model.set_attn_implementation(implementation)
        cache, parts = DynamicCache(config=model.config), []
        with torch.inference_mode():
            for piece in text().split([8, 1, 1, 9], dim=1):
                parts.append(model(piece, **{CACHE_NAME: cache}).logits)  # noqa: PERF401 - the cache grows
        assert torch.allclose(torch.cat(parts, dim=1), logits(model), atol=1e-5)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision(self, dtype):
        """Lengths are taken in FP32, so that half precision stays near it."""
        model = trained_model()
        exact, half = logits(model), logits(copy.deepcopy(model).to(dtype))
        assert half.dtype == dtype
        assert (half.float() - exact).abs().max() < (0.02 if dtype == torch.float16 else 0.15) * exact.abs().max()

    def test_groups_share_keys(self):
        """Where a KV head serves several query heads, they share its factors."""
        config = ngpt.config_of(SHAPE)
        config |= {"num_key_value_heads": 2}
        for layer in config["structure"]["layers"]:
            layer |= {"kv_group": 2, "head": 2}
        grouped, single = StructuredForCausalLM(StructuredConfig(**config)).eval(), new_model()
        state = dict(grouped.state_dict())
        for name, tensor in state.items():
            if any(kind in name for kind in ("k_proj", "v_proj", "qk_scale")):
                state[name] = tensor.unflatten(0, (2, 8)).repeat_interleave(2, dim=0).flatten(0, 1)
        single.load_state_dict(state)
        assert torch.allclose(logits(grouped), logits(single), atol=1e-6)


class TestScales:
    def test_attaching_and_folding_change_nothing(self):
        """With scales of their own or folded into the weights, the model computes the same and has the same tensors."""
        model = trained_model()
        before, names = logits(model), list(model.state_dict())
        ngpt.attach(model)
        assert torch.allclose(logits(model), before, atol=1e-5)
        ngpt.normalise(model)
        assert torch.allclose(logits(model), before, atol=1e-5)
        ngpt.fold(model)
        assert torch.allclose(logits(model), before, atol=1e-5)
        assert list(model.state_dict()) == names

    def test_scales_start_where_the_paper_has_them(self):
        """Stored: 1/sqrt(D), and 1 for the MLP's units; in effect: 0.05 and 1."""
        model = new_model()
        assert torch.allclose(model.lm_head.weight.norm(dim=1), torch.ones(SHAPE.vocabulary))
        ngpt.attach(model)
        stored, root = dict(model.named_parameters()), math.sqrt(SHAPE.hidden)
        expected = {
            "lm_head.parametrizations.weight.original1": 1 / root,
            "model.layers.0.attention_move.parametrizations.weight.original": 1 / root,
            "model.layers.0.self_attn.qk_scale.parametrizations.weight.original": 1 / root,
            "model.layers.1.mlp.gate_proj.parametrizations.weight.original1": 1.0,
        }
        for name, value in expected.items():
            assert torch.allclose(stored[name], torch.full_like(stored[name], value)), name
        assert torch.allclose(model.model.layers[0].mlp_move.weight, torch.tensor(ngpt.ALPHA))
        assert torch.allclose(model.model.layers[0].self_attn.qk_scale.weight, torch.tensor(1.0))

    def test_a_move_never_goes_backwards(self):
        """A stored share below zero counts as its magnitude."""
        model = new_model()
        ngpt.attach(model)
        move = model.model.layers[0].mlp_move
        with torch.no_grad():
            move.parametrizations.weight.original.neg_()
        assert (move.weight > 0).all()

    def test_refuses_factorised_linears(self):
        """The product of two matrices has no rows that a parameter holds."""
        config = ngpt.config_of(SHAPE)
        config["structure"]["layers"][0]["ranks"] = {"mlp.down_proj": 4}
        with pytest.raises(ValueError, match="factorised"):
            ngpt.attach(StructuredForCausalLM(StructuredConfig(**config)))


class TestTraining:
    def test_everything_has_unit_length_after_each_step(self, tmp_path):
        """Rows that the hidden state is multiplied with, and columns that are added up, after every optimizer step."""
        model, seen = new_model(), []
        ngpt.attach(model)

        def checked(bare):
            ngpt.normalise(bare)
            seen.append(max((t.norm(dim=d) - 1).abs().max().item() for _, t, d in unit_tensors(bare)))

        training.train(model, windows(), SETTINGS, state=tmp_path, after_step=checked)
        assert len(seen) == SETTINGS.optimizer_steps
        assert max(seen) < 1e-6

    def test_resumed_equals_uninterrupted(self, tmp_path):
        """Killed in between, the training ends in the same bits."""
        whole, resumed = new_model(), new_model()
        ngpt.train_on_sphere(whole, windows(), SETTINGS, state=tmp_path / "whole", seed=1)

        def kill(label, done, total, detail=""):
            if done == 4:
                raise Killed

        with pytest.raises(Killed):
            ngpt.train_on_sphere(resumed, windows(), SETTINGS, state=tmp_path / "cut", seed=1, progress=kill)
        resumed = new_model(seed=9)
        ngpt.train_on_sphere(resumed, windows(), SETTINGS, state=tmp_path / "cut", seed=1)
        for (name, first), second in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
            assert torch.equal(first, second), name

    def test_learns(self, tmp_path):
        """The loss falls far below that of guessing, and every kind of scale moves."""
        model = new_model()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        settings = TrainingSettings(optimizer_steps=80, batch_windows=8, learning_rate=3e-2)
        history = ngpt.train_on_sphere(model, windows(), settings, state=tmp_path)
        assert history.steps[-1].loss < 0.5 * math.log(SHAPE.vocabulary)
        for name, tensor in model.state_dict().items():
            assert not torch.equal(tensor, before[name]), name

    def test_weights_do_not_decay(self, tmp_path):
        """Decay would only be undone, so it is refused."""
        settings = TrainingSettings(optimizer_steps=1, batch_windows=1, learning_rate=1e-3, weight_decay=0.1)
        with pytest.raises(ValueError, match="weight_decay must be 0"):
            ngpt.train_on_sphere(new_model(), windows(), settings, state=tmp_path)


class TestCheckpoint:
    def test_saved_and_loaded(self, tmp_path, tiny_checkpoints):
        """The folder is a structured checkpoint that loads to the same function, to FP16."""
        model = trained_model()
        folder = models.save(model, tmp_path / "made", like=tiny_checkpoints["llama"])
        assert {path.name for path in folder.iterdir()} >= {
            "structure.json",
            "modeling_structured.py",
            "tokenizer.json",
        }
        assert torch.allclose(logits(models.load(folder)), logits(model), atol=2e-2)

    def test_sft_goes_on_from_a_folded_checkpoint(self, tmp_path, tiny_checkpoints):
        """Attached again after FP16, the rows are directions and the scales what they were."""
        model = trained_model()
        loaded = models.load(models.save(model, tmp_path / "made", like=tiny_checkpoints["llama"]))
        before = logits(loaded)
        ngpt.attach(loaded)
        ngpt.normalise(loaded)
        assert torch.allclose(logits(loaded), before, atol=2e-2)
        scale = loaded.lm_head.parametrizations.weight.original1 * math.sqrt(SHAPE.hidden)
        assert torch.allclose(scale, model.lm_head.weight.norm(dim=1), rtol=1e-3)

    def test_is_counted_before_it_exists(self):
        """The table knows every tensor, its shape and the number of parameters."""
        config, model = ngpt.config_of(SHAPE), new_model()
        assert tensor_shapes(load(config)) == {name: tuple(t.shape) for name, t in model.state_dict().items()}
        assert parameter_count(config) == sum(p.numel() for p in model.parameters())

    def test_keeps_its_structure_when_cut(self):
        """Surgery leaves an nGPT: no stock class has its shape, also where all layers are alike; hidden stays."""
        config = ngpt.config_of(SHAPE)
        cut = reduced_config(config, plan_of(load(config), {"intermediate": [list(range(64))] * 2}))
        assert cut["structure"]["block"]["norm"] == "sphere"
        assert cut["intermediate_size"] == 64
        assert isinstance(StructuredForCausalLM(StructuredConfig(**cut)).lm_head, nn.Linear)

    def test_same_seed_same_weights(self):
        """An initialisation is its configuration and its seed, and leaves the global generator alone."""
        before = torch.random.get_rng_state()
        first, second, other = new_model(4), new_model(4), new_model(5)
        assert torch.equal(torch.random.get_rng_state(), before)
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
        assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
