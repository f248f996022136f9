"""Cutting a vocabulary is light: no engine is loaded before it is needed."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import harness.surgery.vocabulary.frequencies, harness.surgery.vocabulary.mandatory
import harness.surgery.vocabulary.selection, harness.surgery.vocabulary.tokenizer_files
print(sorted({"torch", "transformers", "tokenizers"} & sys.modules.keys()))
"""


class TestImport:
    def test_loads_no_engine(self):
        """Neither torch nor transformers nor the tokenizers library comes with the package."""
        result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
        assert result.stdout == "[]\n"
