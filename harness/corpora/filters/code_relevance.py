"""Documents about programming, by keywords and by domains: what the winner mixed in as code-relevant C4.

    sum of the weights of the different keywords   at least 6, and
    keywords for 100 words                          at least 1.5          or
    the page's domain, or one in the text           is on the list        or
    lines that look like code                       at least 3

The winner names "keyword and domain-name heuristics", no list and no numbers: ``code_keywords.txt``,
``code_domains.txt`` and the bounds are ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final
from urllib.parse import urlsplit

from harness.corpora.filters.verdict import Verdict, dropped, kept
from harness.corpora.filters.words import parse_words

CODE_LINE: Final = re.compile(
    r"^\s*(?:(?:def|class) \w+.*:\s*$|(?:import|from) [\w.]+(?:\s+import .+)?\s*$|#include\s*[<\"]|return\b.*;?\s*$"
    r"|(?:public|private|static|const|let|var|int|void) .*[;{]\s*$|(?:if|for|while)\s*\(.*\)\s*\{?\s*$|[}\])]+;?\s*$"
    r"|\w[\w.\[\]]*\s*[-+*/]?=\s*\S.*;\s*$|>>> |SELECT .+ FROM )"
)
_HOST: Final = re.compile(r"\b(?:[a-z0-9-]+\.)+[a-z]{2,}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Relevance:
    """How much a document has to do with programming."""

    keywords: tuple[str, ...]
    """The different ones, by name."""
    weight: int
    """The sum of their weights."""
    density: float
    """Keywords for 100 words, each time one occurs."""
    domain: str | None
    """The first on the list, of the page or in its text."""
    code_lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRelevant:
    """Drops a document that is not about programming."""

    smallest_weight: int = 6
    smallest_density: float = 1.5
    fewest_code_lines: int = 3
    name: str = "code relevance"

    def __call__(self, text: str) -> Verdict:
        """Keep or drop."""
        found = code_relevance(text)
        return kept(text) if self.relevant(found) else dropped("not about code", f"weight {found.weight}")

    def relevant(self, found: Relevance) -> bool:
        """Whether that is enough."""
        by_words = found.weight >= self.smallest_weight and found.density >= self.smallest_density
        return by_words or found.domain is not None or found.code_lines >= self.fewest_code_lines


def code_relevance(text: str, *, url: str | None = None) -> Relevance:
    """How much ``text``, the page at ``url`` where it is known, has to do with programming."""
    lowered = text.lower()
    weights = _keywords()
    found = _keyword_pattern().findall(lowered)
    words = max(1, len(text.split()))
    return Relevance(
        keywords=tuple(sorted(set(found))),
        weight=sum(weights[word] for word in set(found)),
        density=100 * len(found) / words,
        domain=_domain(lowered, url),
        code_lines=sum(CODE_LINE.match(line) is not None for line in text.split("\n")),
    )


def _domain(lowered: str, url: str | None) -> str | None:
    hosts = _HOST.findall(lowered)
    if url is not None:
        hosts.insert(0, (urlsplit(url).hostname or "").lower())
    return next((domain for host in hosts if (domain := listed_domain(host)) is not None), None)


def listed_domain(host: str) -> str | None:
    """The entry of the list that ``host`` is or belongs to; None for none."""
    parts = host.split(".")
    return next((tail for start in range(len(parts)) if (tail := ".".join(parts[start:])) in _domains()), None)


@cache
def _keywords() -> dict[str, int]:
    pairs = (line.split(" ", 1) for line in parse_words(_read("code_keywords.txt")))
    return {word: int(weight) for weight, word in pairs}


@cache
def _keyword_pattern() -> re.Pattern[str]:
    longest_first = sorted(_keywords(), key=lambda word: (-len(word), word))
    return re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, longest_first))})(?![\w+#])")


@cache
def _domains() -> frozenset[str]:
    return frozenset(parse_words(_read("code_domains.txt")))


def _read(name: str) -> str:
    return (resources.files("harness.corpora.filters") / name).read_text(encoding="utf-8")
