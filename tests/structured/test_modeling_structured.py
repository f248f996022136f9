"""A structured model computes what the stock model of the same weights computes."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import DynamicCache

from harness.structured.loading import load
from harness.structured.modeling_structured import CACHE_NAME, StructuredConfig, StructuredForCausalLM


def checkpoint_layers(model, **options):
    """Releases of transformers before 5.24 have the method's old name."""
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)(options or None)


def greedy(model, token_ids, **settings):
    settings = {"attention_mask": torch.ones_like(token_ids), "max_new_tokens": 8, "do_sample": False} | settings
    return model.generate(token_ids, **settings)


class TestSameFunction:
    @pytest.mark.parametrize("implementation", ["sdpa", "eager"])
    def test_equals_the_stock_model(self, dense, model, implementation):
        """Uniform layers and the same weights: the same logits, bit for bit, in every architecture."""
        stock = copy.deepcopy(dense.model)
        for each in (stock, model):
            each.set_attn_implementation(implementation)
        assert torch.equal(dense.logits(model), dense.logits(stock))

    def test_same_greedy_tokens(self, dense, model, token_ids):
        """And the same text."""
        assert torch.equal(greedy(model, token_ids), greedy(dense.model, token_ids))

    @pytest.mark.parametrize(
        "rope",
        [
            {"rope_type": "linear", "factor": 2.0},
            {"rope_type": "dynamic", "factor": 2.0},
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        ],
        ids=lambda rope: rope["rope_type"],
    )
    def test_equals_under_every_rotation(self, new_dense, tmp_path, rope):
        """Rotation is what transformers computes, also for texts longer than the model was made for."""
        dense = new_dense("llama", rope_parameters=rope | {"rope_theta": 10000.0})
        model = load(dense.write(tmp_path / "s"))
        long = torch.randint(3, 300, (1, 200), generator=torch.Generator().manual_seed(1))
        for token_ids in (None, long):
            assert torch.equal(dense.logits(model, token_ids), dense.logits(dense.model, token_ids))

    def test_reads_the_fields_of_transformers_4(self, llama, tmp_path):
        """``rope_theta`` and ``rope_scaling`` mean what ``rope_parameters`` mean."""
        rope = llama.config["rope_parameters"] | {"rope_type": "linear", "factor": 2.0}
        new = llama.config | {"rope_parameters": rope}
        old = {name: value for name, value in llama.config.items() if name != "rope_parameters"}
        old |= {"rope_theta": rope["rope_theta"], "rope_scaling": {"type": "linear", "factor": 2.0}}
        models = [load(llama.write(tmp_path / str(i), config=config)) for i, config in enumerate((old, new))]
        first, second = (llama.logits(model) for model in models)
        assert torch.equal(first, second)
        assert not torch.equal(first, llama.logits(llama.model))

    def test_same_loss_and_gradients(self, dense, model, token_ids):
        """Training moves the weights as it would move the stock model's."""
        stock = copy.deepcopy(dense.model)
        losses = [each(input_ids=token_ids, labels=token_ids).loss for each in (stock, model)]
        for loss in losses:
            loss.backward()
        assert torch.equal(*losses)
        gradients = dict(model.named_parameters())
        for name, parameter in stock.named_parameters():
            assert torch.allclose(parameter.grad, gradients[name].grad, rtol=1e-5, atol=1e-6), name

    @pytest.mark.parametrize("field", ["resid_pdrop", "embd_pdrop", "attention_dropout"])
    def test_same_dropout(self, new_dense, tmp_path, token_ids, field):
        """In training, the architecture's dropout falls where it falls in the stock model."""
        dense = new_dense("phi", **{field: 0.3})
        losses = []
        for model in (dense.model, load(dense.write(tmp_path / "s"))):
            model.train()
            torch.manual_seed(5)
            losses.append(model(input_ids=token_ids, labels=token_ids).loss)
        assert torch.equal(*losses)


