"""A byte tokenizer with a chat template, and data sets of a few rows."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from harness.corpora.door import DoorSettings
from harness.rules.edition import DataRule

SPECIAL = ("<bos>", "<eos>", "<user>", "<assistant>")
CHAT_TEMPLATE = (
    "<bos>{% for m in messages %}"
    "{{ '<user>' if m['role'] == 'user' else '<assistant>' }}{{ m['content'] }}<eos>"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="session")
def tokenizer():
    """One token a byte, ids 4 and up; specials 0 to 3."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *alphabet])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIAL))
    made = PreTrainedTokenizerFast(tokenizer_object=backend)
    made.add_special_tokens({"bos_token": SPECIAL[0], "eos_token": SPECIAL[1]})
    made.chat_template = CHAT_TEMPLATE
    return made


@pytest.fixture
def rules():
    c4 = DataRule(hub_id="allenai/c4", config="en", revision="abc", data_schema="c4", embedded=True)
    alpaca = DataRule(hub_id="tatsu-lab/alpaca", revision="def", data_schema="alpaca", embedded=True)
    zh = DataRule(hub_id="silk-road/alpaca-data-gpt4-chinese", revision="main", data_schema="alpaca-zh")
    return {"c4": c4, "alpaca": alpaca, "alpaca-zh": zh}


@pytest.fixture
def settings(rules):
    return DoorSettings(rules=rules)


@pytest.fixture
def write(tmp_path):
    """Write rows as the file of that name and give its path."""

    def write_rows(name, rows):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
        return path

    return write_rows


@pytest.fixture
def shared_train():
    """The folder of real training data, where there is one."""
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("HARNESS_SHARED_DATA", default)) / "train"
    if not folder.is_dir():
        pytest.skip("no real data here")
    return folder
