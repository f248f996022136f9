"""What is ranked: a column for each task, for each hold-out that the organiser scored, and for throughput.

commonsense_qa … truthful_qa   weight 1   of every edition
mmlu, ceval                    weight 1   where the organiser has a score of every entry that is ranked
throughput                     weight 2   where an entry has one in the edition's unit
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from harness.ranking.entrant import Entrant, Number
    from harness.rules.edition import Edition, SuiteName

THROUGHPUT: Final = "throughput"
CHANCE: Final[Mapping[SuiteName, Mapping[str, float]]] = {
    "official": {
        "commonsense_qa": 1 / 5,
        "bbh": 0.266,
        "gsm8k": 0.0,
        "humaneval": 0.0,
        "chid": 1 / 7,
        "mmlu": 1 / 4,
        "ceval": 1 / 4,
    },
    "demo": {"commonsense_qa": 1 / 5, "bbh": 0.25, "gsm8k": 0.0, "humaneval": 0.0, "chid": 1 / 7},
}
"""Share that guessing gets: one over the options. Of BBH the mean over its subtasks of one over the options that each
item lists, a half where the answer is one of two words, 0 where it is free (official: 27 subtasks; demo: booleans 1/2,
counting 0, colours 1/6, order 1/3). TruthfulQA compares texts by BLEU: guessing has no level there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column."""

    name: str
    """The task, or ``throughput``."""
    heading: str
    scale: float
    """The score of a perfect model; 1 for throughput, which has none."""
    weight: int
    """Times that its points count; 0 where it is shown and not ranked."""
    chance: float | None = None
    """In the column's scale."""
    why_not: str | None = None
    """Why it is not ranked."""

    @property
    def is_task(self) -> bool:
        """Whether it has items."""
        return self.name != THROUGHPUT


def columns_of(edition: Edition, entrants: Sequence[Entrant]) -> tuple[Column, ...]:
    """The columns in which ``entrants`` are ranked, and those that are shown besides."""
    chance = CHANCE[edition.suite]
    tasks = [
        Column(name=name, heading=rule.column, scale=rule.scale, weight=1, chance=_scaled(chance.get(name), rule.scale))
        for name, rule in edition.tasks.items()
    ]
    return (*tasks, *_hold_outs(edition, entrants), _throughput(edition, entrants))


def _hold_outs(edition: Edition, entrants: Sequence[Entrant]) -> tuple[Column, ...]:
    found = []
    for name, rule in edition.hold_out_tasks.items():
        having = sum(name in entrant.scores for entrant in entrants)
        if having == 0:
            continue
        is_whole = having == len(entrants) and edition.ranking.hold_out_tasks > 0
        why = None if is_whole else f"a hold-out that {having} of {len(entrants)} entries have a score of"
        chance = _scaled(CHANCE[edition.suite].get(name), rule.scale)
        found.append(
            Column(
                name=name,
                heading=rule.column,
                scale=rule.scale,
                weight=int(is_whole),
                chance=chance,
                why_not=why,
            )
        )
    return tuple(found)


def _throughput(edition: Edition, entrants: Sequence[Entrant]) -> Column:
    unit = edition.measurement.throughput_unit
    is_known = any(entrant.throughput is not None for entrant in entrants)
    why = None if is_known else f"no entry has a throughput in {unit}"
    weight = edition.ranking.throughput_weight if is_known else 0
    return Column(name=THROUGHPUT, heading=f"Throughput, {unit}", scale=1.0, weight=weight, why_not=why)


def _scaled(chance: float | None, scale: float) -> float | None:
    return None if chance is None else chance * scale


def number_of(entrant: Entrant, column: Column) -> Number | None:
    """What ``entrant`` has in ``column``."""
    return entrant.scores.get(column.name) if column.is_task else entrant.throughput


def score_table(entrants: Sequence[Entrant], columns: Sequence[Column]) -> NDArray[np.float64]:
    """``[entries, columns]``, in each column's scale; NaN where there is none."""
    numbers = [[number_of(entrant, column) for column in columns] for entrant in entrants]
    values = [[np.nan if number is None else number.value for number in row] for row in numbers]
    return np.array(values, dtype=np.float64).reshape(len(entrants), len(columns))