class TestForward:
    def test_keeps_the_last_logits(self, dense, model):
        """``logits_to_keep`` computes fewer logits, and the same."""
        every = dense.logits(model)
        assert torch.allclose(dense.logits(model, logits_to_keep=3), every[:, -3:], atol=1e-6)
        assert torch.allclose(dense.logits(model, logits_to_keep=torch.tensor([1, 4])), every[:, [1, 4]], atol=1e-6)

    def test_hidden_states_and_weights(self, dense, model, token_ids):
        """Where asked for, they are those of the stock model."""
        outputs = []
        for each in (copy.deepcopy(dense.model), model):
            each.set_attn_implementation("eager")
            with torch.inference_mode():
                outputs.append(each(token_ids, output_hidden_states=True, output_attentions=True))
        for kind in ("hidden_states", "attentions"):
            pairs = list(zip(outputs[0][kind], outputs[1][kind], strict=True))
            assert len(pairs) >= 3
            assert all(torch.equal(*pair) for pair in pairs)

    def test_weights_need_eager_attention(self, llama, tmp_path, token_ids):
        """An implementation that has no weights is not asked for them in vain."""
        model = load(llama.write(tmp_path / "s"))
        with pytest.raises(ValueError, match="attn_implementation must be 'eager'"):
            model(token_ids, output_attentions=True)

    def test_takes_embeddings_and_gives_tuples(self, dense, model, token_ids):
        """Embeddings instead of tokens, a tuple instead of an object."""
        with torch.inference_mode():
            embeddings = model.get_input_embeddings()(token_ids)
            first, *_ = model(inputs_embeds=embeddings, return_dict=False)
        assert torch.equal(first, dense.logits(model))
        with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
            model(token_ids, inputs_embeds=embeddings)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision(self, dense, structured, dtype, tmp_path):
        """FP16 and BF16 run, stay finite and near FP32, and equal the stock model loaded so."""
        dense.model.save_pretrained(tmp_path / "stock")
        stock = type(dense.model).from_pretrained(tmp_path / "stock", dtype=dtype)
        found = dense.logits(load(structured, dtype=dtype))
        assert found.dtype == dtype
        assert torch.equal(found, dense.logits(stock))
        assert torch.isfinite(found).all()
        assert (found.float() - dense.logits(dense.model)).abs().max() < 0.5

    @pytest.mark.parametrize("reentrant", [False, True])
    def test_gradient_checkpointing(self, model, token_ids, reentrant):
        """Layers computed twice give the same gradients."""
        plain = copy.deepcopy(model)
        checkpoint_layers(model, use_reentrant=reentrant)
        model.enable_input_require_grads()
        for each in (plain, model):
            each.train()
            each(input_ids=token_ids, labels=token_ids).loss.backward()
        gradients = dict(plain.named_parameters())
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter.grad, gradients[name].grad), name

    def test_gradient_checkpointing_refuses_a_filled_cache(self, llama, tmp_path, token_ids):
        """It would be filled again in the backward pass."""
        model = load(llama.write(tmp_path / "s"))
        cache = model(token_ids).get(CACHE_NAME)
        checkpoint_layers(model)
        model.train()
        with pytest.raises(ValueError, match="cache must be empty"):
            model(token_ids, **{CACHE_NAME: cache})

    def test_trains_after_it_was_measured(self, llama, tmp_path, token_ids):
        """Frequencies from inference mode serve the backward pass too."""
        model = load(llama.write(tmp_path / "s"))
        llama.logits(model)
        model(input_ids=token_ids, labels=token_ids).loss.backward()
        assert model.model.layers[0].self_attn.q_proj.weight.grad.abs().sum() > 0


