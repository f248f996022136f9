"""A whole model with a smaller vocabulary says what it said, as long as it needs no dropped token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.checkpoint.checkpoint import read_config
from harness.surgery.anatomy import load
from harness.surgery.apply import apply
from harness.surgery.plan import plan_of
from harness.surgery.vocabulary.mandatory import mandatory_tokens
from harness.surgery.vocabulary.selection import select_by_frequency
from harness.surgery.vocabulary.tokenizer import read_tokenizer

PICO = Path(__file__).parents[3] / "harness" / "pico" / "models" / "pico-llama"
QUESTION = [{"role": "user", "content": "What is 3 plus 4?"}]
DROP_COUNT = 700


class Spoken:
    """A checkpoint as a program would use it."""

    def __init__(self, folder):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def answer(self):
        """Token ids of the question and of the most likely answer; the end is found by the settings alone."""
        options = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
        asked = self.tokenizer.apply_chat_template(QUESTION, **options)
        return self.model.generate(**asked, max_new_tokens=100, do_sample=False)[0]

    def logits(self, ids):
        with torch.no_grad():
            return self.model(ids[None]).logits[0]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The shipped model, the same with less than half of its vocabulary, and what was kept."""
    source = tmp_path_factory.mktemp("source")
    for path in PICO.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    base, tokenizer = Spoken(source), read_tokenizer(source)
    said = {*mandatory_tokens(source, tokenizer), *base.answer().tolist()}
    counts = np.zeros(tokenizer.row_count, dtype=np.int64)
    keep = select_by_frequency(tokenizer, counts, tokenizer.length - DROP_COUNT, said)
    plan = plan_of(load(read_config(source)), {"vocab": [keep]})
    return base, Spoken(apply(source, plan, tmp_path_factory.mktemp("cut") / "out")), keep


class TestModel:
    def test_logits_of_kept_tokens(self, models):
        """Given kept tokens, the scores of all kept tokens are what they were."""
        base, cut, keep = models
        new = torch.randint(len(keep), (64,), generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(cut.logits(new), base.logits(torch.tensor(keep)[new])[:, list(keep)])

    def test_says_the_same_and_stops(self, models):
        """An answer of kept tokens is given word for word, and ends by the renumbered end token."""
        base, cut, _ = models
        old, new = base.answer(), cut.answer()
        assert cut.tokenizer.decode(new) == base.tokenizer.decode(old)
        assert int(new[-1]) == cut.model.generation_config.eos_token_id == cut.tokenizer.eos_token_id
