"""The demo track's six small tasks, in OpenCompass's file formats, and the prompts that fit a pico context.

from harness.pico.tasks import prompts, write
write(folder)                 # held-out items, laid out as COMPASS_DATA_CACHE
prompts()["gsm8k"].user       # "{question}"
"""

from __future__ import annotations

from harness.pico.tasks.files import BBH_SUBSETS, write
from harness.pico.tasks.prompts import Prompt, prompts

__all__ = ["BBH_SUBSETS", "Prompt", "prompts", "write"]
