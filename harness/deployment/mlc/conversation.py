"""Conversation templates: how MLC puts a chat into one text, and where an answer stops.

    templates/<name>.json    tokens as they are written: "<|eot_id|>"
      + the tokenizer    ->  conv_template of mlc-chat-config.json, with ids: 128009

MLC's own registry has the ids of the original vocabularies; in a model whose vocabulary was cut they are other tokens,
or none. So ids are looked up in the checkpoint's tokenizer, and a template whose tokens are not there is refused.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, ValidationError

from harness.document import Document
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.deployment.mlc.tokenizer import Tokens

AUTO: Final = "auto"
PREFERRED: Final = ("llama-3_1", "llama-3", "qwen2", "phi-2", "pico", "plain")
"""In this order ``auto`` tries; ``plain`` fits everything: text in, text on."""


class ConversationTemplate(Document):
    """One template, its tokens as text."""

    name: str
    model_types: tuple[str, ...] = ()
    """Architectures that ``auto`` takes it for; empty for any."""
    system_template: str
    system_message: str
    system_prefix_tokens: tuple[str, ...]
    """Put before everything, by id."""
    add_role_after_system_message: bool
    roles: dict[str, str]
    seps: tuple[str, ...] = Field(min_length=1, max_length=2)
    """What ends a turn; where there are two, of the user and of the assistant."""
    role_content_sep: str
    role_empty_sep: str
    stop_tokens: tuple[str, ...]
    """An answer ends at these."""
    required_tokens: tuple[str, ...] = ()
    """Special tokens that stand within the other fields."""

    def missing(self, tokens: Tokens) -> tuple[str, ...]:
        """Tokens of this template that the tokenizer has not."""
        asked = dict.fromkeys((*self.system_prefix_tokens, *self.stop_tokens, *self.required_tokens))
        return tuple(token for token in asked if token not in tokens.ids)


def template_names() -> tuple[str, ...]:
    """The templates that come with the harness, sorted."""
    folder = resources.files("harness.deployment.mlc") / "templates"
    return tuple(sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json")))


@cache
def shipped_template(name: str) -> ConversationTemplate:
    """The template ``name``, one of ``template_names``."""
    file = resources.files("harness.deployment.mlc") / "templates" / f"{name}.json"
    return ConversationTemplate.model_validate_json(file.read_text(encoding="utf-8"))


def choose_template(asked: str, model_type: str, tokens: Tokens) -> ConversationTemplate:
    """The template that was ``asked`` for, or the first that fits.

    Args:
        asked: ``auto``, a name, or the path of a ``.json`` file.
        model_type: of the architecture, e.g. ``llama``.
        tokens: of the checkpoint.

    Raises:
        UsageError: there is none of that name, or the tokenizer lacks a token of it.
    """
    if asked == AUTO:
        candidates = [shipped_template(name) for name in PREFERRED]
        fitting = (one for one in candidates if not one.model_types or model_type in one.model_types)
        return next(one for one in fitting if not one.missing(tokens))
    template = _named(asked)
    if missing := template.missing(tokens):
        raise UsageError(
            f"conversation template {asked!r}: the tokenizer has no {', '.join(map(repr, missing))}, so an answer "
            f"might never stop; take another template ({', '.join(template_names())}), or auto"
        )
    return template


def conversation(template: ConversationTemplate, tokens: Tokens, stop_ids: Sequence[int]) -> dict[str, Any]:
    """``conv_template`` of ``mlc-chat-config.json``.

    Args:
        template: its tokens are all among ``tokens``.
        tokens: of the checkpoint.
        stop_ids: what ends an answer by the checkpoint's own settings; added to the template's.
    """
    stops = {tokens.ids[token] for token in template.stop_tokens} | set(stop_ids)
    return {
        "name": template.name,
        "system_template": template.system_template,
        "system_message": template.system_message,
        "system_prefix_token_ids": [tokens.ids[token] for token in template.system_prefix_tokens],
        "add_role_after_system_message": template.add_role_after_system_message,
        "roles": dict(template.roles),
        "role_templates": {role: f"{{{role}_message}}" for role in ("user", "assistant", "tool")},
        "messages": [],
        "seps": list(template.seps),
        "role_content_sep": template.role_content_sep,
        "role_empty_sep": template.role_empty_sep,
        "stop_str": list(template.stop_tokens),
        "stop_token_ids": sorted(stops),
        "function_string": "",
        "use_function_calling": False,
    }


def _named(asked: str) -> ConversationTemplate:
    if asked in template_names():
        return shipped_template(asked)
    path = Path(asked)
    if not path.is_file():
        raise UsageError(
            f"conversation template {asked!r}: neither a file nor one of {', '.join(template_names())}, nor auto"
        )
    try:
        return ConversationTemplate.read(path)
    except (OSError, ValidationError) as error:
        raise UsageError(f"{path}: is no conversation template: {error}") from error
