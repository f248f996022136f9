"""The catalogue for people: one page a rule, one line a rule in its family, and the near name on a slip."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.validation.catalogue import rules
from harness.validation.render import finding_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.validation.catalogue import Rule


def find_rules(name: str) -> tuple[Rule, ...]:
    """The rule of that id, or all of the family of that name.

    Raises:
        UsageError: there is neither; the message offers near names.
    """
    found = tuple(rule for rule in rules().values() if name in {rule.id, rule.family})
    if found:
        return found
    words = {rule.partition(".")[2]: rule for rule in rules()} | {rule.family: rule.family for rule in rules().values()}
    near = difflib.get_close_matches(name, rules(), n=3) or [
        words[word] for word in difflib.get_close_matches(name.rpartition(".")[2], words, n=3)
    ]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(f"no rule and no family {name!r}{hint}; `harness explain` lists all")


def page(rule: Rule) -> str:
    """What the rule means, why it is there, how to fix what breaks it, and what a finding of it looks like."""
    lines = [
        f"{rule.id}   {rule.severity.value}",
        "",
        f"what   {rule.title}",
        f"why    {rule.rationale}",
        f"fix    {rule.fix}",
    ]
    example = rule.example_finding()
    if example is not None:
        lines += ["", "for example", "", finding_text(example)]
    return "\n".join(lines)


def listing(catalogue: Iterable[Rule]) -> str:
    """Every rule on a line, family by family."""
    known = list(catalogue)
    width = max((len(rule.id) for rule in known), default=0)
    families: dict[str, list[str]] = {}
    for rule in known:
        line = f"  {rule.id:<{width}}   {rule.severity.value:<7}   {rule.title}"
        families.setdefault(rule.family, []).append(line)
    return "\n\n".join("\n".join([family, *lines]) for family, lines in families.items())
