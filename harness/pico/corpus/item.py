"""One item of the embedded corpus, before it is written in a schema.

    content (what the question is about: numbers, words, choices) -- key = digest of it, decides the split
      |- document   running text                     -> C4 row      {text, url, timestamp}
      `- user, answer   one turn of a conversation   -> Alpaca row  {instruction, input, output}

The document and the instruction of one item share its key, so a held-out item is held out in both forms. Where many
questions are about one document (`told`), the document has a key of its own and must be held out by both.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Language = Literal["en", "zh"]
Split = Literal["train", "validation", "test"]

_BUCKETS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A rule-made item: the same content as a document and as an instruction.

    `content` names what is asked, without the wording that varies: two items of equal content are one to the split.
    `told` names what the document says where several contents share a document; None where the content fixes it.
    `context` is the passage a question is about (Alpaca's `input`), empty for most kinds.
    `record` holds the fields of the item in the file format of the demo task it belongs to (empty when none).
    """

    kind: str
    language: Language
    content: str
    document: str
    user: str
    answer: str
    told: str | None = None
    context: str = ""
    record: Mapping[str, object] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Hexadecimal digest (16 digits) of the item's kind and content.

        A Chinese kind shares the keys of its English one: a sum held out in one language is held out in both.
        """
        return self._digest(self.content)

    @property
    def split(self) -> Split:
        """The split of the question and its answer."""
        return split_of(self.key)

    def has_document_in(self, split: Split) -> bool:
        """Whether the document may be shown in `split`: neither it nor its question belongs to another one."""
        return self.split == split and (self.told is None or split_of(self._digest(self.told)) == split)

    def _digest(self, content: str) -> str:
        kind = self.kind.removesuffix("_zh")
        return hashlib.blake2b(f"{kind}\x1f{content}".encode(), digest_size=8).hexdigest()


def split_of(key: str) -> Split:
    """The split an item of this key belongs to: 14 of 16 buckets train, one validation, one test.

    Validation is for anyone; test items exist only in the demo tasks' files.
    """
    bucket = int(key, 16) % _BUCKETS
    if bucket == 0:
        return "validation"
    return "test" if bucket == 1 else "train"
