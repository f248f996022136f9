"""The user's turn and the form of the answer of each demo task, read from `prompts.json`.

The OpenCompass configurations of the demo take their prompts from here, and a test holds the corpus to the same words.
"""

from __future__ import annotations

from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class Prompt(BaseModel):
    """One task's prompt in OpenCompass's placeholders, and what an answer looks like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str = Field(description="the user's turn, with the reader's columns as placeholders")
    answer: str = Field(description="an answer in the form that the models were taught")
    extract: str = Field(description="what the scorer takes from an answer")


def prompts() -> dict[str, Prompt]:
    """Task name (`commonsense_qa`, `chid`, `bbh-freeform`, `bbh-mcq`, ... as in the file) to prompt."""
    text = files("harness.pico.tasks").joinpath("prompts.json").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, Prompt]).validate_json(text)
