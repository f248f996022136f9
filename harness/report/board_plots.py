"""The charts of a leaderboard: points with their intervals, and scores against memory with the front."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from harness.report import figures
from harness.report.chart import INK, MARKERS, MUTED, SERIES, Chart, draw, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from harness.ranking.leaderboard import Leaderboard, Row

ROW_INCHES: Final = 0.3
MEGABYTE: Final = 10**6
NAMED_POINTS: Final = 15
"""More names would lie on each other."""
CORNERS: Final = ((6, -9), (-6, -3), (6, 3), (-6, 5))
"""Where names stand beside their points, in points: of four that lie on each other, from below, each has its own."""


def charts_of(board: Leaderboard) -> tuple[Chart, ...]:
    """Every chart that the leaderboard allows."""
    return tuple(chart for chart in (points(board), front(board)) if chart is not None)


def points(board: Leaderboard) -> Chart | None:
    """Total points of the shown entries, best first, with 95 % intervals."""
    rows = board.rows[: board.shown]
    if not rows:
        return None

    def paint(axes: Axes) -> None:
        places = range(len(rows))
        below = [max(0.0, row.total - row.total_low) for row in rows]
        above = [max(0.0, row.total_high - row.total) for row in rows]
        totals = [row.total for row in rows]
        axes.errorbar(totals, places, xerr=(below, above), fmt="D", color=SERIES[2], markersize=4.5, elinewidth=1.2)
        axes.set_yticks(places, [label(f"{row.shared_place}  {row.team}") for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("points")
        axes.grid(visible=True, axis="x")
        axes.tick_params(axis="y", length=0)

    return Chart(
        name="board-points",
        title="Points",
        caption=f"Lines: 95 % intervals over {board.replicates:,} replicates of the items.",
        svg=draw("board-points", 0.8 + ROW_INCHES * len(rows), paint),
        header=("entry", "points", "low", "high"),
        rows=tuple(
            (row.entry, *(figures.number(value) for value in (row.total, row.total_low, row.total_high)))
            for row in rows
        ),
    )


def front(board: Leaderboard) -> Chart | None:
    """Mean score against peak memory; entries that no other beats in everything are filled."""
    drawn = [row for row in board.rows if row.mean_share is not None and _has_bytes(row)]
    if not drawn:
        return None

    def paint(axes: Axes) -> None:
        for on_front, colour, shape in ((False, MUTED, MARKERS[0]), (True, SERIES[2], MARKERS[2])):
            found = [row for row in drawn if row.on_front is on_front]
            text = "on the front" if on_front else "another is as good in all, and better in one"
            if found:
                across, up = zip(*map(_point, found), strict=True)
                axes.scatter(across, up, color=colour, marker=shape, s=26, label=text)
        named = sorted(drawn[:NAMED_POINTS], key=_point_up)
        for row, (aside, rise) in zip(named, itertools.cycle(CORNERS), strict=False):
            axes.annotate(
                label(row.team),
                _point(row),
                xytext=(aside, rise),
                textcoords="offset points",
                ha="left" if aside > 0 else "right",
                color=INK,
                size=8,
            )
        axes.set_xlabel("peak memory, MB")
        axes.set_ylabel("mean score, % of perfect")
        axes.margins(x=0.3, y=0.18)
        axes.set_axisbelow(True)
        axes.grid(visible=True)
        axes.figure.legend(loc="outside upper left", handletextpad=0.2)

    return Chart(
        name="board-front",
        title="Score and memory",
        caption="Up and to the left is better. The front also counts throughput, which is not drawn.",
        svg=draw("board-front", 3.4, paint),
        header=("entry", "mean score, %", "peak memory", "throughput", "on the front"),
        rows=tuple(_front_row(row) for row in drawn),
    )


def _has_bytes(row: Row) -> bool:
    return row.peak_memory is not None and row.peak_memory.unit == "bytes"


def _point(row: Row) -> tuple[float, float]:
    """Peak memory, MB, and the mean score, percent."""
    memory_bytes = row.peak_memory.value if row.peak_memory else 0.0
    return memory_bytes / MEGABYTE, 100 * (row.mean_share or 0.0)


def _point_up(row: Row) -> tuple[float, str]:
    return _point(row)[1], row.entry


def _front_row(row: Row) -> tuple[str, ...]:
    memory, score = _point(row)
    speed = next((cell.number for cell in row.cells if cell.column == "throughput"), None)
    fast = f"{figures.number(speed.value)} {speed.unit}" if speed else figures.ABSENT
    shown = "yes" if row.on_front else "no"
    return row.entry, figures.number(score), f"{figures.number(memory)} MB", fast, shown
