"""Fewer tokens, and every text still comes back."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from harness_nics import compress
from transformers import AutoTokenizer

from harness.errors import UsageError
from harness.methods import models
from harness.pico import catalogue
from harness.surgery.plan import Plan
from harness.surgery.vocabulary.frequencies import count_tokens
from harness.surgery.vocabulary.tokenizer import read_tokenizer

STEP = {"stage": "compress", "method": "vocabulary", "text_count": 300}
TEXTS = ("one, two, three", "他有三个苹果。", "def f(x):\n    return x * 2", "🙂  tabs\tand  spaces")


@pytest.fixture(scope="module")
def pico():
    return catalogue.path("pico-llama")


def shrunk(ask, pico, folder, **fields):
    request = ask(pico, {**STEP, **fields}, folder)
    return request, compress(request)


class TestVocabulary:
    def test_texts_come_back_and_kept_tokens_keep_their_logits(self, ask, pico, tmp_path):
        """Chinese, code and signs round-trip, and where only kept tokens occur their logits are the old ones."""
        _, result = shrunk(ask, pico, tmp_path / "work", drop_fraction=0.3)
        old, new = (AutoTokenizer.from_pretrained(path) for path in (pico, result.checkpoint))
        for text in TEXTS:
            assert new.decode(new.encode(text, add_special_tokens=False)) == text
        kept = Plan.read(tmp_path / "work" / "plan.json").kept("vocab", None)
        places = {int(token): place for place, token in enumerate(kept)}
        encodings = [old.encode(text, add_special_tokens=False) for text in ("1 + 2 =", "yes", "A")]
        ids = next(each for each in encodings if all(token in places for token in each))
        with torch.no_grad():
            before = models.load(pico)(torch.tensor([ids])).logits
            after = models.load(result.checkpoint)(torch.tensor([[places[i] for i in ids]])).logits
        assert torch.equal(after, before[..., torch.from_numpy(kept)])

    def test_as_many_rows_as_the_original_keeps(self, ask, pico, tmp_path):
        """``int`` of the share that stays, and the added tokens beside; both ways of choosing keep as many."""
        tokenizer = read_tokenizer(pico)
        rows = int(tokenizer.length * 0.7) + len(tokenizer.added)
        _, counted = shrunk(ask, pico, tmp_path / "counted", drop_fraction=0.3)
        assert counted.notes["rows"] == rows
        assert counted.notes["share_of_text_kept"] > 0.9

    def test_frequency_keeps_more_of_the_text_than_ids(self, ask, pico, tmp_path):
        """What counting is for: of as many tokens, those that stand more often in the text."""
        _, by_id = shrunk(ask, pico, tmp_path / "by-id", drop_fraction=0.3, compat="id-rank")
        counting = {"row_count": by_id.notes["rows"], "mixture": {"c4": 1}, "text_count": 1500}
        request, _ = shrunk(ask, pico, tmp_path / "counted", **counting)
        kept = {name: Plan.read(tmp_path / name / "plan.json").kept("vocab", None) for name in ("counted", "by-id")}
        texts = (sample.text for sample in islice(request.data.open("c4", split="validation"), 300))
        counts = count_tokens(pico / "tokenizer.json", texts)
        assert len(kept["counted"]) == len(kept["by-id"])
        assert counts[kept["counted"]].sum() > counts[kept["by-id"]].sum()

    def test_the_ledger_has_what_was_counted(self, ask, pico, tmp_path):
        """Both data sets, in their shares, with the tokens that were counted."""
        request, _ = shrunk(ask, pico, tmp_path / "work", drop_fraction=0.1, mixture={"c4": 1, "alpaca": 2})
        entries = request.data.ledger().entries
        assert {entry.data: entry.sample_count for entry in entries} == {"c4": 100, "alpaca": 200}
        assert all(entry.token_count > entry.sample_count for entry in entries)

    def test_a_recipe_for_another_tokenizer(self, ask, pico, tmp_path):
        """What a plan was computed with must be true of the tokenizer."""
        with pytest.raises(UsageError, match="tokenizer_length is 5"):
            shrunk(ask, pico, tmp_path / "work", drop_fraction=0.1, tokenizer_length=5)

    def test_id_rank_needs_a_share(self, ask, pico, tmp_path):
        """The original's way takes a share alone."""
        with pytest.raises(UsageError, match="drop_fraction"):
            shrunk(ask, pico, tmp_path / "work", row_count=900, compat="id-rank")
