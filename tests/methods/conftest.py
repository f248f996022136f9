"""A language model of a few hundred weights and windows to train it on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from harness.corpora.windows import Windows

VOCAB = 32


class PairModel(nn.Module):
    """Predicts the next token from this one, through dropout and a norm; has a frozen part."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 16)
        self.norm = nn.LayerNorm(16)
        self.frozen = nn.Linear(16, 16).requires_grad_(requires_grad=False)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(16, VOCAB, bias=False)

    def forward(self, input_ids, *, use_cache):
        """Logits [B, T, V]."""
        assert not use_cache
        return SimpleNamespace(logits=self.head(self.dropout(self.frozen(self.norm(self.embed(input_ids))))))


@pytest.fixture(autouse=True)
def one_thread():
    """Exactness is promised for a fixed number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def new_model():
    """Make the same model anew."""

    def make(seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return PairModel()

    return make


def make_windows():
    """Forty windows of twelve tokens in which each token follows from the one before."""
    starts = np.random.default_rng(0).integers(0, VOCAB, (40, 1))
    token_ids = ((starts + 5 * np.arange(12)) % VOCAB).astype(np.uint16)
    return Windows(token_ids=token_ids, loss_mask=None, key="pairs")


@pytest.fixture
def windows():
    """Windows to train on."""
    return make_windows()
