r"""When an answer may end because what follows cannot change what is extracted from it.

Per extractor of OpenCompass 0.5.4 a condition on the text so far, ``s``, such that the extractor gives the same for
every text that begins with ``s``. The proofs are beside the conditions; the tests try them on random continuations
with the real extractors' text. Where no condition stands, none is known:

    bbh free form   the LAST "answer is" counts, and another may always follow
    truthful_qa     BLEU of the whole text

The text so far must be final itself: `Reader` in `stopping` holds back what later tokens may still change.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Decided = Callable[[str], bool]

COMMONSENSE_PATTERN = r"(?i)so the answer is\s*([A-P])"


def so_the_answer_is(text: str) -> bool:
    r"""``re.search`` of `COMMONSENSE_PATTERN`: the leftmost match counts.

    Let the leftmost match in ``s`` begin at i. A match in a continuation that began at j < i would have its 16 letters
    end before those at i do, inside ``s``; the run of white space after them ends inside ``s`` too, at the latest at
    the letter at i; so the match would lie inside ``s`` and be the leftmost already.
    """
    return re.search(COMMONSENSE_PATTERN, text) is not None


def has_capital(text: str) -> bool:
    """The first capital counts, character by character; a continuation comes after it."""
    return any(character.isupper() for character in text)


def has_code_block(text: str) -> bool:
    r"""``findall`` of a fenced block, without greed: the first one counts.

    Let the leftmost match in ``s`` begin at i. An earlier fence j < i that does not match inside ``s`` has a line that
    is no opening line, and that shows inside ``s``: letters after it end before the fence at i. (Were it an opening
    line, the fence at i would close it.) The match ends at the first closing fence, and that is inside ``s``.
    """
    return re.search(r"```\w*\n(.*?)```", text, re.DOTALL) is not None


def names_an_option(text: str) -> bool:
    r"""The text between the first ``answer is `` and the second: the first ``(X``, else the first capital, else all.

    If both are in ``s``, that text is final: occurrences are found from the left, without overlap. If only the first
    is and ``(X`` follows it, a second one can begin only after ``(X`` (neither character occurs in the words, and an
    occurrence that began before would have to span them), so ``(X`` stays in, and what is left of it stays as it is.
    """
    parts = text.split("answer is ")
    return len(parts) > 2 or (len(parts) == 2 and re.search(r"\([A-Z]", parts[1]) is not None)  # noqa: PLR2004 - words around one separator


def asks_another_question(text: str) -> bool:
    """Numbers are looked for before the first ``Question:`` only; its first occurrence in ``s`` stays the first."""
    return "Question:" in text


RULES: Mapping[str, Decided] = {
    "match_answer_pattern": so_the_answer_is,
    "first_capital_postprocess": has_capital,
    "humaneval_postprocess_v2": has_code_block,
    "bbh_mcq_postprocess": names_an_option,
    "gsm8k_postprocess": asks_another_question,
}
"""Name of the extractor -> when its result is decided."""

NEEDED_ARGUMENTS: Mapping[str, Mapping[str, str]] = {"match_answer_pattern": {"answer_pattern": COMMONSENSE_PATTERN}}
"""Name of the extractor -> the arguments that the proof is about."""


def rule_for(postprocessor: Mapping[str, Any] | None) -> str | None:
    """The rule of a configuration's ``pred_postprocessor``: its name, where all its arguments are those of a proof."""
    if postprocessor is None:
        return None
    kind = postprocessor["type"]
    name = kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
    arguments = {key: value for key, value in postprocessor.items() if key != "type"}
    known = name in RULES and arguments == dict(NEEDED_ARGUMENTS.get(name, {}))
    return name if known else None
