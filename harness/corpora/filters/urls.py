"""Lines with a URL: boilerplate, advertisements, lists of links.

What counts is a scheme (``https://``), ``www.``, or a word that ends like a name of the web (``example.com/a``); an
ellipsis, a decimal number or a missing space after a full stop is none of these. Chinese may stand right before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from harness.corpora.filters.verdict import Verdict, dropped, kept, shortened

ENDINGS: Final = ("com", "org", "net", "edu", "gov", "info", "biz", "io", "cn", "uk", "de", "fr", "jp", "ru", "tv")
URL: Final = re.compile(
    r"(?i)(?<![a-z0-9])(?:(?:https?|ftp)://\S|www\.[\w-]+\.[a-z]|"
    rf"[a-z0-9][a-z0-9-]*\.(?:{'|'.join(ENDINGS)})(?![a-z0-9-]))"
)
_CHEAP: Final = re.compile(r"://|www\.|\.[A-Za-z]{2}")
"""Without one of these there is no URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlLines:
    """Takes lines with a URL out; a document of which too many are such lines goes."""

    largest_share: float = 0.5
    """Of the lines with text, how many may hold a URL."""

    name = "urls"

    def __call__(self, text: str) -> Verdict:
        """The document without those lines."""
        if _CHEAP.search(text) is None:
            return kept(text)
        lines = text.split("\n")
        clean = [line for line in lines if URL.search(line) is None]
        if len(clean) == len(lines):
            return kept(text)
        found, count = len(lines) - len(clean), sum(1 for line in lines if line.strip())
        if found > self.largest_share * count:
            return dropped("mostly lines with a URL", f"{found} of {count} lines")
        return shortened("\n".join(clean), "lines with a URL", f"{found} of {count} lines")
