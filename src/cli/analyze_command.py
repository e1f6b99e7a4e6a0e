"""`moondev-ibkr analyze`: evidence for a list in one round, scored by rules and, where there are any, by models."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from ..agents.analysis.alerts import AlertDesk, AlertSink, FileSink, LogSink, WebhookSink
from ..agents.analysis.analysis_store import FILE, AnalysisStore
from ..agents.analysis.collecting import EvidenceCollector, spelling
from ..agents.analysis.continuous import Watcher, WatchSettings
from ..agents.analysis.measures import trading_date
from ..agents.analysis.news_evidence import NewsReader, NewsSettings
from ..agents.analysis.report import AnalysisRow, Plan, Report, by_threat, save_report
from ..agents.analysis.screening import RULES_VERSION, Models, Screening, ScreeningSettings, analysis_rules
from ..agents.llm.asking import Target
from ..agents.llm.ladder import Ladder
from ..agents.llm.models import Models as LlmModels
from ..agents.llm.quarantine import Quarantine
from ..agents.llm.request import JsonBackend
from ..brokers.domain.scan import ScanRequest
from ..brokers.errors import InvalidData, InvalidRequest
from ..config.settings import LlmBackend, Settings
from .analyze_scan import ScannedList, scan_request, scanned
from .analyze_view import AnalyzeView
from .boundary import FAILED, INTERRUPTED, OK, print_json, run_async
from .opening import Opening, open_broker, settings_for, state_folder
from .options import (
    BarsOption,
    BrokerChoice,
    BrokerOption,
    ConfigOption,
    JsonOption,
    LiveOption,
    SeedOption,
    StartOption,
)
from .paper_account import asked_market

if TYPE_CHECKING:
    from ..brokers.interactive_brokers.ib_adapter import IBAdapter

#: Reports and alerts in the state folder.
REPORTS, ALERTS = "analyses", "alerts.jsonl"
#: Name of the secret that holds the webhook's address (IB_SECRETS__ALERT_WEBHOOK).
WEBHOOK = "alert_webhook"
#: Questions under way at once, whatever the hosts could take.
MOST_IN_FLIGHT = 64
#: Stories of a symbol that a model reads, the worst by the lexicon: each is a question before the first score.
STORIES_READ = 2
#: Ctrl-C before the first score.
NOTHING_DONE = (
    "Interrupted before the first score, so there is no report. What models have answered and what a scan has ranked "
    "is kept: the same command goes on from here."
)
#: How to switch a model on, in one line.
SWITCH_ON = (
    "Rules alone, no language model asked. To ask one: moondev-ibkr analyze … --small llama3.1:8b (your Ollama), "
    "or set IB_LLM_BACKENDS (docs/llm.md)."
)


@dataclass(frozen=True, slots=True)
class AnalyzeOptions:
    """`symbols` are tickers in the order asked, `scan` ranks more of them (None: no others). `small` and `large` name
    models, None for the settings'."""

    opening: Opening
    symbols: tuple[str, ...]
    scan: ScanRequest | None
    small: str | None
    large: str | None
    top: int
    as_json: bool
    watch: WatchOptions | None


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Seconds between two looks and two scans, and what an hour or a day may cost."""

    every: float
    scan_every: float
    lines: int
    questions: int
    cost: float


def analyze(
    symbols: Annotated[list[str] | None, typer.Argument(help="Tickers, e.g. AAPL MSFT BRK.B.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A list of tickers, one a line; # begins a note.")] = None,
    scan: Annotated[
        str | None,
        typer.Option("--scan", metavar="CODE[:ROWS]", help="What the broker's scanner ranks: TOP_PERC_GAIN:20, say."),
    ] = None,
    small: Annotated[
        str | None, typer.Option("--small", help="Model for every symbol: NAME, or BACKEND/NAME (ollama/llama3.1:8b).")
    ] = None,
    large: Annotated[str | None, typer.Option("--large", help="Model for those that stand out.")] = None,
    top: Annotated[int, typer.Option("--top", min=0, help="How many of the list the large model sees.")] = 10,
    continuous: Annotated[bool, typer.Option("--continuous", help="Keep watching, and look again at what changes.")] = (
        False
    ),
    every: Annotated[float, typer.Option("--every", min=1.0, help="Seconds between two looks.")] = 60.0,
    scan_every: Annotated[
        float, typer.Option("--scan-every", min=30.0, help="Seconds between two scans; IB ranks anew every 30.")
    ] = 60.0,
    lines: Annotated[int, typer.Option("--lines", min=1, help="Market-data lines that a look may take.")] = 50,
    questions: Annotated[int, typer.Option("--questions", min=0, help="Questions to models in an hour.")] = 120,
    cost: Annotated[float, typer.Option("--cost", min=0.0, help="USD that models may cost in a day.")] = 1.0,
    broker: BrokerOption = BrokerChoice.PAPER,
    bars: BarsOption = None,
    start: StartOption = None,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    i_understand_live: LiveOption = False,
    json_output: JsonOption = False,
) -> int:
    """Screen a list: what is out of the ordinary, how much, and why. Looks only; it can send no order."""
    request = scan_request(scan)
    wanted = asked_symbols(symbols or [], file, others=request is not None)
    opening = Opening(broker, config, i_understand_live, asked_market(bars, start, seed), only_looks=True)
    watch = WatchOptions(every, scan_every, lines, questions, cost) if continuous else None
    options = AnalyzeOptions(opening, wanted, request, small, large, top, json_output, watch)
    settings = settings_for(opening)
    return run_async(screen(options, settings), settings.performance)


def asked_symbols(arguments: list[str], file: Path | None, *, others: bool = False) -> tuple[str, ...]:
    """Tickers of the arguments, then of the file, each once; none at all only where there are `others`. Raises
    InvalidRequest, InvalidData."""
    found = [part for text in arguments for part in text.replace(",", " ").split()]
    if file is not None:
        try:
            content = file.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise InvalidRequest(f"--file {file}", "there is no such file", "give a text file of tickers") from None
        except UnicodeDecodeError:
            raise InvalidData(f"--file {file}", "it is not text", "give a text file, one ticker a line") from None
        except OSError as error:
            raise InvalidRequest(f"--file {file}", error.strerror or str(error), "give a text file") from None
        found += [
            part.strip() for line in content.splitlines() for part in line.partition("#")[0].split(",") if part.strip()
        ]
    if not found and not others:
        raise InvalidRequest(
            "analyze", "no ticker is named", "write moondev-ibkr analyze AAPL MSFT, --file list.txt, or --scan CODE"
        )
    return tuple(dict.fromkeys(found))


async def screen(options: AnalyzeOptions, settings: Settings) -> int:
    """Open what is needed, screen, report, and answer the exit code."""

    store = AnalysisStore(state_folder(settings) / FILE)
    try:
        async with contextlib.AsyncExitStack() as stack:
            models, in_flight = await _models(options, settings, stack)
            broker = await stack.enter_async_context(open_broker(options.opening, settings))
            job = Job(options, settings, broker, store, models, in_flight)
            return await (job.once() if options.watch is None else job.watch(options.watch))
    finally:
        store.close()


async def _models(
    options: AnalyzeOptions, settings: Settings, stack: contextlib.AsyncExitStack
) -> tuple[NamedModels, int]:
    """Who is asked, and how many questions at once."""
    if options.small is None and options.large is None and not settings.llm_backends:
        return NamedModels(), 1
    llm = LlmModels(settings)
    stack.push_async_callback(llm.aclose)
    rules = analysis_rules()
    if options.small is None and options.large is None:
        targets = [llm.target(backend) for backend in settings.llm_backends]
        models = Models(small=Ladder(targets, rules))
        return NamedModels(models, _named(targets[0]), news=Ladder(targets, rules, purpose="news")), _slots(targets)
    small = None if options.small is None else _target(llm, settings, options.small, "--small")
    large = None if options.large is None else _target(llm, settings, options.large, "--large")
    targets = [target for target in (large, small) if target is not None]
    chosen = Models(
        small=None if small is None else Ladder([small], rules, purpose="screening"),
        large=None if large is None else Ladder(targets, rules),
    )
    news = Ladder(targets[-1:], rules, purpose="news")
    return NamedModels(chosen, _named(small), _named(large), news), _slots(targets)


@dataclass(frozen=True, slots=True)
class NamedModels:
    """The models and their names, None where there is none. `news` reads stories, in quarantine."""

    models: Models | None = None
    small: str | None = None
    large: str | None = None
    news: JsonBackend | None = None

    @property
    def any(self) -> bool:
        return self.models is not None


def _target(llm: LlmModels, settings: Settings, text: str, option: str) -> Target:
    """`NAME` of the settings' first backend (Ollama without any), or `BACKEND/NAME`."""
    backend, slash, name = text.strip().partition("/")
    known = {row.value: row for row in LlmBackend}
    if not slash or backend not in known:
        backend, name = (settings.llm_backends or (LlmBackend.OLLAMA,))[0].value, text.strip()
    if not name or any(letter.isspace() for letter in name):
        raise InvalidRequest(f"{option} {text!r}", "it names no model", f"write NAME or {'|'.join(known)}/NAME")
    return llm.target(known[backend], name)


