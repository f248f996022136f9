"""The judge's figures as a submission files them: without every window, with what they were measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.submission import measurements

if TYPE_CHECKING:
    from harness.document import Document
    from harness.judge.results import BitsPerByte, Performance


def file_bits_per_byte(
    figure: BitsPerByte, *, data: str, split: str, checkpoint_digest: str
) -> measurements.BitsPerByte:
    """``figure``, measured on ``split`` of the edition's data set ``data``."""
    return measurements.BitsPerByte.model_validate(
        {
            **_shared(figure, measurements.BitsPerByte),
            "data": data,
            "split": split,
            "value": figure.bits_per_byte,
            "checkpoint_digest": checkpoint_digest,
        }
    )


def file_performance(figure: Performance, *, checkpoint_digest: str) -> measurements.Performance:
    """``figure``, with the decode speed of every repeat."""
    return measurements.Performance.model_validate(
        {
            **_shared(figure, measurements.Performance),
            "decode_tokens_per_s_samples": [figure.decode_tokens / duration_s for duration_s in figure.decode_s],
            "checkpoint_digest": checkpoint_digest,
        }
    )


def _shared(figure: Document, filed: type[Document]) -> dict[str, object]:
    """What the figure and the filed claim call by the same name: our own is checked, anybody's claim is not."""
    return {name: getattr(figure, name) for name in filed.model_fields if name in type(figure).model_fields}
