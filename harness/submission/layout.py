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
    r"|models/[a-z0-9._-]+\.json|items/[a-z0-9._-]+\.json",
    re.ASCII,
)


def model_file(model: str) -> str:
    """The file of one base model's result; raises ``UsageError`` for a name that is not safe."""
    return f"{MODELS}/{require_safe(model, 'model')}.json"


def items_file(model: str, role: str, task: str) -> str:
    """The file with the item scores of one task; raises ``UsageError`` for a name that is not safe."""
    parts = (require_safe(model, "model"), require_safe(role, "role"), require_safe(task, "task"))
    return f"{ITEMS}/{'-'.join(parts)}.json"


def is_bundle_file(name: str) -> bool:
    """Whether a bundle may hold a file of that name (relative, with forward slashes)."""
    return _BUNDLE_FILE.fullmatch(name) is not None
