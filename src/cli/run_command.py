"""`moondev-ibkr run`: the main job. An agent trades session after session, and the run tells what it did and why."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ..agents.trading.aegs_agent import AegsAgent, AegsSettings
from ..agents.trading.aegs_score import ScoreKind
from ..brokers.base_broker import BaseBroker
from ..brokers.calendar import MarketCalendar
from ..brokers.errors import BrokerError, ConfigurationError, InvalidRequest
from ..brokers.interactive_brokers.ib_adapter import IBAdapter
from ..config.settings import Settings
from .boundary import FAILED, INTERRUPTED, OK, print_json, show_error
from .gateway_process import GatewayProcess
from .opening import Opening, log_to, settings_for, state_folder
from .options import BrokerChoice
from .run_report import Summary, make_console
from .session_driver import ReplayDriver, SessionDriver, WallDriver

#: What the agent trades when no symbols are named: the stocks whose bars ship with the package.
DEFAULT_SYMBOLS = ("AAPL", "MSFT", "IBM", "GOOG")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`symbols` empty means the shipped ones, or the stems of the bar files given. `cycles` is sessions."""

    opening: Opening
    symbols: tuple[str, ...] = ()
    cycles: int = 20
    score: ScoreKind = ScoreKind.LIVE
    as_json: bool = False


async def run(options: RunOptions) -> int:
    """Trade, report, and answer the exit code: 0, or 1 when the run had to stop early for an error."""
    if options.cycles < 1:
        raise InvalidRequest(f"cycles {options.cycles}", "a run has at least one session", "give --cycles 1 or more")
    settings = settings_for(options.opening)
    console = make_console(stderr=options.as_json)
    folder = run_folder(settings, options.opening.broker)
    with log_to(folder, settings):
        return await _run_logged(options, settings, folder, console)


async def _run_logged(options: RunOptions, settings: Settings, folder: Path, console: Console) -> int:
    async with open_session(options, settings, folder) as (broker, driver):
        job = Run(broker, driver, options, console)
        interrupted, failure = False, None
        try:
            await job.trade()
        except asyncio.CancelledError:
            interrupted = True
        except BrokerError as error:
            failure = error
        summary = await job.summary(str(folder))
        print_json(summary.to_json()) if options.as_json else summary.show(console)
    if failure is not None:
        show_error(failure, as_json=False)
    return INTERRUPTED if interrupted else FAILED if failure is not None else OK


class Run:
    """One run over any broker; the driver moves the sessions."""

    def __init__(self, broker: BaseBroker, driver: SessionDriver, options: RunOptions, console: Console) -> None:
        self._broker = broker
        self._driver = driver
        self._options = options
        self._console = console
        symbols = options.symbols or DEFAULT_SYMBOLS
        self.agent = AegsAgent(broker, list(symbols), AegsSettings(score=options.score))
        self._first: datetime | None = None
        self._started_with: Decimal | None = None
        self._cycles = 0

    async def trade(self) -> None:
        """Every cycle: to the open, review and enter, to the close."""
        self._first = await self._broker.market_time()
        self._started_with = (await self._broker.account()).net_liquidation
        await self.agent.start()
        try:
            with self._progress() as progress:
                task = progress.add_task("", total=self._options.cycles)
                while self._cycles < self._options.cycles and await self._cycle(progress, task):
                    pass
        finally:
            await self.agent.stop()

    async def _cycle(self, progress: Progress, task: TaskID) -> bool:
        day = await self._driver.to_open()
        if day is None:
            self._console.print("the prices end here", style="yellow")
            return False
        progress.update(task, description=f"{day.day}")
        await self.agent.run_cycle()
        await self._driver.to_close(day)
        self._cycles += 1
        progress.update(task, advance=1, description=f"{day.day}  {self._standing()}")
        return True

    def _standing(self) -> str:
        return f"{len(self._broker.fills())} fills, {len(self.agent.holdings())} held"

    def _progress(self) -> Progress:
        columns = (TextColumn("AEGS {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        return Progress(*columns, console=self._console, transient=False, disable=self._options.as_json)

    async def summary(self, journal: str) -> Summary:
        last = await self._broker.market_time()
        return Summary(
            broker=self._broker.name if self._options.opening.broker is BrokerChoice.IB else "paper gateway",
            first=self._first or last,
            last=last,
            cycles=self._cycles,
            actions=tuple(self.agent.actions),
            orders=tuple(self._broker.orders()),
            fills=tuple(self._broker.fills()),
            positions=tuple(await self._broker.positions()),
            account=await self._broker.account(),
            started_with=self._started_with,
            latency=self._broker.latency_report(),
            journal=journal,
        )


@contextlib.asynccontextmanager
async def open_session(
    options: RunOptions, settings: Settings, folder: Path
) -> AsyncIterator[tuple[IBAdapter, SessionDriver]]:
    """A broker and what moves its sessions: a driven gateway of its own for paper, the wall clock otherwise."""
    calendar = MarketCalendar()
    if options.opening.broker is not BrokerChoice.PAPER:
        async with IBAdapter.from_settings(settings) as broker:
            yield broker, WallDriver(broker, calendar)
        return
    async with GatewayProcess(options.opening.gateway_arguments, folder) as gateway:
        if gateway.ready is None:
            raise ConfigurationError("paper gateway", "it did not tell where it listens", f"see {gateway.log_file}")
        where = {"host": gateway.ready.host, "port": gateway.ready.port, "state_dir": folder}
        async with IBAdapter.from_settings(settings.model_copy(update=where)) as broker:
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
                f"run folder {folder}", str(error), "set IB_STATE_DIR to a writable folder"
            ) from None
    return folder
