"""Where each thing stands in a bundle."""

from __future__ import annotations

import re

from harness.submission.naming import require_safe

SUBMISSION = "submission.json"
RESULTS = "Results.csv"
README = "README.md"
RECIPE = "recipe.json"
LEDGER = "ledger.json"
LOCK = "lock.json"
MODELS = "models"
ITEMS = "items"
REPORT = "report.html"

_BUNDLE_FILE = re.compile(
    r"submission\.json|Results\.csv|README\.md|recipe\.json|ledger\.json|lock\.json|report\.html|submission\.sig"
    r"|models/[a-z0-9._-]+\.json",
    re.ASCII,
)
_ITEMS_FILE = re.compile(r"items/[a-z0-9._-]+\.jsonl\.gz", re.ASCII)
MAX_ITEMS_BYTES = 4 << 20
"""Of one file of items; what every file of a record may have."""


def model_file(model: str) -> str:
    """The file of one base model's result; raises ``UsageError`` for a name that is not safe."""
    return f"{MODELS}/{require_safe(model, 'model')}.json"


def items_file(model: str, role: str, task: str) -> str:
    """The file with the items of one task; raises ``UsageError`` for a name that is not safe.

    Packed by gzip: the one kind of packed file that an entry may hold.
    """
    parts = (require_safe(model, "model"), require_safe(role, "role"), require_safe(task, "task"))
    return f"{ITEMS}/{'-'.join(parts)}.jsonl.gz"


def is_bundle_file(name: str) -> bool:
    """Whether a bundle may hold a document, table or page of that name (relative, with forward slashes)."""
    return _BUNDLE_FILE.fullmatch(name) is not None


def is_items_file(name: str) -> bool:
    """Whether a bundle may hold a file of items of that name."""
    return _ITEMS_FILE.fullmatch(name) is not None


def belongs(name: str) -> bool:
    """Whether a bundle may hold a file of that name at all."""
    return is_bundle_file(name) or is_items_file(name)
