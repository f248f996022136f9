"""The tokenizers library, loaded where texts are encoded and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer


def load_engine(tokenizer_path: Path) -> Tokenizer:
    """The tokenizer in the file ``tokenizer_path``, without truncation and padding; raises ``CheckpointCorrupt``."""
    from tokenizers import Tokenizer

    try:
        engine = Tokenizer.from_file(str(tokenizer_path))
    except Exception as error:  # the library raises bare exceptions
        raise CheckpointCorrupt(f"{tokenizer_path}: the tokenizers library cannot load it: {error}") from error
    engine.no_truncation()
    engine.no_padding()
    return engine
