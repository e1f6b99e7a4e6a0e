"""`moondev-ibkr run`: the main job. An agent trades session after session, and the run tells what it did and why."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ..agents.analysis.collecting import EvidenceCollector
from ..agents.analysis.news_evidence import NewsReader
from ..agents.analysis.report import AnalysisRow, by_threat
from ..agents.analysis.screening import Screening
from ..agents.llm.quarantine import Quarantine
from ..agents.trading.aegs_agent import AegsAgent, AegsSettings
from ..agents.trading.aegs_score import ScoreKind
from ..brokers.base_broker import BaseBroker
from ..brokers.calendar import MarketCalendar
from ..brokers.domain.account import AccountSummary, Position
from ..brokers.domain.instrument import normalize_symbol
from ..brokers.errors import BrokerError, ConfigurationError, InvalidRequest
from ..brokers.interactive_brokers.ib_adapter import IBAdapter
from ..brokers.simulation.bars_files import bar_symbols
from ..config.settings import Settings
from .boundary import INTERRUPTED, OK, error_json, exit_code, print_json, run_async, show_error
from .gateway_process import GatewayProcess
from .opening import Opening, door_arguments, door_of, leading_to, log_to, settings_for, state_folder
from .options import (
    BarsOption,
    BrokerChoice,
    BrokerOption,
    ConfigOption,
    JsonOption,
    LiveOption,
    ScoreChoice,
    SeedOption,
    StartOption,
    parse_symbols,
)
from .paper_account import PaperMarket, asked_market
from .run_report import Summary, make_console
from .session_driver import ReplayDriver, SessionDriver, WallDriver

#: What the agent trades when no symbols are named: the stocks whose bars ship with the package.
DEFAULT_SYMBOLS = ("AAPL", "MSFT", "IBM", "GOOG")
#: Real seconds for the account's last figures, which must not keep a report waiting.
LAST_LOOK = 5.0
#: Real seconds and symbols for the analysis at the end.
LAST_ANALYSIS, MOST_ANALYSED = 1.0, 10


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`symbols` are tickers as the broker spells them. `cycles` is sessions."""

    opening: Opening
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    cycles: int = 20
    score: ScoreKind = ScoreKind.LIVE
    as_json: bool = False


def run(
    broker: BrokerOption = BrokerChoice.PAPER,
    symbols: Annotated[
        str, typer.Option("--symbols", help="Comma-separated tickers; default: those of --bars, or the shipped ones.")
    ] = "",
    cycles: Annotated[int, typer.Option("--cycles", help="Sessions to trade.")] = 20,
    score: Annotated[ScoreChoice, typer.Option("--score", help="Which AEGS score decides.")] = ScoreChoice.LIVE,
    bars: BarsOption = None,
    start: StartOption = None,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    i_understand_live: LiveOption = False,
    json_output: JsonOption = False,
) -> int:
    """Let the AEGS agent trade: on real daily bars and the paper gateway, unless told otherwise."""
    if cycles < 1:
        raise InvalidRequest(f"--cycles {cycles}", "a run has at least one session", "give --cycles 1 or more")
    market = asked_market(bars, start, seed)
    if broker is not BrokerChoice.PAPER and market is not None:
        raise InvalidRequest("--bars, --start and --seed", f"they shape the paper market, not broker {broker}")
    chosen = tuple(normalize_symbol(name) for name in parse_symbols(symbols))
    chosen = chosen or (tuple(bar_symbols(bars)) if bars else DEFAULT_SYMBOLS)
    opening = Opening(broker, config, i_understand_live, market)
    settings = settings_for(opening)
    options = RunOptions(opening, chosen, cycles, ScoreKind(score.value), json_output)
    return run_async(trade_sessions(options, settings, make_console(stderr=json_output)), settings.performance)


