"""How an analysis shows on a screen: its progress with the time left, and its table."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..agents.analysis.alerts import Told
from ..agents.analysis.continuous import Look
from ..agents.analysis.report import AnalysisRow, Report, StageAnswer, shown_threat
from .run_report import make_console

#: Threat from which the table shows a row in this style, the highest first.
STYLES: tuple[tuple[int, str], ...] = ((70, "bold red"), (40, "yellow"))
#: What a stage is called while it runs.
STAGES = {"evidence": "evidence", "news": "news stories", "small": "small model", "large": "large model"}


class AnalyzeView:
    """The terminal; with `as_json` progress goes to standard error and data to standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self._console = make_console(stderr=as_json)
        self._as_json = as_json

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None]]:
        """A bar for each stage, with the time left."""
        columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        hidden = not self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=hidden) as bars:
            tasks: dict[str, TaskID] = {}

            def told(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(STAGES.get(stage, stage), total=total)
                bars.update(tasks[stage], completed=done, total=total)

            yield told

    def note(self, text: str) -> None:
        """One line that is no data."""
        self._console.print(Text(text, style="dim"))

    def show_look(self, look: Look) -> None:
        """What a look found: a line for each row that was analysed again, or one JSON object."""
        if self._as_json:
            body = {
                "look": look.number,
                "time": look.time,
                "looked_at": look.looked_at,
                "changed": [row.to_json() for row in look.changed],
                "held_back": look.held_back,
                "error": look.error,
                "questions_last_hour": look.questions,
                "cost_last_day": look.spent,
                "entered": look.entered,
                "left": look.left,
                "scan_error": look.scan_error,
            }
            print(json.dumps(body, default=str), flush=True)
            return
        when = "–" if look.time is None else f"{look.time:%Y-%m-%d %H:%M:%S}"
        if look.entered or look.left:
            moved = [f"+ {', '.join(look.entered)}"] * bool(look.entered) + [f"- {', '.join(look.left)}"] * bool(
                look.left
            )
            self._console.print(Text(f"{when}  scan: {'   '.join(moved)}", style="dim"))
        if look.scan_error is not None:
            self._console.print(Text(f"the scan failed, its last list stays: {look.scan_error}", style="red"))
        for row in look.changed:
            told = "; ".join(row.reasons[:3]) or row.error or "nothing out of the ordinary"
            by = row.answered_by + (" (degraded)" if row.degraded else "")
            held = f" [no model: {look.held_back[row.symbol]}]" if row.symbol in look.held_back else ""
            self._console.print(
                Text(f"{when}  {row.symbol:<6} {shown_threat(row):>3} {row.direction:<7} {by}: {told}{held}")
            )
        if look.error is not None:
            self._console.print(Text(f"look {look.number} failed: {look.error}", style="red"))

    def show(self, report: Report, told: Sequence[Told], paths: Sequence[Path], *, hint: str | None) -> None:
        """The table, the alerts, where the report lies, and how to switch a model on."""
        console = self._console
        console.print(analysis_table(report.rows))
        if report.resumed:
            console.print(
                f"{report.resumed} of {len(report.rows)} symbols were done before, in a run that was stopped."
            )
        for outcome in told:
            _show_alert(console, outcome)
        for line in failure_lines(report.rows):
            console.print(Text(line, style="yellow"))
        if report.interrupted:
            left = len(report.missing)
            console.print(
                f"Interrupted: what is done is kept{f', {left} symbols are left' if left else ''}. "
                "The same command goes on from here.",
                style="yellow",
            )
        console.print(Text(f"report: {paths[0]}  {paths[1].name}", style="dim"))
        if hint is not None:
            console.print(Text(hint))


def analysis_table(rows: Sequence[AnalysisRow]) -> Table:
    """One line a symbol: scores of each stage, who answered, and the reasons."""
    stages = [name for name in ("small", "large") if any(getattr(row, name) is not None for row in rows)]
    table = Table(title="Analysis", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("symbol", "threat", "way", "known", "rules", *stages):
        table.add_column(name, justify="left" if name in ("symbol", "way") else "right", no_wrap=True)
    table.add_column("answered by", overflow="fold")
    table.add_column("why", overflow="fold")
    for row in rows:
        style = next((style for bound, style in STYLES if row.threat is not None and row.threat >= bound), "")
        who = row.answered_by + (" (degraded)" if row.degraded else "")
        told = "; ".join(row.reasons) or row.error or "nothing out of the ordinary"
        if row.error and row.reasons:
            told += f"; {row.error}"
        table.add_row(
            Text(row.symbol, style=style),
            Text(shown_threat(row), style=style),
            row.direction,
            f"{row.coverage:.0%}",
            _score(row.rules),
            *(_score(getattr(row, name)) for name in stages),
            Text(who),
            Text(told, style="red" if row.threat is None else ""),
        )
    return table


def failure_lines(rows: Sequence[AnalysisRow]) -> list[str]:
    """What failed on the way to the answers, each kind once, with how many symbols it met."""
    failures = Counter(
        failure
        for row in rows
        for answer in (row.small, row.large)
        if answer is not None
        for failure in dict.fromkeys(answer.failures)
    )
    return [f"{count} x {failure}" for failure, count in failures.most_common(5)]


def _score(answer: StageAnswer | None) -> str:
    return "–" if answer is None else f"{answer.score}{'*' if answer.degraded else ''}"


def _show_alert(console: Console, outcome: Told) -> None:
    where = ", ".join(outcome.sent) or "nowhere new: told before"
    console.print(f"[bold red]ALERT[/] {escape(outcome.alert.text)} [dim]→ {escape(where)}[/]")
    for name, why in outcome.failed:
        console.print(f"[red]{escape(name)} was not told:[/] {escape(why)}")
