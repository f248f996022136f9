"""A classifier in fastText's format, DCLM's or another of its labels, as a rater.

DCLM's ``openhermes_reddit_eli5_vs_rw_v2_bigram_200k_train.bin`` is asked as DCLM asks it: all lines joined by spaces,
the likeliest label, and its probability as it is for ``__label__hq``, the complement of it for ``__label__cc``.

The extra ``quality`` installs the package that reads the format: `fasttext-predict`, which only predicts. It is not
trained with: two runs of the full package on one thread, the same seed and text, left different files here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Self

from harness.checkpoint.checkpoint import sha256_of
from harness.corpora.filters.quality import RaterRecord
from harness.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

HIGH: Final = "__label__hq"
LOW: Final = "__label__cc"


class FastTextRater:
    """Rates by a ``.bin``; it travels to another process as its path and is read there when it is first asked."""

    def __init__(self, path: Path, record: RaterRecord) -> None:
        self.path, self.record = path, record
        self._model: Any = None

    @classmethod
    def of(cls, path: Path) -> Self:
        """The classifier in ``path``.

        Raises:
            UsageError: the file cannot be read, has other labels, or the package is not installed.
        """
        try:
            record = RaterRecord(kind="file", sha256=sha256_of(path))
        except OSError as error:
            raise UsageError(f"{path}: cannot be read as a classifier in fastText's format: {error}") from error
        rater = cls(path, record)
        labels, _ = rater._loaded().predict("", k=-1)
        if set(labels) != {HIGH, LOW}:
            raise UsageError(f"{path}: the labels have to be {HIGH} and {LOW}, found {', '.join(sorted(labels))}")
        return rater

    def __reduce__(self) -> tuple[type[FastTextRater], tuple[Path, RaterRecord]]:
        """Without the model, which may have gigabytes."""
        return FastTextRater, (self.path, self.record)

    def __call__(self, text: str) -> float:
        """The probability of ``__label__hq``."""
        (label,), (probability,) = self._loaded().predict(" ".join(text.splitlines()), k=1)
        # fastText adds a hair to every probability, so that one can be above 1.
        probability = min(1.0, float(probability))
        return probability if label == HIGH else 1.0 - probability

    def _loaded(self) -> Any:  # noqa: ANN401 - the package has no types
        if self._model is None:
            try:
                self._model = _package().load_model(str(self.path))
            except (ValueError, RuntimeError) as error:
                raise UsageError(f"{self.path}: not a classifier in fastText's format: {error}") from error
        return self._model


def _package() -> Any:  # noqa: ANN401 - likewise
    try:
        return import_module("fasttext")
    except ImportError as error:
        raise UsageError(
            "a classifier in fastText's format needs a package that is not installed: "
            "pip install 'edge-llm-harness[quality]'"
        ) from error
