r"""Track scratch: a model of the Cauchy kind, from nothing, by MiniCPM's rules (arXiv 2404.06395) in a stock class.

    MiniCPM's function                              the same in Qwen3's class, exactly but for a norm's epsilon
    x_0 = s_e E[token]                              x_0 = E[token]     the stream is s_e times smaller
    x  <- x + (s_d / sqrt(L)) branch(norm x)        o, down  times  c = s_d / (s_e sqrt(L))     norms undo it
    logits = E norm(x_L) d_base / D                 final norm  times  d_base / D

E stays as it is, so that head and embedding are still one tensor. AdamW's step does not depend on the size of a
gradient: a weight that is stored times c and trained at a rate times c takes MiniCPM's steps (without weight decay;
clipping sees other norms). Matrices of layers have the rate times d_base / D besides; embeddings, norms and biases the
rate itself, as MiniCPM leaves open. The class gives attention's output projection a bias with the others'; it stays 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from harness import Forecast, StepResult
from harness.errors import UsageError
from harness.surgery.count import parameter_count
from harness_tinytron.scratch_options import InitialiseStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from harness import ForecastRequest, InitialiseRequest, TrainRequest
    from harness_tinytron.options import TinytronOptions
    from harness_tinytron.scratch_options import TextStep

EPSILON: Final = 1e-6
"""Of the norms, where the stream has MiniCPM's size."""
BRANCH_ENDS: Final = ("self_attn.o_proj.weight", "mlp.down_proj.weight")
UNTRAINED: Final = "self_attn.o_proj.bias"


def forecast(request: ForecastRequest[TinytronOptions, InitialiseStep]) -> Forecast | None:
    """The configuration that ``initialise`` would write; None where nothing says how long the vocabulary is.

    Raises:
        UsageError: the tokenizer has another length than the recipe says, or the heads do not fit.
    """
    vocabulary = _vocabulary(request.step, request.config.get("vocab_size"))
    if vocabulary is None:
        return None
    config = config_of(request.step, vocabulary, request.config)
    return Forecast(config=config, parameter_count=parameter_count(config))


def initialise(request: InitialiseRequest[TinytronOptions, InitialiseStep]) -> StepResult:
    """Write the untrained model for the tokenizer.

    Raises:
        UsageError: as ``forecast``.
    """
    from harness.corpora.encoding import tokenizer_of
    from harness.methods import models

    tokenizer = tokenizer_of(request.tokenizer)
    vocabulary = _vocabulary(request.step, len(tokenizer))
    assert vocabulary is not None  # noqa: S101 - the tokenizer has a length
    ids = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    config = config_of(request.step, vocabulary, ids)
    model = _initialised(config, request.step, request.seed)
    output = models.save(model, request.workdir / "initial", like=request.tokenizer)
    return StepResult(checkpoint=output, notes={"parameter_count": parameter_count(config)})


def train_on_text(request: TrainRequest[TinytronOptions, TextStep]) -> StepResult:
    """Train on the text alone; what an earlier, killed try left is gone on from, to the same bytes."""
    from harness.methods import models
    from harness.methods.distillation import Distilled, FeatureModel, NoTeacher, distillation_loss
    from harness.methods.divergence import DistillationSettings
    from harness.methods.dropout import DropoutSettings, attach_dropout
    from harness.methods.training import train
    from harness.surgery import anatomy as anatomies
    from harness_tinytron.learning import training_settings, windows_of

    step, text = request.step, windows_of(request)
    model = models.load(request.student.path, device=request.device)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.endswith(UNTRAINED))
    anatomy = anatomies.load(request.student.config())
    put = attach_dropout(model, anatomy, DropoutSettings(attention=step.attention_dropout, hidden=step.hidden_dropout))
    learner = Distilled(FeatureModel(model), NoTeacher(), DistillationSettings(kl=0.0, ce=1.0))
    history = train(
        learner,
        text.windows,
        training_settings(step, rate_factors=rate_factors(learner, request.options.steps)),
        state=request.workdir / "state",
        device=request.device,
        seed=request.seed,
        progress=request.progress,
        loss=distillation_loss,
    )
    put.remove()
    output = models.save(model, request.workdir / "trained", like=request.student.path)
    return StepResult(checkpoint=output, notes={**history.summary(), **text.notes()})


def config_of(step: InitialiseStep, vocabulary: int, tokens: Mapping[str, Any]) -> dict[str, Any]:
    """The ``config.json``; raises ``UsageError`` where query heads do not come in groups of one size."""
    from transformers import Qwen3Config

    kv_heads = step.kv_heads or step.heads
    if step.heads % kv_heads:
        raise UsageError(f"initialise: heads must be a multiple of kv_heads, found {step.heads} and {kv_heads}")
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=step.hidden,
        intermediate_size=step.intermediate,
        num_hidden_layers=step.layers,
        num_attention_heads=step.heads,
        num_key_value_heads=kv_heads,
        head_dim=step.head_dim or step.hidden // step.heads,
        max_position_embeddings=step.context_tokens,
        rope_parameters={"rope_type": "default", "rope_theta": step.rope_theta},
        # The stream is s_e times smaller than MiniCPM's, and so is what may be neglected beside its square.
        rms_norm_eps=EPSILON / step.embedding_scale**2,
        initializer_range=step.initial_std,
        attention_bias=True,
        tie_word_embeddings=True,
        bos_token_id=tokens.get("bos_token_id"),
        eos_token_id=tokens.get("eos_token_id"),
        pad_token_id=tokens.get("pad_token_id"),
    )
    config.architectures = ["Qwen3ForCausalLM"]
    described: dict[str, Any] = config.to_dict()
    return described


def branch_scale(step: InitialiseStep) -> float:
    """``c``: what the last matrix of a branch is stored times."""
    return step.depth_scale / (step.embedding_scale * math.sqrt(step.layers))


def rate_factors(learner: nn.Module, steps: Iterable[object]) -> tuple[tuple[str, float], ...]:
    """Names of ``learner``'s parameters and what their rate is multiplied by; none without an initialisation."""
    step = next((each for each in steps if isinstance(each, InitialiseStep)), None)
    if step is None:
        return ()
    narrow = step.base_hidden / step.hidden
    factors = []
    for name, parameter in learner.named_parameters():
        if ".layers." in name and parameter.ndim > 1:
            ends = name.endswith(BRANCH_ENDS)
            factors.append((name, narrow * (branch_scale(step) if ends else 1.0)))
        elif name.endswith(".norm.weight") and ".layers." not in name:
            factors.append((name, narrow))
    return tuple(factors)


def _initialised(config: dict[str, Any], step: InitialiseStep, seed: int) -> Any:  # noqa: ANN401 - transformers' model
    import torch
    from torch import nn
    from transformers import Qwen3Config, Qwen3ForCausalLM

    narrow = step.base_hidden / step.hidden
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = Qwen3ForCausalLM(Qwen3Config.from_dict(config))
        model.float().eval()
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                matrix = ".layers." in name
                nn.init.normal_(parameter, std=step.initial_std * (math.sqrt(narrow) if matrix else 1.0))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
            if name.endswith(BRANCH_ENDS):
                parameter.data.mul_(branch_scale(step))
        model.model.norm.weight.data.fill_(narrow)
    return model


def _vocabulary(step: InitialiseStep, found: int | None) -> int | None:
    if step.vocabulary is not None and found is not None and step.vocabulary != found:
        raise UsageError(f"initialise: vocabulary is {step.vocabulary} in the recipe, the tokenizer has {found} tokens")
    return step.vocabulary if found is None else found
