"""A run as it happens, on standard error: one line for what is done, a bar for what is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from harness.run.settings import edition_of, left_out_tasks

if TYPE_CHECKING:
    from harness.containment import Event
    from harness.run.pipeline import RunRecord

LABEL_WIDTH = 34
RESULT_WIDTH = 52


class Watcher:
    """An ``Observer`` that draws."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bars.add_task("", total=None, detail="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def heading(self, record: RunRecord) -> None:
        """Say what begins."""
        settings = record.settings
        edition = edition_of(settings)
        self._say(
            f"[bold]{settings.plugin}[/]   track {settings.track}   edition {edition.id} {edition.version}   "
            f"budget {settings.budget:g}   seed {settings.seed}   run {record.run}"
        )
        if edition.notice:
            self._say(f"[yellow]{edition.notice}[/]")
        if left_out := left_out_tasks(settings, edition):
            fate = "will not be filed" if edition.eligible else "is filed as such"
            self._say(f"[yellow]incomplete: --tasks leaves out {', '.join(left_out)}; the entry {fate}[/]")

    def section(self, title: str, detail: str = "") -> None:
        """Start a part of the run."""
        self._say(f"\n[bold]{title}[/]   {detail}".rstrip())

    def started(self, label: str) -> None:
        """Show that a piece of work is under way."""
        self._bars.reset(self._task, description=label, total=None, detail="")

    def event(self, event: Event) -> None:
        """Move the bar."""
        if event.get("event") != "progress":
            return
        total, done = event.get("total"), event.get("done")
        self._bars.update(
            self._task,
            description=str(event.get("label", "")),
            total=float(total) if isinstance(total, int | float) and total else None,
            completed=float(done) if isinstance(done, int | float) else 0.0,
            detail=str(event.get("detail", "")),
        )

    def finished(self, label: str, result: str, duration_s: float, *, reused: bool) -> None:
        """Say what a piece of work came to."""
        took = "reused" if reused else duration(duration_s)
        self._say(f"  {label:<{LABEL_WIDTH}} {result:<{RESULT_WIDTH}} {took:>10}")

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def duration(seconds: float) -> str:
    """``3.2 s``, ``12 m 04 s``, ``5 h 10 m``."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} m" if hours else f"{minutes} m {rest:02d} s"