class TestCache:
    def test_cached_equals_uncached(self, dense, model, token_ids):
        """Token by token with a cache, the logits are those of the whole text at once."""
        cache, parts = DynamicCache(config=model.config), []
        with torch.inference_mode():
            for piece in token_ids.split([9, 1, 1, 5, 7], dim=1):
                parts.append(model(piece, **{CACHE_NAME: cache}).logits)  # noqa: PERF401 - the cache grows
        assert (torch.cat(parts, dim=1) - dense.logits(model)).abs().max() < 2e-5

    def test_generates_the_same_without_cache(self, model, token_ids):
        """The cache changes speed, not text."""
        assert torch.equal(greedy(model, token_ids), greedy(model, token_ids, use_cache=False))

    def test_static_cache(self, model, token_ids):
        """A cache of fixed size serves as well."""
        assert torch.equal(greedy(model, token_ids), greedy(model, token_ids, cache_implementation="static"))

    def test_old_name(self, llama, tmp_path, token_ids):
        """``past_key_values`` is the cache, as releases of transformers before 5.24 call it."""
        model = load(llama.write(tmp_path / "s"))
        cache = DynamicCache(config=model.config)
        with torch.inference_mode():
            model(token_ids[:, :20], past_key_values=cache)
            rest = model(token_ids[:, 20:], past_key_values=cache).logits
        assert cache.get_seq_length() == token_ids.shape[1]
        assert (rest - llama.logits(model)[:, 20:]).abs().max() < 2e-5

    def test_left_padding(self, model):
        """Texts of different lengths in one batch are continued as each alone."""
        rows = [
            torch.randint(3, 300, (1, length), generator=torch.Generator().manual_seed(length)) for length in (5, 17)
        ]
        padded = torch.cat([torch.nn.functional.pad(row, (17 - row.shape[1], 0)) for row in rows])
        together = greedy(model, padded, attention_mask=(padded != 0).long())
        for row, found in zip(rows, together, strict=True):
            assert torch.equal(greedy(model, row)[0, row.shape[1] :], found[17:])


class TestMaking:
    def test_needs_no_memory_until_loaded(self, structured):
        """Made on the meta device, the model has every shape and no data."""
        config = StructuredConfig.from_pretrained(structured)
        with torch.device("meta"):
            model = StructuredForCausalLM(config)
        assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
        assert {name: part.shape for name, part in model.state_dict().items()} == {
            name: part.shape for name, part in load(structured).state_dict().items()
        }

    def test_starts_at_sane_weights(self, llama, tmp_path):
        """A new model has norms of one, no biases, small weights."""
        config = StructuredConfig.from_pretrained(llama.write(tmp_path / "s"))
        config.initializer_range = 0.02
        model = StructuredForCausalLM(config)
        layer = model.model.layers[0]
        assert (layer.input_layernorm.weight == 1).all()
        assert 0.015 < layer.mlp.up_proj.weight.std() < 0.025
        assert torch.isfinite(llama.logits(model)).all()

    def test_needs_a_structure(self):
        """Without one there is nothing to build."""
        with pytest.raises(ValueError, match=r"structure\.json"):
            StructuredForCausalLM(StructuredConfig())

    def test_save_pretrained_round_trip(self, dense, model, tmp_path):
        """What ``save_pretrained`` writes is loaded again, with the structure inside ``config.json``."""
        model.save_pretrained(tmp_path / "saved")
        assert not (tmp_path / "saved" / "structure.json").exists()
        again = StructuredForCausalLM.from_pretrained(tmp_path / "saved").eval()
        assert again.config.structure == model.config.structure
        assert torch.equal(dense.logits(again), dense.logits(model))
        assert (again.lm_head.weight is again.model.embed_tokens.weight) is dense.config["tie_word_embeddings"]

    def test_reads_the_structure_beside_a_named_file(self, structured, monkeypatch):
        """A configuration may be named by its folder or by its file, from anywhere."""
        monkeypatch.chdir(structured)
        names = (structured, structured / "config.json", "config.json")
        named = [StructuredConfig.from_pretrained(name) for name in names]
        assert all(config.structure == named[0].structure for config in named)

    def test_a_module_in_anothers_place_is_used(self, dense, model):
        """Adapters replace linears; what they put there computes."""
        name = dense.record["block"]["down"]
        container, _, leaf = name.rpartition(".")
        parent = model.model.layers[1].get_submodule(container)
        original = getattr(parent, leaf)
        before = dense.logits(model)
        setattr(parent, leaf, torch.nn.Sequential(original, torch.nn.Dropout(1.0).train()))
        assert not torch.allclose(dense.logits(model), before)
        setattr(parent, leaf, torch.nn.Sequential(original, torch.nn.Identity()))
        assert torch.equal(dense.logits(model), before)
