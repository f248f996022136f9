"""Whether an edition lets a recipe run at all: asked when its options are known and nothing has begun.

step's method, its practices ──words of [forbidden.FAMILY]──> refused with rule, line, found, allowed, way out
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.errors import RuleBroken
from harness.run.recipe import line_of

if TYPE_CHECKING:
    from harness.rules.edition import Edition
    from harness.run.protocol import OptionsDescription, StepDescription
    from harness.run.recipe import Recipe

RULE: Final = "edition.forbidden_method"
"""The same finding that validation reports on a filed entry."""


def check_allowed(edition: Edition, recipe: Recipe, options: OptionsDescription) -> None:
    """Return where ``edition`` forbids no step of ``recipe``.

    Raises:
        RuleBroken: it does; the message has a line for each such step.
    """
    broken = [
        _sentence(edition, recipe, index, step, family)
        for index, step in enumerate(options.steps)
        if (family := forbidden_family(edition, (step.method, *step.practices))) is not None
    ]
    if broken:
        raise RuleBroken("\n".join(broken))


def forbidden_family(edition: Edition, words: tuple[str, ...]) -> str | None:
    """The family that ``edition`` forbids and that one of ``words`` belongs to."""
    for family, rule in edition.forbidden.items():
        if any(forbidden in word.lower() for forbidden in rule.methods for word in words):
            return family
    return None


def _sentence(edition: Edition, recipe: Recipe, index: int, step: StepDescription, family: str) -> str:
    found = step.method + (f" with {', '.join(step.practices)}" if step.practices else "")
    variant = step.legal_variant or "leave the step out"
    line = line_of(recipe.text, ("steps", index, "method"))
    return (
        f"{recipe.name}:{line}: {RULE}: edition {edition.id!r} forbids {family}: {edition.forbidden[family].why}; "
        f"found: step {index + 1}, {found}; allowed: methods without {family}; way out: {variant}"
    )