async def trade_sessions(options: RunOptions, settings: Settings, console: Console) -> int:
    """Trade, report, and answer the exit code: 0, 130 when interrupted, else that of the error that ended it."""
    folder = run_folder(settings, options.opening.broker)
    with log_to(folder, settings):
        async with open_session(options, settings, folder) as (broker, driver):
            job = Run(broker, driver, options, console)
            interrupted, failure = False, None
            try:
                await job.trade()
            except asyncio.CancelledError:
                interrupted = True
            except BrokerError as error:
                failure = error
            if failure is not None and not job.cycles and not broker.orders():
                raise failure
            summary = replace(await job.summary(str(folder)), analysis=await job.analysis())
            if options.as_json:
                print_json(summary.to_json() | ({"error": error_json(failure)} if failure is not None else {}))
            else:
                summary.show(console)
    if interrupted:
        show_error(BrokerError("interrupted", f"after {job.cycles} of {options.cycles} sessions"), as_json=False)
        return INTERRUPTED
    if failure is not None:
        show_error(failure, as_json=False)
        return exit_code(failure)
    return OK


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stood at a moment of market time."""

    time: datetime
    account: AccountSummary
    positions: tuple[Position, ...]


class Run:
    """One run over any broker; the driver moves the sessions."""

    def __init__(self, broker: BaseBroker, driver: SessionDriver, options: RunOptions, console: Console) -> None:
        self._broker = broker
        self._driver = driver
        self._options = options
        self._console = console
        self.agent = AegsAgent(broker, list(options.symbols), AegsSettings(score=options.score))
        self.cycles = 0
        self._first: Standing | None = None
        self._last: Standing | None = None

    async def trade(self) -> None:
        """Every cycle: to the open, review and enter, to the close."""
        self._first = self._last = await self._look()
        try:
            await self.agent.start()
            with self._progress() as progress:
                task = progress.add_task("", total=self._options.cycles)
                while self.cycles < self._options.cycles and await self._cycle(progress, task):
                    self._last = await self._look()
        finally:
            await self.agent.stop()

    async def _cycle(self, progress: Progress, task: TaskID) -> bool:
        day = await self._driver.to_open()
        if day is None:
            self._console.print(f"the prices end here, after {self.cycles} sessions", style="yellow")
            return False
        progress.update(task, description=f"{day.day}")
        await self.agent.run_cycle()
        await self._driver.to_close(day)
        self.cycles += 1
        progress.update(task, advance=1, description=f"{day.day}  {self._standing()}")
        return True

    def _standing(self) -> str:
        return f"{len(self._broker.fills())} fills, {len(self.agent.holdings())} held"

    def _progress(self) -> Progress:
        columns = (TextColumn("AEGS {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        hidden = self._options.as_json and not self._console.is_terminal
        return Progress(*columns, console=self._console, transient=False, disable=hidden)

    async def _look(self) -> Standing:
        broker = self._broker
        return Standing(await broker.market_time(), await broker.account(), tuple(await broker.positions()))

    async def summary(self, journal: str) -> Summary:
        """What was done; the account as it stands, or as it was last seen when the broker no longer answers."""
        as_seen = self._last
        with contextlib.suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(LAST_LOOK):
                as_seen = await self._look()
        if as_seen is None:
            raise ConfigurationError("summary", "the broker never told its account", f"the journal is in {journal}")
        first = self._first or as_seen
        return Summary(
            broker=self._broker.name if self._options.opening.broker is not BrokerChoice.PAPER else "paper gateway",
            first=first.time,
            last=as_seen.time,
            cycles=self.cycles,
            actions=tuple(self.agent.actions),
            orders=tuple(self._broker.orders()),
            fills=tuple(self._broker.fills()),
            positions=as_seen.positions,
            account=as_seen.account,
            started_with=first.account.net_liquidation,
            latency=self._broker.latency_report(),
            journal=journal,
            best=self.agent.best,
            entry_score=self.agent.settings.entry_score,
            stale=as_seen is self._last and self.cycles < self._options.cycles,
        )

    async def analysis(self) -> tuple[AnalysisRow, ...]:
        """What rules make of the symbols that were traded, or else watched; empty when the broker no longer answers or
        takes longer than `LAST_ANALYSIS`."""
        traded = dict.fromkeys(fill.instrument.symbol for fill in self._broker.fills())
        names = list(traded or dict.fromkeys(self._options.symbols))[:MOST_ANALYSED]
        news = NewsReader(Quarantine())
        rows: list[AnalysisRow] = []
        with contextlib.suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(LAST_ANALYSIS):
                rows = await Screening(EvidenceCollector(self._broker, read_news=news)).run(names)
        return by_threat(rows)


@contextlib.asynccontextmanager
async def open_session(
    options: RunOptions, settings: Settings, folder: Path
) -> AsyncIterator[tuple[IBAdapter, SessionDriver]]:
    """A broker and what moves its sessions: a driven gateway of its own for paper, the wall clock otherwise."""
    calendar = MarketCalendar()
    if options.opening.broker is not BrokerChoice.PAPER:
        async with IBAdapter.from_settings(settings, door=door_of(options.opening.broker)) as broker:
            yield broker, WallDriver(broker, calendar)
        return
    market = options.opening.market or PaperMarket()
    async with GatewayProcess([*door_arguments(settings), *market.arguments()], folder) as gateway:
        own = leading_to(gateway.where, settings).model_copy(update={"state_dir": folder})
        async with IBAdapter.from_settings(own) as broker:
            yield broker, ReplayDriver(gateway, broker, calendar)


def run_folder(settings: Settings, broker: BrokerChoice) -> Path:
    """Where the journal lies: a new folder for every paper run, whose account is new too; the account's otherwise."""
    folder = state_folder(settings)
    if broker is BrokerChoice.PAPER:
        folder = folder / "runs" / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise ConfigurationError(
                f"run folder {folder}", error.strerror or str(error), "set IB_STATE_DIR to a writable folder"
            ) from None
    return folder
