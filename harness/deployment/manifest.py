"""``package.json``: what a package holds and what a runtime has to know of it."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from harness.document import Document

MANIFEST_NAME: Final = "package.json"


class PackagedFile(Document):
    """One file of a package."""

    name: str
    size_bytes: int = Field(ge=0)
    sha256: str


class PackageManifest(Document):
    """A package in the form that stock ``transformers`` loads."""

    format: Literal["transformers"] = "transformers"
    format_version: Literal[1] = 1
    architecture: str
    """Class that loads it, e.g. ``LlamaForCausalLM``."""
    checkpoint_digest: str
    """Digest of the checkpoint whose files these are."""
    dtypes: tuple[str, ...]
    """Of the stored tensors, as safetensors names them."""
    parameter_count: int = Field(gt=0)
    """Stored parameters; tied tensors are stored once."""
    weights_bytes: int = Field(gt=0)
    vocabulary_count: int = Field(gt=0)
    """Rows of the embedding."""
    context_tokens: int = Field(gt=0)
    """Positions that the model knows."""
    stop_ids: tuple[int, ...] = Field(min_length=1)
    """Token ids that end an answer, ascending."""
    chat_template: bool
    """Whether the tokenizer files bring a chat template."""
    files: tuple[PackagedFile, ...]
    """Every file but the manifest, by name."""
