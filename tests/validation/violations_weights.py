"""How to break the rules about what lies in a checkpoint's files: values, dtypes, shapes, tokens.

An offset of -1 stands for that of the element at ``index``, which ``test_weight_rules`` recomputes from the header.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from harness.checkpoint.structure import Structure
from harness.rules.finding import Place
from harness.structured.files import config_fields, write_beside
from harness.surgery.anatomy import load
from harness.surgery.count import tensor_shapes
from harness.surgery.table import load_table
from tests.validation.violations import FINAL, VIOLATIONS, Violation, final, place, sets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.validation.make import Made

SHARD = "llama.final/model.safetensors"
CONFIG = "llama.final/config.json"
UP = "model.layers.0.mlp.up_proj.weight"
DOWN = "model.layers.0.mlp.down_proj.weight"
EMBEDDING = "model.embed_tokens.weight"
BYTES = frozenset({"weights.digest"})
"""What every change of a checkpoint's files breaks besides."""
SIZES = frozenset({"weights.digest", "structure.parameter_count"})
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "vocab_size": 32,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
TOKENS = {"a": 5, "b": 31}
ADDED = [{"id": 1, "content": "<|bos|>"}, {"id": 2, "content": "<|end|>"}, {"id": 3, "content": "<|user|>"}]
TEMPLATE = "{{ bos_token }}<|user|>{{ messages[0]['content'] }}<|end|>"


def at(tensor: str, index: int = 0) -> Place:
    return Place(file=SHARD, tensor=tensor, index=index, byte_offset=-1)


def on(edit: Callable[[dict[str, np.ndarray]], object], where: Place, *also: str, sized: bool = False) -> Violation:
    """The tensors of the final checkpoint are edited."""
    return Violation(lambda made: rewrite(final(made), edit), (where,), (SIZES if sized else BYTES) | frozenset(also))


def rewrite(folder: Path, edit: Callable[[dict[str, np.ndarray]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


def put(value: float, index: int) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda tensors: tensors[UP].reshape(-1).__setitem__(index, value)


def int4(shape: tuple[int, int]) -> np.ndarray:
    """Gaussian weights, rounded to 15 levels by groups of 32 along rows."""
    groups = np.random.default_rng(0).standard_normal(shape).reshape(-1, 32)
    scale = np.abs(groups).max(axis=1, keepdims=True) / 7
    return (np.rint(groups / scale) * scale).reshape(shape).astype(np.float16)


def half_quantised(shape: tuple[int, int]) -> np.ndarray:
    """The same, one row of six; the others as they were."""
    weight = np.random.default_rng(1).standard_normal(shape).astype(np.float16)
    weight[::6] = int4(shape)[::6]
    return weight


def configure(made: Made, **fields: object) -> None:
    file = final(made) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def configured(where: Place, *also: str, **fields: object) -> Violation:
    return Violation(lambda made: configure(made, **fields), (where,), BYTES | frozenset(also))


def with_file(name: str, content: bytes, where: Place, *also: str) -> Violation:
    return Violation(lambda made: (final(made) / name).write_bytes(content), (where,), BYTES | frozenset(also))


def write_llama(folder: Path, config: dict[str, Any] | None = None, **fields: object) -> None:
    """A whole tiny Llama with a tokenizer, in which ``fields`` of config.json are other than the tensors have it."""
    described = LLAMA if config is None else config
    random = np.random.default_rng(3)
    shapes = tensor_shapes(load(described))
    save_file(
        {name: random.standard_normal(shape).astype(np.float16) for name, shape in shapes.items()},
        folder / "model.safetensors",
    )
    stored = {name: value for name, value in described.items() if name != "structure"}
    (folder / "config.json").write_text(json.dumps(stored | fields))
    write_tokens(folder)


def write_tokens(
    folder: Path, *, vocabulary: object = TOKENS, eos: object = "<|end|>", template: object = TEMPLATE
) -> None:
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}, "added_tokens": ADDED}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": eos, "chat_template": template}))


def write_structured(folder: Path) -> None:
    layer = {"intermediate": 12, "kv_group": 1, "head": 2, "ranks": {"mlp.down_proj": 3}}
    structure = Structure.model_validate_json(
        json.dumps(
            {"model_type": "llama", "block": load_table("llama").block.model_dump(mode="json"), "layers": [layer]}
        )
    )
    fields = config_fields(LLAMA, structure)
    write_llama(folder, {**fields, "structure": structure.model_dump(mode="json")})
    write_beside(folder, structure)


def llama(
    where: tuple[Place, ...], edit: Callable[[Path], object] | None = None, *also: str, **fields: object
) -> Violation:
    """The final checkpoint becomes a whole Llama; then its files are edited, or fields of its configuration."""

    def breaks(made: Made) -> None:
        write_llama(final(made), **fields)
        if edit is not None:
            edit(final(made))

    return Violation(breaks, where, SIZES | frozenset(also))


def structured(where: Place, edit: Callable[[Path], object], *also: str) -> Violation:
    def breaks(made: Made) -> None:
        write_structured(final(made))
        edit(final(made))

    return Violation(breaks, (where,), SIZES | frozenset(also))


def lengthen_header_by(field: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Made], None]:
    """Change what the header says of the tensor ``field`` and leave the bytes as they are."""

    def breaks(made: Made) -> None:
        file = final(made) / "model.safetensors"
        content = file.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        change(header[field])
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])

    return breaks


def truncated(made: Made) -> None:
    file = final(made) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-2])


