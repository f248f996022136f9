"""A checkpoint of the shape of Llama-3.1-8B or Qwen2-7B with random FP16 weights, made in bounded memory.

    python bench/surgery_checkpoint.py --model llama-8b --layers 32 OUT     16 GB
    python bench/surgery_checkpoint.py --model qwen2-7b --layers 2 OUT      a cut of two layers

Real dimensions, shards of 5 GB and an index, no tokenizer. The weights are one block of normal numbers, repeated: its
length divides no row, so rows and tensors differ; good for timing and for surgery, and good for nothing else.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from harness.checkpoint.writer import MAX_SHARD_BYTES, CheckpointWriter, TensorSpec
from harness.surgery.anatomy import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MODELS: Final[dict[str, dict[str, Any]]] = {
    "llama-8b": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "attention_bias": False,
        "mlp_bias": False,
        "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_theta": 500_000.0, "rope_type": "default"},
        "tie_word_embeddings": False,
        "dtype": "float16",
        "hidden_act": "silu",
    },
    "qwen2-7b": {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_theta": 1_000_000.0, "rope_type": "default"},
        "tie_word_embeddings": False,
        "dtype": "float16",
        "hidden_act": "silu",
    },
}
BLOCK_ELEMENTS: Final = (8 << 20) + 4099
STANDARD_DEVIATION: Final = 0.02


def config_of(model: str, layers: int | None = None, vocab: int | None = None) -> dict[str, Any]:
    """The ``config.json`` of ``model``, with fewer layers or a smaller vocabulary where given."""
    config = dict(MODELS[model])
    config["num_hidden_layers"] = layers or config["num_hidden_layers"]
    config["vocab_size"] = vocab or config["vocab_size"]
    return config


def write_checkpoint(
    output: Path, config: dict[str, Any], *, seed: int = 0, max_shard_bytes: int = MAX_SHARD_BYTES
) -> int:
    """Write the checkpoint that ``config`` describes to the folder ``output``.

    Returns:
        Bytes of its weights.
    """
    anatomy = load(config)
    specs = [
        TensorSpec(name=tensor.name, dtype="F16", shape=tensor.shape(anatomy.sizes))
        for tensor in anatomy.tensors.values()
    ]
    block = random_block(seed)
    starts = np.random.default_rng(seed).integers(0, len(block), len(specs))
    with CheckpointWriter(output, specs, max_shard_bytes=max_shard_bytes) as writer:
        for spec, start in zip(specs, starts.tolist(), strict=True):
            writer.append(spec.name, repeated(block, start, spec.size_bytes // block.itemsize))
        writer.write_file("config.json", (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
    return sum(spec.size_bytes for spec in specs)


def random_block(seed: int) -> NDArray[np.float16]:
    """Normal numbers, ``[BLOCK_ELEMENTS]``."""
    values = np.random.default_rng(seed).standard_normal(BLOCK_ELEMENTS, np.float32)
    return (STANDARD_DEVIATION * values).astype(np.float16)


def repeated(block: NDArray[np.float16], start: int, count: int) -> Iterator[NDArray[np.float16]]:
    """``count`` elements of ``block`` over and over, from element ``start``, without copies."""
    while count:
        piece = block[start : start + count]
        yield piece
        count -= len(piece)
        start = 0


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(MODELS), default="llama-8b")
    parser.add_argument("--layers", type=int, help="fewer layers than the model has")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    size_bytes = write_checkpoint(asked.out, config_of(asked.model, asked.layers), seed=asked.seed)
    print(f"{asked.out}: {size_bytes:,} bytes of weights")


if __name__ == "__main__":
    main()
