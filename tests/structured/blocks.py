"""Blocks of stock architectures, as a structure record says them."""

from __future__ import annotations

LLAMA = {
    "norm": "rms",
    "norm_epsilon": "rms_norm_eps",
    "attention_norm": "input_layernorm",
    "mlp_norm": "post_attention_layernorm",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "output": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "activation": "hidden_act",
    "final_norm": "norm",
}