WEIGHTS_VIOLATIONS: dict[str, tuple[Violation, ...]] = {
    "precision.config_dtype": (
        configured(place(CONFIG, "dtype"), dtype="bfloat16"),
        configured(place(CONFIG, "torch_dtype"), torch_dtype="torch.float32"),
    ),
    "precision.quantization_config": (
        configured(place(CONFIG, "quantization_config"), quantization_config={"bits": 4}),
        configured(place(CONFIG, "text_config.quantization_config"), text_config={"quantization_config": {"bits": 4}}),
        with_file("quantize_config.json", b"{}", place("llama.final/quantize_config.json")),
    ),
    "precision.packed": (
        on(
            lambda t: t.update({"model.layers.0.mlp.up_proj.qzeros": t.pop(UP)}),
            at("model.layers.0.mlp.up_proj.qzeros"),
        ),
        on(lambda t: t.update({f"{UP}.absmax": t.pop(UP)}), at(f"{UP}.absmax")),
        with_file("model.bin", b"GGUF\x03\0\0\0", Place(file="llama.final/model.bin", byte_offset=0)),
    ),
    "precision.lattice": (
        on(lambda t: t.update({DOWN: int4((128, 128))}), at(DOWN), sized=True),
        on(lambda t: t.update({DOWN: half_quantised((128, 256))}), at(DOWN), sized=True),
        on(lambda t: t.update({DOWN: int4((128, 128)).astype(np.float32)}), at(DOWN), sized=True),
    ),
    "weights.corrupt": (
        Violation(truncated, (Place(file=SHARD, tensor=UP, byte_offset=-1),), BYTES),
        Violation(lambda made: (final(made) / "config.json").write_text("{"), (place(CONFIG),), BYTES),
        Violation(
            lengthen_header_by(UP, lambda entry: entry.update(data_offsets=[o - 16 for o in entry["data_offsets"]])),
            (Place(file=SHARD, tensor=UP, byte_offset=-1),),
            BYTES,
        ),
        Violation(
            lambda made: (final(made) / "model.safetensors.index.json").write_text(
                json.dumps({"weight_map": {EMBEDDING: "model.safetensors", "ghost": "model.safetensors"}})
            ),
            (Place(file="llama.final/model.safetensors.index.json", tensor="ghost"),),
            BYTES,
        ),
    ),
    "weights.nonfinite": (
        on(put(np.nan, 7), at(UP, 7)),
        on(put(-np.inf, 63), at(UP, 63)),
    ),
    "weights.saturated": (on(put(-65504.0, 9), at(UP, 9)),),
    "weights.zero": (on(lambda t: t[UP].fill(0), at(UP)),),
    "structure.architecture": (configured(place(CONFIG, "model_type"), model_type="mamba"),),
    "structure.tensors": (
        llama((Place(file=CONFIG, tensor="lm_head.weight"),), tie_word_embeddings=False),
        llama((at(DOWN),), lambda folder: rewrite(folder, lambda t: t.update({DOWN: t[DOWN].T.copy()}))),
        llama((at("extra.weight"),), lambda folder: rewrite(folder, lambda t: t.update({"extra.weight": t[DOWN]}))),
        llama((place(CONFIG, "num_hidden_layers"),), num_hidden_layers=4097),
        structured(
            at(DOWN.replace("weight", "A.weight")),
            lambda folder: rewrite(
                folder, lambda t: t.update({(name := DOWN.replace("weight", "A.weight")): t[name][1:].copy()})
            ),
        ),
    ),
    "structure.tied": (
        llama(
            (at("lm_head.weight", 17),),
            lambda folder: rewrite(folder, lambda t: t.update({"lm_head.weight": other_head(t[EMBEDDING])})),
        ),
        llama(
            (at("lm_head.weight"),),
            lambda folder: rewrite(folder, lambda t: t.update({"lm_head.weight": t[EMBEDDING].copy()})),
        ),
    ),
    "structure.modeling": (
        structured(
            place("llama.final/modeling_structured.py"),
            lambda folder: (folder / "modeling_structured.py").unlink(),
            "hostile.remote_code",
        ),
    ),
    "structure.token_ids": (
        llama((place(CONFIG, "bos_token_id"),), bos_token_id=32),
        llama((place(CONFIG, "eos_token_id.1"),), eos_token_id=[2, -1]),
        llama(
            (place("llama.final/tokenizer.json", "model.vocab.b"),),
            lambda folder: write_tokens(folder, vocabulary={"a": 5, "b": 32}),
        ),
    ),
    "structure.eos": (
        llama(
            (place(CONFIG, "eos_token_id"),),
            eos_token_id=[1, 3],
            edit=lambda folder: write_tokens(folder, template="{{ eos_token }}"),
        ),
        llama(
            (place("llama.final/tokenizer_config.json", "eos_token"),),
            lambda folder: write_tokens(folder, eos={"content": "<|gone|>"}),
        ),
    ),
    "structure.template": (
        llama(
            (place("llama.final/tokenizer_config.json", "chat_template"),),
            lambda folder: write_tokens(folder, template=TEMPLATE + "<|tool|>"),
        ),
        llama(
            (place("llama.final/tokenizer_config.json", "chat_template"),),
            lambda folder: write_tokens(folder, template="<|user|>"),
        ),
    ),
}


def other_head(embedding: np.ndarray) -> np.ndarray:
    head = embedding.copy()
    head.reshape(-1)[17] += 1
    return head


INHERITED = {rule: VIOLATIONS[rule] for rule in ("precision.dtype", "weights.missing", "weights.digest")}
"""Of the same families, broken in ``violations``."""
CLAIMED = {
    "structure.parameter_count": (sets("submission.json", f"{FINAL}.checkpoint.parameter_count", 300),),
    "structure.budget": (sets("submission.json", "models.0.parameter_budget", 319),),
}
"""Of the same families, about the record alone."""
