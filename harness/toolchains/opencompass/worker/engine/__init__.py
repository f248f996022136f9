"""Greedy answers to many prompts at once; knows torch and transformers, nothing of OpenCompass or the harness.

prompts ── batches ──> a prefix that rows share, rows of like length
             │           journal: batches that an earlier process finished
             v
          answering ──> decoder: `lean` (stock Llama, Qwen2, Phi) or `whole` (transformers' own forward)
             │           every step: finite?  penalty, largest logit
             v           now and then: stop words, `early` rules on the text so far
          answers, in the order of the prompts
"""

from __future__ import annotations
