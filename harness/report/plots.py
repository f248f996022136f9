"""The charts of one base model's story: parameters, training, scores, and what the strategy recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from matplotlib.patches import Rectangle

from harness.report import figures, recorded
from harness.report.chart import GRID, INK, MARKERS, MUTED, SERIES, Chart, draw, label
from harness.report.scores import ROLE_NAMES, score_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from harness.report.recorded import Bars, Curve, Grid
    from harness.submission.model_result import ModelResult, StepRecord

ROLES: Final = ("base", "compressed", "final", "control")
COLOURS: Final = dict(zip(ROLES, SERIES, strict=False))
SHAPES: Final = dict(zip(ROLES, MARKERS, strict=False))
DASHES: Final = ("-", "--", ":", "-.")
ROW_INCHES: Final = 0.3
MOST_BARS: Final = 48
MOST_ROWS: Final = 40
"""Of the table behind a curve; the record has all of them."""


def charts_of(model: ModelResult, prefix: str) -> tuple[Chart, ...]:
    """Every chart that the record of ``model`` allows, in the order of the story."""
    found = [parameters(model, f"{prefix}-parameters"), training(model, f"{prefix}-training")]
    found.append(scores(model, f"{prefix}-scores"))
    return tuple(chart for chart in (*found, *_recorded(model, prefix)) if chart is not None)


def parameters(model: ModelResult, name: str) -> Chart | None:
    """Parameters after every step, beside the budget."""
    if not model.steps:
        return None
    counts = [("base", model.base.parameter_count)]
    counts += [(f"{n} {step.method}", step.parameter_count) for n, step in enumerate(model.steps, start=1)]

    widest = max(1, *(c for _, c in counts))

    def paint(axes: Axes) -> None:
        places = range(len(counts))
        axes.barh(places, [c for _, c in counts], height=0.6, color=[SERIES[0], *[SERIES[2]] * len(model.steps)])
        for place, (_, found) in zip(places, counts, strict=True):
            axes.text(widest * 1.28, place, figures.count(found), ha="right", va="center")
        axes.set_yticks(places, [label(text) for text, _ in counts])
        axes.invert_yaxis()
        axes.set_xlim(0, widest * 1.28)
        axes.axvline(model.parameter_budget, color=INK, linestyle=(0, (4, 3)), linewidth=1)
        axes.set_xlabel(f"parameters; dashed: the budget, {figures.count(model.parameter_budget)}")
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)

    base = max(1, model.base.parameter_count)
    rows = tuple((text, figures.whole(c), figures.share(c / base)) for text, c in counts)
    return Chart(
        name=name,
        title="Parameters, step by step",
        caption="Embeddings included, tied tensors counted once.",
        svg=draw(name, 0.7 + ROW_INCHES * len(counts), paint),
        header=("after", "parameters", "of the base"),
        rows=rows,
    )


def training(model: ModelResult, name: str) -> Chart | None:
    """Losses of the training steps: curves where they were kept, else their two ends."""
    runs = _training_runs(model)
    losses = {text: found for text, step in runs if (found := recorded.curves(step).get("loss"))}
    if losses:
        return _curves(losses, name)
    two_ends = {text: pair for text, step in runs if (pair := recorded.ends(step))}
    return _two_ends(two_ends, name) if two_ends else None


def _training_runs(model: ModelResult) -> list[tuple[str, StepRecord]]:
    student = [(f"{n} {step.method}", step) for n, step in enumerate(model.steps, start=1) if step.stage == "train"]
    return student + [(f"control {n} {step.method}", step) for n, step in enumerate(model.control_steps, start=1)]


def _curves(losses: dict[str, Curve], name: str) -> Chart:
    def paint(axes: Axes) -> None:
        for number, (text, curve) in enumerate(losses.items()):
            colour, dashes = SERIES[(number + 2) % len(SERIES)], DASHES[number % len(DASHES)]
            axes.plot(curve.updates, curve.values, color=colour, linestyle=dashes, linewidth=1.4, label=label(text))
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss")
        axes.grid(visible=True, axis="y")
        axes.legend()

    rows = [row for text, curve in losses.items() for row in _curve_rows(text, curve)]
    return Chart(
        name=name,
        title="Training",
        caption="Loss of every recorded optimizer step, as the strategy's own loss function states it.",
        svg=draw(name, 2.6, paint),
        header=("step", "optimizer step", "loss"),
        rows=tuple(rows),
    )


def _curve_rows(text: str, curve: Curve) -> Iterator[tuple[str, ...]]:
    """At most ``MOST_ROWS`` points of a curve, its ends among them."""
    last = len(curve.values) - 1
    chosen = sorted(
        {round(last * n / (MOST_ROWS - 1)) for n in range(MOST_ROWS)} if last >= MOST_ROWS else range(last + 1)
    )
    return ((text, f"{curve.updates[at]:g}", figures.number(curve.values[at])) for at in chosen)


def _two_ends(losses: dict[str, tuple[float, float]], name: str) -> Chart:
    def paint(axes: Axes) -> None:
        for place, (first, last) in enumerate(losses.values()):
            axes.plot([first, last], [place, place], color=MUTED, linewidth=1.6, zorder=1)
            axes.scatter([first], [place], color=SERIES[0], marker=MARKERS[0], label="first" if place == 0 else None)
            axes.scatter([last], [place], color=SERIES[2], marker=MARKERS[2], label="last" if place == 0 else None)
        axes.set_yticks(range(len(losses)), [label(text) for text in losses])
        axes.set_ylim(len(losses) - 0.5, -0.5)
        axes.set_xlabel("loss")
        axes.grid(visible=True, axis="x")
        axes.figure.legend(loc="outside upper right", ncols=2, handletextpad=0.2, columnspacing=1.0)

    rows = tuple((text, figures.number(first), figures.number(last)) for text, (first, last) in losses.items())
    return Chart(
        name=name,
        title="Training",
        caption="Mean loss of the first and of the last ten optimizer steps; the record keeps no more of these runs.",
        svg=draw(name, 1.1 + ROW_INCHES * len(losses), paint),
        header=("step", "first loss", "last loss"),
        rows=rows,
    )


def scores(model: ModelResult, name: str) -> Chart | None:
    """Every task over the checkpoints, as shares of a perfect score with 95 % intervals."""
    rows = score_rows(model)
    if not rows:
        return None
    roles = [role for role in ROLES if any(role in row.cells for row in rows)]

    def paint(axes: Axes) -> None:
        for turn, role in enumerate(roles):
            cells = [(place, row.cells[role]) for place, row in enumerate(rows) if role in row.cells]
            offset = (turn - (len(roles) - 1) / 2) * 0.18
            axes.errorbar(
                [100 * c.share for _, c in cells],
                [place + offset for place, _ in cells],
                xerr=([100 * (c.share - c.low) for _, c in cells], [100 * (c.high - c.share) for _, c in cells]),
                fmt=SHAPES[role], color=COLOURS[role], markersize=4.5, elinewidth=1.2, label=role,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [label(row.column) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-2, 102)
        axes.set_xlabel("share of a perfect score, %")
        axes.grid(visible=True, axis="x")
        axes.tick_params(axis="y", length=0)
        axes.figure.legend(loc="outside upper center", ncols=len(roles), handletextpad=0.2, columnspacing=1.0)

    table = tuple(
        (row.column, role, row.cells[role].shown, row.cells[role].interval, figures.whole(row.cells[role].items))
        for row in rows
        for role in roles
        if role in row.cells
    )
    return Chart(
        name=name,
        title="Scores",
        caption="; ".join(ROLE_NAMES[role] for role in roles) + ". Lines: 95 % intervals over the items.",
        svg=draw(name, 0.9 + 0.62 * len(rows), paint),
        header=("task", "checkpoint", "score", "95 % interval", "items"),
        rows=table,
    )


def _recorded(model: ModelResult, prefix: str) -> Iterator[Chart]:
    """Sensitivities, ranks, counts: what the strategy left in the notes of its steps."""
    for number, step in enumerate(model.steps, start=1):
        for turn, found in enumerate(recorded.grids(step)):
            yield _grid(found, f"{prefix}-grid-{number}-{turn}", f"Step {number}, {step.method}")
        for turn, listed in enumerate(recorded.bars(step)):
            yield _bars(listed, f"{prefix}-bars-{number}-{turn}", f"Step {number}, {step.method}")


def _bars(found: Bars, name: str, where: str) -> Chart:
    shown = min(len(found.values), MOST_BARS)

    def paint(axes: Axes) -> None:
        axes.bar(range(shown), found.values[:shown], color=SERIES[2], width=0.75)
        if shown <= 6:  # noqa: PLR2004 - so many names fit beside each other
            axes.set_xticks(range(shown), [label(text) for text in found.names[:shown]])
        axes.set_ylabel(label(found.title))
        axes.grid(visible=True, axis="y")
        axes.set_axisbelow(True)

    left_out = len(found.values) - shown
    return Chart(
        name=name,
        title=f"{where}: {found.title}",
        caption="As the strategy recorded it." + (f" The first {shown} are drawn." if left_out else ""),
        svg=draw(name, 2.2, paint),
        header=("", found.title),
        rows=tuple((text, figures.number(value)) for text, value in zip(found.names, found.values, strict=True)),
    )


def _grid(found: Grid, name: str, where: str) -> Chart:
    rows, columns = len(found.values), len(found.values[0])
    every = [value for row in found.values for value in row]
    low, span = min(every), (max(every) - min(every)) or 1.0

    def paint(axes: Axes) -> None:
        for y, row in enumerate(found.values):
            for x, value in enumerate(row):
                strength = 0.06 + 0.94 * (value - low) / span
                axes.add_patch(Rectangle((x, y), 0.94, 0.94, facecolor=SERIES[2], alpha=strength, edgecolor=GRID, lw=0))
        axes.set_xlim(0, columns)
        axes.set_ylim(rows, 0)
        for count, set_ticks in ((columns, axes.set_xticks), (rows, axes.set_yticks)):
            shown = range(0, count, 1 + count // 16)
            set_ticks([at + 0.47 for at in shown], [str(at) for at in shown])
        axes.tick_params(length=0)
        axes.set_xlabel("column")
        axes.set_ylabel("row")

    return Chart(
        name=name,
        title=f"{where}: {found.title}",
        caption=f"As the strategy recorded it, {figures.number(low)} (faint) to {figures.number(max(every))} (full).",
        svg=draw(name, min(4.0, 1.0 + 0.22 * rows), paint),
        header=("row", *(str(x) for x in range(columns))),
        rows=tuple((str(y), *(figures.number(value) for value in row)) for y, row in enumerate(found.values)),
    )
