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

from harness.methods import ngpt
from harness.structured.files import complete
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


def loaded_by_a_stranger(folder, result):
    """What a fresh process without the harness found; its logits lie in ``result``."""
    environment = os.environ | {"HF_HOME": str(result / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-I", str(SCRIPT), str(folder), str(result)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((result / "facts.json").read_text())


def assert_a_stranger_agrees(folder, result, token_ids):
    model = load(folder)
    facts = loaded_by_a_stranger(folder, result)
    assert facts["module"].startswith("transformers_modules.")
    assert facts["config"] == "StructuredConfig"
    assert facts["same_again"]
    with torch.inference_mode():
        assert torch.equal(torch.load(result / "logits.pt"), model(input_ids=token_ids, use_cache=False).logits)
    mask = torch.ones_like(token_ids)
    expected = model.generate(token_ids, attention_mask=mask, max_new_tokens=8, do_sample=False)
    assert facts["tokens"] == expected.tolist()


@pytest.mark.parametrize("name", ["llama-llama3", "qwen2-tied", "qwen3", "phi"])
def test_a_stranger_computes_the_same(dense_models, tmp_path, token_ids, name):
    """In a fresh process without the harness: the same logits, the same greedy tokens, also saved and loaded again."""
    dense = dense_models[name]
    state, record = shrink(dense)
    assert_a_stranger_agrees(dense.write(tmp_path / "s", state=state, record=record), tmp_path, token_ids)


def test_a_stranger_computes_the_same_on_the_sphere(tmp_path, token_ids):
    """An nGPT too."""
    shape = ngpt.NgptShape(vocabulary=300, hidden=32, layers=2, heads=2, intermediate=48, context_tokens=64)
    ngpt.initialised(ngpt.config_of(shape), seed=0).save_pretrained(tmp_path / "s")
    complete(tmp_path / "s")
    assert_a_stranger_agrees(tmp_path / "s", tmp_path, token_ids)
