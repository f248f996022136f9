"""A checkpoint of ours means the same to whoever has transformers and not the harness."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.structured.loading import load

SCRIPT = Path(__file__).with_name("stranger.py")


def shrink(dense):
    """Layers of different widths, one of them factorised."""
    record, state = copy.deepcopy(dense.record), dict(dense.state)
    block, kept = record["block"], torch.arange(40)
    for leaf in ("weight", "bias"):
        for role in ("gate", "up"):
            path = f"model.layers.1.{block.get(role)}.{leaf}"
            if path in state:
                state[path] = state[path][kept]
    down = f"model.layers.1.{block['down']}.weight"
    state[down] = state[down][:, kept]
    record["layers"][1]["intermediate"] = len(kept)
    output = f"model.layers.2.{block['output']}"
    weight = state.pop(f"{output}.weight")
    state |= {f"{output}.A.weight": weight[:, :9].clone(), f"{output}.B.weight": weight[:9].clone()}
    if f"{output}.bias" in state:
        state[f"{output}.A.bias"] = state.pop(f"{output}.bias")
    record["layers"][2]["ranks"] = {block["output"]: 9}
    return state, record


@pytest.mark.parametrize("name", ["llama-llama3", "qwen2-tied", "qwen3", "phi"])
def test_a_stranger_computes_the_same(dense_models, tmp_path, token_ids, name):
    """In a fresh process without the harness: the same logits, the same greedy tokens, also saved and loaded again."""
    dense = dense_models[name]
    state, record = shrink(dense)
    folder = dense.write(tmp_path / "s", state=state, record=record)
    model = load(folder)
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-I", str(SCRIPT), str(folder), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["module"].startswith("transformers_modules.")
    assert facts["config"] == "StructuredConfig"
    assert facts["same_again"]
    assert torch.equal(torch.load(tmp_path / "logits.pt"), dense.logits(model))
    mask = torch.ones_like(token_ids)
    expected = model.generate(token_ids, attention_mask=mask, max_new_tokens=8, do_sample=False)
    assert facts["tokens"] == expected.tolist()
