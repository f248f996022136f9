"""The winning entry's settings of its package: 768 positions of cache, prompts read 16 tokens at a time.

Its system settings were ``prefill_chunk_size`` 16 and ``context_window_size`` 512 or 768, of which this is the longer:
less scratch memory of prefill and a bounded cache. The batch is 1 wherever the harness packages.
"""

from __future__ import annotations

from harness import Packaging

PACKAGING = Packaging(context_tokens=768, prefill_chunk=16)
"""Of every model; a model that knows fewer positions gets as many as it knows."""
