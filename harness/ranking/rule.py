"""The rule of the ranking in words, from the edition's own numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.rules.edition import Edition


def sentences(edition: Edition) -> tuple[str, ...]:
    """How the order is made, sentence by sentence."""
    rule, limit_bytes = edition.ranking, edition.measurement.memory_limit_bytes
    first, last = rule.points[0], rule.points[-1]
    return (
        "A task's score is averaged over the base models first.",
        (
            f"In every task the best {len(rule.points)} entries get {first} to {last} points; throughput counts "
            f"{rule.throughput_weight} times; the sum is the entry's total, and more points are a better place."
        ),
        "Equal scores share the mean of the points of the places that they take; equal totals share the place.",
        f"Who needs {limit_bytes / 1e9:g} GB (10**9 bytes) or more for the inference of one model is not ranked.",
        (
            f"Of at most {rule.entries_per_team} entries of a team, the first by date, the one with most points "
            "among all entries is ranked; then points are given anew."
        ),
        "A number that is absent gets no points. Parameters are for information.",
        "A bundle with a broken rule is not ranked; of an entry made elsewhere what a finding doubts is left out.",
        (
            "Intervals (95 %) are over items of the tasks and repeats of the throughput, not over training runs; "
            "a shared place is 1 + the number of entries with more points in at least 97.5 % of the replicates."
        ),
    )
