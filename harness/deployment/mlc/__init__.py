"""MLC packages, written, checked and compiled; MLC's own toolchain is needed for the last alone.

    checkpoint ── names ──────> which tensors of the package are which of the checkpoint  (tables/*.toml)
               ── values ─────> their bytes, in FP16 or FP32, plain or transposed
               ── sharding ───> params_shard_0.bin …, by MLC's own rule
               ── chat_config > mlc-chat-config.json, with a conversation template          (templates/*.json)
    export     all of that, and package.json          check   any package against the checkpoint, bit for bit
    definition a model definition for MLC, where MLC has none of that shape
    driver     the real mlc_llm, where it is installed

The facts of the format were read from mlc-llm and TVM (2026-07) and from a package that mlc_llm wrote.
"""
