"""nGPT: training with weights, hidden states and heads of unit length (arXiv 2410.01131).

    checkpoint            --attach-->  training                           --fold--> checkpoint
    lm_head rows  s_z E                E unit rows,  s_z = p sqrt(D)       after every optimizer step:
    gate, up rows s sqrt(D) W          W unit rows,  s   = p               ``normalise`` puts rows and
    moves         alpha                alpha = |p| 0.05 sqrt(D)            columns back on the sphere
    qk_scale      s_qk                 s_qk  = p sqrt(D)

A scale that starts at ``init`` is trained as ``p``, which starts at ``scale``, and used as ``p * init / scale``: so its
effective learning rate is the weights' own times ``init / scale``. There is one form of checkpoint, the folded one,
which computes the same with fewer operations; a row's length is its scale, so that nothing is lost by folding.

Per layer, with Norm(x) = x / |x| and h of unit length:
    h <- Norm(h + alpha_A (Norm(attention h) - h)),   heads s_qk Norm(RoPE q), s_qk Norm(RoPE k), softmax scale sqrt(d)
    h <- Norm(h + alpha_M (Norm(W_down (u SiLU(v))) - h)),   u = s_u sqrt(D) W_up h,  v = s_v sqrt(D) W_gate h
The paper has no sqrt(D) at u, its published code has; Norm takes it out again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from harness.checkpoint.structure import LayerStructure, Structure
from harness.methods import training
from harness.progress import silent
from harness.structured.files import EMBEDDED_FIELD, config_fields
from harness.structured.modeling_structured import StructuredConfig, StructuredForCausalLM
from harness.surgery.table import load_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.corpora.windows import Windows
    from harness.methods.history import History
    from harness.methods.training import Loss, TrainingSettings
    from harness.progress import Progress

MODEL_TYPE: Final = "ngpt"
ALPHA: Final = 0.05
"""Where the shares of a move start."""
EPSILON: Final = 1e-12
"""Lengths below it count as it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NgptShape:
    """The sizes of an nGPT."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    """Query heads, each with keys and values of its own."""
    intermediate: int
    context_tokens: int
    head_dim: int | None = None
    """None for ``hidden // heads``."""
    rope_theta: float = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialTokens:
    """Ids of the tokens that a configuration names; None where the tokenizer has none."""

    begin: int | None = None
    end: int | None = None
    padding: int | None = None


def config_of(shape: NgptShape, tokens: SpecialTokens = SpecialTokens()) -> dict[str, Any]:
    """The ``config.json`` of that shape, with its structure under ``structure``."""
    layer = LayerStructure(intermediate=shape.intermediate, kv_group=shape.heads, head=1)
    block = load_table(MODEL_TYPE).block
    structure = Structure(model_type=MODEL_TYPE, block=block, layers=(layer,) * shape.layers)
    fields: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "num_attention_heads": shape.heads,
        "head_dim": shape.head_dim or shape.hidden // shape.heads,
        "max_position_embeddings": shape.context_tokens,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "hidden_act": "silu",
        block.norm_epsilon: EPSILON,
        "tie_word_embeddings": False,
        "bos_token_id": tokens.begin,
        "eos_token_id": tokens.end,
        "pad_token_id": tokens.padding,
    }
    return {**config_fields(fields, structure), EMBEDDED_FIELD: structure.model_dump(mode="json")}