def _named(target: Target | None) -> str | None:
    return None if target is None else f"{target.pool.backend}/{target.model}"


def _slots(targets: list[Target]) -> int:
    """Questions that the hosts take at once, and a few that wait."""
    pools = {id(target.pool): target.pool for target in targets}.values()
    return max(1, min(MOST_IN_FLIGHT, sum(host.slots for pool in pools for host in pool.hosts) + 2))


class Job:
    """One screening over a connected broker."""

    def __init__(
        self,
        options: AnalyzeOptions,
        settings: Settings,
        broker: IBAdapter,
        store: AnalysisStore,
        models: NamedModels,
        in_flight: int,
    ) -> None:
        self._options, self._settings, self._broker, self._store = options, settings, broker, store
        self._models, self._in_flight = models, in_flight
        self._view = AnalyzeView(as_json=options.as_json)
        self._folder = state_folder(settings)

    async def once(self) -> int:
        """Screen the list; what an interrupted run of the same plan did is not done again."""

        began, day = datetime.now(UTC), trading_date(await self._broker.market_time())
        listed = None if self._options.scan is None else ScannedList(self._store, self._options.scan, day)
        plan = self._plan(day, [] if listed is None else await listed.symbols(self._broker))
        kept = _restored(self._store.kept_rows(plan.id))
        interrupted = False
        with self._view.progress() as progress:
            screening = Screening(
                self._collector(self._models.news, lambda done, total: progress("news", done, total)),
                self._models.models,
                self._screening_settings(),
                alerts=self._desk(),
                keep=lambda row: self._store.keep_row(plan.id, row.symbol, row.model_dump_json()),
                progress=progress,
            )
            try:
                await screening.run(plan.symbols, kept)
            except asyncio.CancelledError:
                interrupted = True
        rows = by_threat(screening.rows.values())
        if interrupted and not rows:
            self._view.note(NOTHING_DONE)
            return INTERRUPTED
        report = Report(
            plan,
            self._options.opening.broker.value,
            began,
            datetime.now(UTC),
            rows,
            interrupted,
            resumed=sum(name in kept for name in screening.rows),
            alerts=tuple(told.alert.to_json() | {"sent": list(told.sent)} for told in screening.told),
        )
        paths = save_report(self._folder / REPORTS, report)
        if not interrupted:
            self._store.drop_rows(plan.id)
            if listed is not None:
                listed.drop()
        if self._options.as_json:
            print_json(report.to_json() | {"saved": [str(path) for path in paths]})
        else:
            self._view.show(report, screening.told, paths, hint=None if self._models.any else SWITCH_ON)
        if interrupted:
            return INTERRUPTED
        return FAILED if any(row.threat is None for row in rows) else OK

    async def watch(self, options: WatchOptions) -> int:
        """Look again and again until Ctrl-C; what was last known is then saved."""

        # Stories come at any rate: read by a model, they would pass the budget of questions.
        began, collector, request = datetime.now(UTC), self._collector(None), self._options.scan
        day = trading_date(await self._broker.market_time())
        screening = Screening(collector, self._models.models, self._screening_settings(), alerts=self._desk())
        settings = WatchSettings(
            options.every, options.scan_every, options.lines, questions=options.questions, cost=options.cost
        )
        watcher = Watcher(
            collector, screening, settings, clock=time.monotonic, sleep=asyncio.sleep, told=self._view.show_look
        )
        if not self._models.any:
            self._view.note(SWITCH_ON)
        try:
            await watcher.run(
                self._options.symbols, None if request is None else lambda: scanned(self._broker, request)
            )
        except asyncio.CancelledError:
            if not screening.rows:
                self._view.note(NOTHING_DONE)
                return INTERRUPTED
        rows = by_threat(screening.rows.values())
        told = tuple(outcome.alert.to_json() for outcome in screening.told)
        name = self._options.opening.broker.value
        report = Report(
            self._plan(day, list(screening.rows)), name, began, datetime.now(UTC), rows, interrupted=True, alerts=told
        )
        for path in save_report(self._folder / REPORTS, report):
            self._view.note(f"report: {path}")
        return INTERRUPTED

    def _plan(self, day: date, ranked: Sequence[str]) -> Plan:
        """The named symbols, and those that a scan ranked."""

        symbols = tuple(dict.fromkeys(spelling(symbol) for symbol in (*self._options.symbols, *ranked)))
        return Plan(symbols, day, self._models.small, self._models.large, self._options.top, RULES_VERSION)

    def _collector(
        self, news: JsonBackend | None, told: Callable[[int, int], None] = lambda done, total: None
    ) -> EvidenceCollector:
        """`news` None reads headlines by the lexicon alone; `told` hears how many stories a model has read."""

        def name_of(symbol: str) -> str | None:
            return collector.company_name(symbol)

        settings = NewsSettings(read=STORIES_READ, in_flight=self._in_flight)
        reader = NewsReader(Quarantine(news), settings, name_of=name_of, progress=told)
        collector = EvidenceCollector(self._broker, read_news=reader)
        return collector

    def _screening_settings(self) -> ScreeningSettings:

        return ScreeningSettings(top=self._options.top, in_flight=self._in_flight, deadline=self._settings.llm_deadline)

    def _desk(self) -> AlertDesk:

        sinks: list[AlertSink] = [LogSink(), FileSink(self._folder / ALERTS)]
        secrets = {name.lower(): value.get_secret_value() for name, value in self._settings.secrets.items()}
        if WEBHOOK in secrets:
            sinks.append(WebhookSink(secrets[WEBHOOK]))
        return AlertDesk(sinks, self._store)


def _restored(kept: dict[str, str]) -> dict[str, AnalysisRow]:
    """Rows of an interrupted run; one that can no longer be read is done again."""

    rows = {}
    for symbol, content in kept.items():
        with contextlib.suppress(ValidationError):
            rows[symbol] = AnalysisRow.model_validate_json(content)
    return rows
