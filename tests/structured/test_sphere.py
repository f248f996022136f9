"""The block on the sphere: what its record may say, and that the usual machinery works for it."""

from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError

from harness.checkpoint.structure import Structure
from harness.methods import ngpt
from harness.structured.modeling_structured import Shapes, StructuredConfig, StructuredForCausalLM

SHAPE = ngpt.NgptShape(vocabulary=300, hidden=32, layers=2, heads=4, intermediate=64, context_tokens=128)


@pytest.fixture
def record():
    """The content of an nGPT's structure.json."""
    return ngpt.config_of(SHAPE)["structure"]


@pytest.fixture(scope="module")
def model():
    """A new nGPT."""
    return ngpt.initialised(ngpt.config_of(SHAPE), seed=0)


def refusals(record):
    """What the modeling file and the harness's own reader say of a record."""
    with pytest.raises(ValueError, match=r"block") as ours:
        Shapes(record)
    with pytest.raises(ValidationError) as read:
        Structure.model_validate(record)
    return str(ours.value), str(read.value)


class TestRecord:
    def test_both_readers_agree(self, record):
        """The file that travels with the weights and the harness take the same record."""
        assert Shapes(copy.deepcopy(record)).block.on_sphere
        assert Structure.model_validate(record).model_dump(mode="json") == record

    @pytest.mark.parametrize(
        "change",
        [
            {"final_norm": "norm"},
            {"query_key_scale": None},
            {"query_norm": "self_attn.q_norm", "key_norm": "self_attn.k_norm"},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_a_sphere_has_no_norms(self, record, change):
        """Neither at the end nor at the heads, and always a scale for these."""
        record["block"] |= change
        assert "sphere" in refusals(record)[0]

    @pytest.mark.parametrize("change", [{"query_key_scale": "self_attn.qk_scale"}, {"final_norm": None}])
    def test_others_have_no_part_of_it(self, llama, change):
        """A block with norms ends in one and has no scale for unit heads."""
        record = copy.deepcopy(llama.record)
        record["block"] |= change
        refusals(record)

    def test_module_names_are_free(self, record):
        """Two parts never have one module."""
        record["block"]["query_key_scale"] = record["block"]["attention_norm"]
        with pytest.raises(ValueError, match="module of its own"):
            Shapes(record)


class TestMachinery:
    def test_left_padding(self, model):
        """Texts of different lengths in one batch are continued as each alone."""
        rows = [torch.randint(3, 300, (1, size), generator=torch.Generator().manual_seed(size)) for size in (5, 17)]
        padded = torch.cat([torch.nn.functional.pad(row, (17 - row.shape[1], 0)) for row in rows])
        settings = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
        together = model.generate(padded, attention_mask=(padded != 0).long(), **settings)
        for row, found in zip(rows, together, strict=True):
            alone = model.generate(row, attention_mask=torch.ones_like(row), **settings)
            assert torch.equal(alone[0, row.shape[1] :], found[17:])

    def test_gradient_checkpointing(self, model):
        """Layers computed twice give the same gradients, with scales attached."""
        token_ids = torch.randint(3, 300, (2, 11), generator=torch.Generator().manual_seed(1))
        plain, again = copy.deepcopy(model), copy.deepcopy(model)
        for each in (plain, again):
            ngpt.attach(each)
        getattr(again, "activation_checkpointing_enable", again.gradient_checkpointing_enable)({"use_reentrant": False})
        for each in (plain, again):
            each.train()
            each(input_ids=token_ids, labels=token_ids).loss.backward()
        for (name, first), second in zip(plain.named_parameters(), again.parameters(), strict=True):
            if first.grad is not None:
                assert torch.equal(first.grad, second.grad), name

    def test_fused_and_ragged(self, model):
        """Fused linears and layers of different widths are normalised and scaled as others are."""
        config = ngpt.config_of(SHAPE)
        config["structure"]["fused"] = {
            "self_attn.qkv_proj": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            "mlp.gate_up_proj": ["mlp.gate_proj", "mlp.up_proj"],
        }
        fused, state = StructuredForCausalLM(StructuredConfig(**config)).eval(), dict(model.state_dict())
        for layer in range(SHAPE.layers):
            for name, parts in config["structure"]["fused"].items():
                prefix = f"model.layers.{layer}."
                weights = [state.pop(f"{prefix}{part}.weight") for part in parts]
                state[f"{prefix}{name}.weight"] = torch.cat(weights)
        fused.load_state_dict(state)
        token_ids = torch.randint(3, 300, (2, 11), generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            expected = model(token_ids, use_cache=False).logits
        ngpt.attach(fused)
        ngpt.normalise(fused)
        ngpt.fold(fused)
        with torch.inference_mode():
            assert torch.allclose(fused(token_ids, use_cache=False).logits, expected, atol=1e-5)