def initialised(config: dict[str, Any], *, seed: int) -> StructuredForCausalLM:
    """An untrained model of ``config``, from ``config_of``; FP32, in evaluation mode.

    Weights are drawn from a normal distribution and normalised, which leaves their directions uniform: of what the
    published code does to their size nothing would remain.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = StructuredForCausalLM(StructuredConfig(**config))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    nn.init.normal_(parameter)
    root = math.sqrt(model.config.hidden_size)
    normalise(model)
    with torch.no_grad():
        for module in _moves(model):
            nn.init.constant_(module.weight, ALPHA)
        for module in _widened(model):
            module.weight.mul_(root)
    model.train(mode=False)
    return model


def is_ngpt(model: nn.Module) -> TypeGuard[StructuredForCausalLM]:
    """Whether ``model`` is one, by the structure that it was loaded with."""
    return isinstance(model, StructuredForCausalLM) and model.model.shapes.block.on_sphere


def attach(model: StructuredForCausalLM) -> None:
    """Give the scales of ``model`` parameters of their own, in place; the function stays the same.

    Raises:
        ValueError: it is no nGPT, or has factorised linears, whose rows no parameter holds.
    """
    _check(model)
    root = math.sqrt(model.config.hidden_size)
    for module in _moves(model):
        parametrize.register_parametrization(module, "weight", _Scale(ALPHA * root, is_magnitude=True))
    for module in _head_scales(model):
        parametrize.register_parametrization(module, "weight", _Scale(root, is_magnitude=False))
    for module in (*_widened(model), model.lm_head):
        parametrize.register_parametrization(module, "weight", _ScaledRows(root))


def fold(model: StructuredForCausalLM) -> None:
    """Put the scales of ``model`` back into its weights, in place: undoes ``attach``."""
    for module in (*_moves(model), *_head_scales(model), *_widened(model), model.lm_head):
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


@torch.no_grad()
def normalise(model: nn.Module) -> None:
    """Give rows that the hidden state is multiplied with, and columns that are added to it, unit length, in place.

    For ``training.train(after_step=...)``: to be called when scales are attached and after every optimizer step.
    """
    assert is_ngpt(model)  # noqa: S101 - it was attached to one
    for module in (model.model.embed_tokens, model.lm_head, *_readers(model), *_widened(model)):
        rows = _directions(module)
        rows.copy_(functional.normalize(rows, dim=1, eps=EPSILON))
    for module in _writers(model):
        module.weight.copy_(functional.normalize(module.weight, dim=0, eps=EPSILON))


def train_on_sphere(  # noqa: PLR0913 - as of ``training.train``
    model: StructuredForCausalLM,
    windows: Windows,
    settings: TrainingSettings,
    *,
    state: Path,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
    loss: Loss = training.causal_lm_loss,
) -> History:
    """Train an nGPT in place as ``training.train`` does, on the sphere after every optimizer step.

    Raises:
        ValueError: weights would decay, which on a sphere has no meaning; else as ``training.train`` and ``attach``.
    """
    if settings.weight_decay:
        raise ValueError(
            f"weight_decay must be 0 for nGPT, whose weights have unit length, got {settings.weight_decay}"
        )
    attach(model)
    normalise(model)
    history = training.train(
        model,
        windows,
        settings,
        state=state,
        device=device,
        seed=seed,
        progress=progress,
        loss=loss,
        after_step=normalise,
    )
    fold(model)
    return history


class _Scale(nn.Module):
    """``p * init / scale``, or its magnitude."""

    def __init__(self, factor: float, *, is_magnitude: bool) -> None:
        super().__init__()
        self.factor, self.is_magnitude = factor, is_magnitude

    def forward(self, stored: Tensor) -> Tensor:
        """The scale in effect."""
        scale = stored * self.factor
        return scale.abs() if self.is_magnitude else scale

    def right_inverse(self, scale: Tensor) -> Tensor:
        """What is stored for it."""
        return scale / self.factor


class _ScaledRows(nn.Module):
    """Unit rows, each times its scale."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, directions: Tensor, stored: Tensor) -> Tensor:
        """``[out, in]`` and ``[out]`` to ``[out, in]``."""
        return directions * (stored * self.factor)[:, None]

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of ``weight`` as directions and what is stored for their lengths."""
        return functional.normalize(weight, dim=1, eps=EPSILON), torch.linalg.vector_norm(weight, dim=1) / self.factor


def _directions(module: Any) -> Tensor:  # noqa: ANN401 - a linear, whose class changes when scales are attached
    """The weight without scales, where they are parameters of their own."""
    held: Tensor = module.parametrizations.weight.original0 if parametrize.is_parametrized(module) else module.weight
    return held


def _linears(model: StructuredForCausalLM, wanted: set[str]) -> Iterator[Any]:
    """Of every layer, the linears that compute those of ``wanted``, fused or not."""
    for layer in model.model.layers:
        for name, parts in model.model.shapes.linears.items():
            if wanted.issuperset(parts):
                yield layer.get_submodule(name)


def _readers(model: StructuredForCausalLM) -> Iterator[Any]:
    """Linears of the attention that read the hidden state."""
    yield from _linears(model, set(model.model.shapes.block.attention_inputs))


def _widened(model: StructuredForCausalLM) -> Iterator[Any]:
    """Linears of the MLP that read it; their rows have scales."""
    yield from _linears(model, set(model.model.shapes.block.mlp_inputs))


def _writers(model: StructuredForCausalLM) -> Iterator[Any]:
    """Linears whose columns are added up to what the hidden state moves to."""
    block = model.model.shapes.block
    yield from _linears(model, {block.output, block.down})


def _moves(model: StructuredForCausalLM) -> Iterator[Any]:
    block = model.model.shapes.block
    for layer in model.model.layers:
        yield layer.get_submodule(block.attention_norm)
        yield layer.get_submodule(str(block.mlp_norm))


def _head_scales(model: StructuredForCausalLM) -> Iterator[Any]:
    for layer in model.model.layers:
        yield layer.get_submodule(str(model.model.shapes.block.query_key_scale))


def _check(model: StructuredForCausalLM) -> None:
    shapes = model.model.shapes
    if not shapes.block.on_sphere:
        raise ValueError(f"only an nGPT has scales to attach, its block.norm is 'sphere'; found {shapes.block.norm!r}")
    if any(layer.ranks for layer in shapes.layers):
        raise ValueError("an nGPT with factorised linears has no rows to normalise; multiply the factors out first")
