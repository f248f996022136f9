"""What can be wrong with an MLC package, as findings; ids as in the catalogue of validation, which lies above.

mlc.form  mlc.files  mlc.records  mlc.precision  mlc.tokens      the package against its own index
mlc.names  mlc.values  mlc.settings  mlc.tokenizer               the package against the checkpoint
"""

from __future__ import annotations

from typing import Final

from harness.rules.finding import Finding, Place, Severity

MAX_SHOWN: Final = 240
FIXES: Final = {
    "mlc.form": "convert the model again with mlc_llm",
    "mlc.files": "convert the model again, or restore the file",
    "mlc.records": "convert the model again with mlc_llm",
    "mlc.precision": "convert the model with --quantization q0f16",
    "mlc.tokens": "choose the conversation template of the model's own tokenizer",
    "mlc.names": "convert the checkpoint that was scored, with the model type that it has",
    "mlc.values": "convert the checkpoint that was scored; nothing may be changed after scoring",
    "mlc.settings": "generate the settings from the checkpoint's own config.json, with its rotation in MLC's fields",
    "mlc.tokenizer": "take the tokenizer's files from the checkpoint",
}
"""What to do about each rule."""


def fault(  # noqa: PLR0913 - a finding is these facts, named at the call
    rule: str, place: Place, message: str, *, found: object, allowed: object, severity: Severity = Severity.ERROR
) -> Finding:
    """One finding of the rule ``rule``."""
    return Finding(
        rule=rule,
        severity=severity,
        place=place,
        message=message,
        found=shown(found),
        allowed=shown(allowed),
        fix=FIXES[rule],
    )


def shown(value: object) -> str:
    """``value`` on one short printable line, whatever a stranger put into it."""
    text = value if isinstance(value, str) else repr(value)
    clean = "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in text[: 2 * MAX_SHOWN])
    return clean if len(clean) <= MAX_SHOWN else clean[: MAX_SHOWN - 3] + "..."
