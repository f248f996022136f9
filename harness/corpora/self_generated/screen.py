"""Which generated solutions are worth training on: those that say what they do, do it, and are new.

    answer ── code of its first block ──> parses ──> has a function ──> is checked ──> passes in the sandbox
                                                                                 ──> shares no gram with a scored task
                                                                                 ──> is not like one before ──> kept

A check is an assert statement on the outermost level, or an example of a docstring, that calls a function of the
program. It was written by the model that wrote the program: it shows that the two agree, not that the exercise is met.
"""

from __future__ import annotations

import ast
import doctest
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.corpora.filters.exact import ExactDuplicates
from harness.corpora.filters.near import NearDuplicates
from harness.document import digest_of
from harness.sandbox.limits import Limits
from harness.sandbox.run import run_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from harness.corpora.filters.decontamination import SharedGrams
    from harness.sandbox.outcome import Outcome

    Run = Callable[[Sequence[str], Limits], Sequence[Outcome]]
    """Runs programs; each ends with an outcome of its own."""

MAX_CHARACTERS: Final = 8_000
"""Of a program: no exercise needs more."""
_BLOCK: Final = re.compile(r"```[ \t]*(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What became of an answer."""

    code: str | None
    """The program that is kept; None for none."""
    reason: str = ""
    """Why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A program and what is run to see that it does what it says."""

    code: str
    program: str
    """The code, and the examples of its docstrings as assert statements below it."""


class Screen:
    """Judges answers, remembering those that it kept."""

    def __init__(
        self, shared: SharedGrams, *, needs_check: bool = True, limits: Limits | None = None, run: Run = run_programs
    ) -> None:
        """A screen that has kept nothing.

        Args:
            shared: drops what has words in common with the scored tasks (``DataDoor.shared_grams``).
            needs_check: whether a program must check itself; one that does not has only shown that it runs.
            limits: of each program.
            run: the sandbox; model-written code runs nowhere else.
        """
        self.key = digest_of([shared.key, needs_check])
        """Digest of what decides the verdicts."""
        self._needs_check = needs_check
        self._limits, self._run = limits or Limits(), run
        self._shared = shared
        self._duplicates = (ExactDuplicates(), NearDuplicates())

    def judge(self, answers: Sequence[str]) -> list[Screened]:
        """What becomes of each of ``answers``, in order.

        Raises:
            SandboxUnavailable: programs cannot be run safely here.
        """
        read = [checked_program(answer, needs_check=self._needs_check) for answer in answers]
        programs = list(dict.fromkeys(one.program for one in read if isinstance(one, Checked)))
        outcomes = dict(zip(programs, self._run(programs, self._limits), strict=True)) if programs else {}
        return [self._judged(one.code, outcomes[one.program]) if isinstance(one, Checked) else one for one in read]

    def remember(self, kept: Iterable[str]) -> None:
        """Take ``kept`` for what was kept before, in order, as after a resume."""
        for code in kept:
            for each in self._duplicates:
                each(code)

    def _judged(self, code: str, outcome: Outcome) -> Screened:
        if not outcome.passed:
            return Screened(code=None, reason=f"ran and {outcome.verdict}")
        if self._shared(code).text is None:
            return Screened(code=None, reason="shares text with a scored task")
        # Last of all, so that only what is kept is remembered.
        if any(each(code).text is None for each in self._duplicates):
            return Screened(code=None, reason="like one before")
        return Screened(code=code)


def checked_program(answer: str, *, needs_check: bool = True) -> Checked | Screened:
    """The program in ``answer`` with its checks; why there is none otherwise."""
    block = _BLOCK.search(answer)
    code = (block.group(1) if block else answer).strip("\n").rstrip()
    if len(code) > MAX_CHARACTERS:
        return Screened(code=None, reason="too long")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of the model's code, which is judged by what it does
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Screened(code=None, reason="does not parse")
    names = {node.name for node in tree.body if isinstance(node, Function)}
    if not names:
        return Screened(code=None, reason="no function")
    examples = list(_examples(tree, names))
    asserts = sum(isinstance(node, ast.Assert) and _calls(node, names) for node in tree.body)
    if needs_check and not examples and not asserts:
        return Screened(code=None, reason="no check")
    return Checked(code=code, program="\n".join([code, *examples, ""]))


def _examples(tree: ast.Module, names: set[str]) -> Iterator[str]:
    """The docstrings' examples as assert statements."""
    for node in tree.body:
        docstring = ast.get_docstring(node) if isinstance(node, Function) else None
        for source, want in _shown(docstring or ""):
            call = _expression(source)
            if call is not None and _calls(call, names):
                # Written anew, for the source may end in a comment.
                yield f"assert repr({ast.unparse(call)}) == {want!r}"


def _shown(docstring: str) -> list[tuple[str, str]]:
    """What an interpreter was asked and what it showed, in the docstring; nothing where that is written wrongly."""
    try:
        examples = doctest.DocTestParser().get_examples(docstring)
    except ValueError:
        return []
    return [(example.source.strip(), example.want.strip()) for example in examples if example.want.strip()]


def _expression(source: str) -> ast.AST | None:
    try:
        return ast.parse(source, mode="eval")
    except (SyntaxError, ValueError):
        return None


def _calls(node: ast.AST, names: set[str]) -> bool:
    return any(
        isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id in names
        for inner in ast.walk(node)
    )
