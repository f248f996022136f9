"""Two sides, compared: what both have, number by number, with the tests that their items allow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.ranking.columns import columns_of
from harness.ranking.comparison import BitsPair, Comparison, ModelComparison, Option, Quantity, Shape
from harness.ranking.intervals import NORMAL_95
from harness.ranking.pairs import task_pairs
from harness.ranking.sides import read_side

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.ranking.pairs import TaskPair
    from harness.ranking.sides import Part, Side
    from harness.submission.measurements import BitsPerByte, Performance


def compare(first: Path, second: Path, *, model: str | None = None, weights: Path | None = None) -> Comparison:
    """The two at ``first`` and ``second``.

    Args:
        first: a bundle or a checkpoint.
        second: likewise.
        model: the base model that is compared; all that both have if absent.
        weights: folder with the checkpoints that bundles reference.

    Raises:
        UsageError: one is neither, or nothing is common to them.
        CheckpointCorrupt: a checkpoint cannot be read.
    """
    sides = read_side(first, weights), read_side(second, weights)
    matched = _matched(*sides, model)
    notes = [note for side in sides for note in side.notes]
    models = tuple(_model(sides, names, notes) for names in matched)
    common = tuple(one for one, other in matched if one == other and one)
    return Comparison(
        first=sides[0].record,
        second=sides[1].record,
        models=models,
        mean_tasks=_tasks(sides, common) if len(common) > 1 else (),
        options=tuple(_options(*sides)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _matched(first: Side, second: Side, model: str | None) -> list[tuple[str, str]]:
    """The models that are held against each other, by their names on each side."""
    if first.record.kind == second.record.kind:
        names = [(name, name) for name in first.parts if name in second.parts and model in {None, name}]
    else:
        mine, others = (
            [name for name in side.parts if side.record.kind == "checkpoint" or model in {None, name}]
            for side in (first, second)
        )
        names = [(one, other) for one in mine for other in others]
        if len(names) > 1:
            known = ", ".join(name for side in (first, second) for name in side.parts if name)
            raise UsageError(f"a checkpoint is compared with one model of a bundle: --model NAME, of {known}")
    if not names:
        known = " and ".join(", ".join(side.parts) or "no model" for side in (first, second))
        raise UsageError(f"the two have no model in common{f' called {model}' if model else ''}: {known}")
    return names


def _model(sides: tuple[Side, Side], names: tuple[str, str], notes: list[str]) -> ModelComparison:
    first, second = (side.parts[name] for side, name in zip(sides, names, strict=True))
    same = names[0] == names[1] and names[0]
    return ModelComparison(
        model=names[0] or names[1] or "checkpoint",
        quantities=tuple(_quantities(first, second, notes)),
        shapes=tuple(
            Shape(axis=axis, first=first.shapes.get(axis), second=second.shapes.get(axis))
            for axis in dict.fromkeys((*first.shapes, *second.shapes))
        ),
        tasks=_tasks(sides, (names[0],)) if same else (),
        bits_per_byte=_bits(first, second, notes),
    )


def _tasks(sides: tuple[Side, Side], models: tuple[str, ...]) -> tuple[TaskPair, ...]:
    first, second = (side.entrant(models) for side in sides)
    edition = sides[0].edition
    if first is None or second is None or edition is None or sides[1].edition != edition:
        return ()
    return task_pairs(first, second, columns_of(edition, (first, second)))


def _quantities(first: Part, second: Part, notes: list[str]) -> Iterator[Quantity]:
    yield _quantity("parameters", "", first.parameters, second.parameters)
    yield _quantity("weights", "bytes", first.weights_bytes, second.weights_bytes)
    speeds = [part.measured.performance if part.measured else None for part in (first, second)]
    if speeds[0] is None and speeds[1] is None:
        return
    if speeds[0] is not None and speeds[1] is not None and _protocol(speeds[0]) != _protocol(speeds[1]):
        notes.append(f"speed was measured otherwise: {_protocol(speeds[0])}; and {_protocol(speeds[1])}")
    for name, field, unit in (
        ("peak memory", "peak_memory_bytes", "bytes"),
        ("decode", "decode_tokens_per_s", "tokens/s"),
        ("prefill", "prefill_tokens_per_s", "tokens/s"),
        ("time to first token", "time_to_first_token_s", "s"),
    ):
        values = [None if speed is None else float(getattr(speed, field)) for speed in speeds]
        yield _quantity(name, unit, values[0], values[1])


def _protocol(speed: Performance) -> str:
    return (
        f"{speed.runtime}, {speed.device}, {speed.dtype}, {speed.thread_count} threads, "
        f"{speed.prefill_tokens}+{speed.decode_tokens} tokens"
    )


def _quantity(name: str, unit: str, first: float | None, second: float | None) -> Quantity:
    is_known = first is not None and second is not None and second != 0
    ratio = first / second if is_known else None  # type: ignore[operator]
    return Quantity(name=name, unit=unit, first=first, second=second, ratio=ratio)


def _bits(first: Part, second: Part, notes: list[str]) -> BitsPair | None:
    figures = [part.measured.bits_per_byte if part.measured else None for part in (first, second)]
    if figures[0] is None or figures[1] is None:
        return None
    if _text(figures[0]) != _text(figures[1]):
        notes.append("bits per byte were measured on other texts and are not compared")
        return None
    difference = figures[0].value - figures[1].value
    error = math.hypot(figures[0].standard_error, figures[1].standard_error)
    return BitsPair(
        first=figures[0].value,
        second=figures[1].value,
        difference=difference,
        standard_error=error,
        low=difference - NORMAL_95 * error,
        high=difference + NORMAL_95 * error,
    )


def _text(figure: BitsPerByte) -> tuple[str, str, int]:
    return figure.data, figure.split, figure.byte_count


def _options(first: Side, second: Side) -> Iterator[Option]:
    """What both sides chose, where they differ; a checkpoint has no options."""
    mine, others = first.options(), second.options()
    if not mine or not others:
        return
    for place in dict.fromkeys((*mine, *others)):
        if mine.get(place) != others.get(place):
            yield Option(field=place, first=mine.get(place), second=others.get(place))
