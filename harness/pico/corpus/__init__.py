"""The embedded corpus: rule-made documents and instructions with held-out splits.

    from harness.pico.corpus import documents, instructions
    next(documents("train"))        # {"text": ..., "url": ..., "timestamp": ...}     C4's schema
    next(instructions("train"))     # {"instruction": ..., "input": ..., "output": ...}  Alpaca's schema

No text comes from outside: every sentence is written by the rules in this package from a seed. Plugins train on `train`
and choose on `validation`; `test` exists only as the files of the demo tasks.
"""

from __future__ import annotations

from harness.pico.corpus.item import Item, Language, Split, split_of
from harness.pico.corpus.streams import documents, instructions, items, kinds, user_turn

__all__ = ["Item", "Language", "Split", "documents", "instructions", "items", "kinds", "split_of", "user_turn"]
