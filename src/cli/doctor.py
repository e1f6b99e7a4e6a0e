"""`moondev-ibkr doctor`: one ordered checklist from "nothing listens" to "Read-Only API is ticked".

Each check says what was found and what to do next. The first failure that makes the rest meaningless ends the list.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..brokers.calendar import MarketCalendar, session_of
from ..brokers.domain.instrument import Instrument, InstrumentDetails
from ..brokers.domain.market_data import BarSize, DataType
from ..brokers.domain.order import NewOrder, OrderType, Side
from ..brokers.domain.order_states import OrderState
from ..brokers.domain.reports import WireOrder
from ..brokers.domain.sessions import Session
from ..brokers.errors import BrokerError, ConnectFailed, DeadlineExceeded, LiveNotAllowed, NoPermission, RequestFailed
from ..brokers.interactive_brokers.config.ib_config import TwsSettings
from ..brokers.interactive_brokers.ib_async_client import IbAsyncClient
from ..brokers.interactive_brokers.ib_transport import BarRequest
from ..brokers.journal import Journal
from ..config.settings import SIMULATED_ACCOUNT, TWS_PORTS, Environment, FailoverMode, Settings
from .boundary import FAILED, OK, print_json, run_async
from .opening import Opening, on_paper, settings_for
from .options import BrokerChoice, BrokerOption, ConfigOption, JsonOption, LiveOption
from .run_report import make_console

#: Real seconds for a TCP connect to a port that might be IB's.
PROBE_DEADLINE = 1.0
#: Real seconds until the first price of a quote.
QUOTE_DEADLINE = 12.0
#: The same while the market is closed: IB tells the last close at once, or nothing.
CLOSED_DEADLINE = 3.0
#: Wall-clock difference from which stale-quote checks and log times mislead (fault C28).
CLOCK_TOLERANCE = timedelta(seconds=1)
#: IB's error for every order while the API is read-only.
READ_ONLY_CODE = 321
READ_ONLY_STEP = "Configure → Settings → API: untick Read-Only API, then restart the gateway"
#: Error code -> what to do about it, where the error itself cannot know.
STEPS: Mapping[Any, str] = {
    READ_ONLY_CODE: READ_ONLY_STEP,
    10197: "the same user is logged in elsewhere and has the data: log that session out",
}


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warning"
    FAIL = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the checklist; `next` is empty when there is nothing to do."""

    name: str
    verdict: Verdict
    found: str
    next: str = ""


#: ConnectFailed.kind -> what to do about it.
REMEDIES: Mapping[str, str] = {
    "refused": "start IB Gateway or TWS and log in; in its API settings enable socket clients and note the port",
    "unreachable": "check IB_HOST and the network between here and there",
    "timeout": "check IB_HOST, the firewall, and that the host is up",
    "no_handshake": "is that the API's port? If it is, look at the gateway's window for a dialog, add this host to its "
    "trusted IPs, restart it",
    "closed_early": "the gateway behind the port is down or not logged in (it logs out weekly, on Sunday); log in",
    "client_id_in_use": "stop the other program, or set IB_CLIENT_ID to a free id and keep it: orders belong to it",
    "version": "update IB Gateway or TWS to a version that speaks 157 to 178",
    "protocol": "that port is not the API's: see Configure → Settings → API for the socket port",
    "account": "log in with the account that IB_ACCOUNT and IB_ENVIRONMENT name",
}


def doctor(
    symbol: Annotated[str, typer.Option("--symbol", help="Whose market data is tried.")] = "AAPL",
    broker: BrokerOption = BrokerChoice.IB,
    config: ConfigOption = None,
    i_understand_live: LiveOption = False,
    json_output: JsonOption = False,
) -> int:
    """Check everything between here and a filled order, in order; places nothing."""
    opening = Opening(broker, config, i_understand_live)
    settings = settings_for(opening)
    return run_async(examine(opening, settings, symbol, json_output), settings.performance)


async def examine(opening: Opening, settings: Settings, symbol: str, as_json: bool) -> int:
    async with reachable(opening, settings) as reached:
        checks = [check async for check in checklist(reached, symbol)]
    if as_json:
        print_json({"checks": [asdict(check) for check in checks]})
    else:
        show(checks, make_console())
    return FAILED if any(check.verdict is Verdict.FAIL for check in checks) else OK


@contextlib.asynccontextmanager
async def reachable(opening: Opening, settings: Settings) -> AsyncIterator[Settings]:
    """Settings that point at something: for paper, the gateway that runs or one started for the examination."""
    if opening.broker is not BrokerChoice.PAPER:
        yield settings
        return
    async with on_paper(opening, settings) as reached:
        yield reached


async def checklist(settings: Settings, symbol: str) -> AsyncIterator[Check]:
    """The checks in order; ends early where nothing more can be learnt."""
    where = f"{settings.host}:{settings.tws_port}"
    yield Check("settings", Verdict.OK, f"environment {settings.environment}, {where}, client {settings.client_id}")
    yield journal_check(settings)
    for check in pen_checks(settings):
        yield check
    client = IbAsyncClient(TwsSettings.from_settings(settings))
    try:
        try:
            await client.connect()
        except ConnectFailed as error:
            yield await connection_failure(settings, error)
            return
        except BrokerError as error:
            yield Check("session", Verdict.FAIL, str(error), "look at the gateway's window; restart it")
            return
        yield Check("session", Verdict.OK, f"connected to {where} as client {settings.client_id}")
        examined = Examination(settings, client, symbol)
        for step in (
            examined.accounts,
            examined.startup,
            examined.farms,
            examined.clock,
            examined.contract,
            examined.market_data,
            examined.history,
            examined.read_only,
        ):
            yield await step()
        yield Check(
            "order precautions",
            Verdict.WARN,
            "cannot be seen from here; a dialog in the gateway's window holds orders without a word",
            "Configure → Settings → API → Precautions: tick the bypass boxes that you can answer for",
        )
    finally:
        await client.disconnect()


async def connection_failure(settings: Settings, error: ConnectFailed) -> Check:
    """What the failure is, and where something else listens when nothing listens here."""
    step = REMEDIES.get(error.kind, error.next)
    if error.kind in ("refused", "protocol", "no_handshake"):
        others = await listening_elsewhere(settings)
        if others:
            step = f"something listens on {', '.join(others)}: set IB_PORT and IB_ENVIRONMENT to it, or {step}"
    return Check("session", Verdict.FAIL, f"{error.what}: {error.why}", step)


async def listening_elsewhere(settings: Settings) -> list[str]:
    """IB's other standard ports on the same host where something accepts connections."""
    found = []
    for (environment, software), port in TWS_PORTS.items():
        if port == settings.tws_port or environment is Environment.SIMULATION:
            continue
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(settings.host, port), PROBE_DEADLINE)
        except (OSError, TimeoutError):
            continue
        writer.close()
        found.append(f"{port} ({environment} {software})")
    return found


def journal_check(settings: Settings) -> Check:
    """Whether the journal, if there is one, is whole."""
    path = settings.state_folder / "journal.sqlite"
    if not path.exists():
        return Check("journal", Verdict.OK, f"none yet; it will be {path}")
    try:
        journal = Journal(path)
        try:
            broken = journal.verify()
        finally:
            journal.close()
    except BrokerError as error:
        return Check("journal", Verdict.FAIL, error.why or error.what, error.next)
    if broken is not None:
        return Check("journal", Verdict.FAIL, f"{path} was changed from outside: {broken}", "restore it from a backup")
    return Check("journal", Verdict.OK, f"{path}, every link of its chain holds")


def pen_checks(settings: Settings) -> list[Check]:
    """Which door the journal lets write, and every order that it left in doubt; nothing where there is no journal."""
    path = settings.state_folder / "journal.sqlite"
    if not path.exists():
        return []
    try:
        journal = Journal(path)
        try:
            lease, orders = journal.door(), journal.load_orders()
        finally:
            journal.close()
    except BrokerError as error:
        return [Check("orders in doubt", Verdict.FAIL, error.why or error.what, error.next)]
    checks = []
    if lease is not None:
        elsewhere = lease.door == "portal" and settings.failover is FailoverMode.OFF
        step = "set IB_FAILOVER as it was, or give the pen back: moondev-ibkr doors --to tws" if elsewhere else ""
        verdict = Verdict.WARN if elsewhere else Verdict.OK
        checks.append(Check("pen", verdict, f"orders go through {lease.door} (epoch {lease.epoch})", step))
    doubts = [
        f"{row.intent.key} ({row.intent.side} {row.intent.quantity} {row.intent.instrument.symbol}, through "
        f"{row.door}): {row.reason or 'no answer was written down'}"
        for row in orders
        if row.state is OrderState.UNKNOWN
    ]
    step = "connect: it ends by what the broker's orders and executions show; cancels pass meanwhile"
    if doubts:
        checks.append(Check("orders in doubt", Verdict.WARN, "; ".join(doubts), step))
    else:
        checks.append(Check("orders in doubt", Verdict.OK, "none"))
    return checks


class Examination:
    """Checks over a connected client; each answers one line and raises nothing of the broker's."""

    def __init__(self, settings: Settings, client: IbAsyncClient, symbol: str) -> None:
        self._settings = settings
        self._client = client
        self._symbol = symbol
        self._details: InstrumentDetails | None = None
        self._calendar = MarketCalendar()

    async def accounts(self) -> Check:
        accounts = self._client.accounts()
        try:
            for account in accounts:
                self._settings.model_copy(update={"account": None}).check_account(account)
        except LiveNotAllowed as error:
            return Check("account", Verdict.FAIL, f"{error.what}: {error.why}", error.next)
        except BrokerError as error:
            return Check("account", Verdict.FAIL, f"{error.what}: {error.why}", error.next)
        chosen = self._settings.account
        if chosen is not None and chosen not in accounts:
            return Check("account", Verdict.FAIL, f"IB_ACCOUNT {chosen} is not in {', '.join(accounts)}", "correct it")
        return Check("account", Verdict.OK, ", ".join(accounts))

    async def startup(self) -> Check:
        unknown = [section for section in self._client.sections if not section.known]
        if not unknown:
            return Check("account state", Verdict.OK, "positions, orders, executions and balances are known")
        text = "; ".join(f"{section.name}: {section.why or 'no answer'}" for section in unknown)
        if any(str(READ_ONLY_CODE) in section.why or "read-only" in section.why.lower() for section in unknown):
            return Check("account state", Verdict.FAIL, text, READ_ONLY_STEP)
        return Check("account state", Verdict.FAIL, text, "restart the gateway; until these are known nothing is sent")

    async def farms(self) -> Check:
        down = self._client.farms_down
        if down:
            return Check(
                "data farms", Verdict.WARN, "; ".join(down.values()), "wait: IB brings them back; see its status page"
            )
        return Check("data farms", Verdict.OK, "none is reported down")

    async def clock(self) -> Check:
        offset = self._client.clock_offset()
        if offset is None:
            return Check("clock", Verdict.WARN, "the broker did not tell its time", "run doctor again")
        if any(account.startswith(SIMULATED_ACCOUNT) for account in self._client.accounts()):
            return Check("clock", Verdict.OK, "the paper gateway keeps market time of its own")
        text = f"the broker's clock is {offset.total_seconds():+.1f} s from this machine's"
        if abs(offset) > CLOCK_TOLERANCE:
            return Check("clock", Verdict.WARN, text, "let this machine keep time by NTP")
        return Check("clock", Verdict.OK, text)

    async def contract(self) -> Check:
        return await self._try("contract", self._find_contract)

    async def market_data(self) -> Check:
        return await self._try("market data", self._find_quote)

    async def history(self) -> Check:
        return await self._try("history", self._find_bars)

    async def read_only(self) -> Check:
        """A what-if order is answered, never placed; a read-only API refuses even that."""
        return await self._try("orders", self._try_what_if)

    async def _try(self, name: str, work: Callable[[], Awaitable[Check]]) -> Check:
        if self._details is None and name != "contract":
            return Check(name, Verdict.WARN, "not tried: the contract is not known", "see above")
        try:
            return await work()
        except NoPermission as error:
            step = f"subscribe (moondev-ibkr costs {self._symbol}) or set IB_DELAYED_DATA=true"
            return Check(name, Verdict.FAIL, f"{error.why} [{error.code}]", step)
        except BrokerError as error:
            code = error.data.get("code")
            found = f"{error.what}: {error.why}" if error.why else error.what
            found += f" [{code}]" if code is not None and f"[{code}]" not in found else ""
            return Check(name, Verdict.FAIL, found, STEPS.get(code, error.next))

    async def _find_contract(self) -> Check:
        found = await self._client.contract_details(Instrument(self._symbol))
        if not found:
            return Check("contract", Verdict.FAIL, f"{self._symbol} is not known", "try --symbol with another ticker")
        self._details = found[0]
        instrument = found[0].instrument
        return Check("contract", Verdict.OK, f"{instrument.symbol} is conId {instrument.con_id}, {found[0].long_name}")

    async def _find_quote(self) -> Check:
        instrument = self._instrument()
        opens = await self._opens_at()
        line = self._client.subscribe_quotes(instrument)
        try:
            quote = await line.first(QUOTE_DEADLINE if opens is None else CLOSED_DEADLINE)
        except DeadlineExceeded:
            if opens is None:
                raise
            return Check("market data", Verdict.WARN, "the market is closed and tells no price", _again_at(opens))
        finally:
            self._client.unsubscribe_quotes(instrument)
        prices = f"bid {_shown(quote.bid)} ask {_shown(quote.ask)} last {_shown(quote.last)}"
        text = f"{instrument.symbol} {prices}, {quote.data_type.lower()}"
        if quote.data_type is not DataType.LIVE:
            return Check(
                "market data", Verdict.WARN, text, f"moondev-ibkr costs {self._symbol} tells what live data costs"
            )
        if quote.bid is None and quote.ask is None and quote.last is None:
            step = "the line is open but silent: restart the gateway if this repeats"
            return Check("market data", Verdict.WARN, text, step if opens is None else _again_at(opens))
        return Check("market data", Verdict.OK, text)

    async def _opens_at(self) -> datetime | None:
        """When the contract's market opens next; None while it is open, before and after hours included."""
        now = await self._client.market_time()
        if session_of(self._details, now, self._calendar) is not Session.CLOSED:
            return None
        return self._calendar.next_open(now)

    async def _find_bars(self) -> Check:
        bars = await self._client.historical_bars(BarRequest(self._instrument(), BarSize.D1, "5 D"))
        if not bars:
            return Check("history", Verdict.FAIL, "no daily bars", "look at the data farms above")
        return Check("history", Verdict.OK, f"{len(bars)} daily bars, the last of {bars[-1].time:%Y-%m-%d}")

    async def _try_what_if(self) -> Check:
        account = self._settings.account or self._client.accounts()[0]
        order = NewOrder(self._instrument(), Side.BUY, Decimal(1), OrderType.LIMIT, limit_price=Decimal(1))
        answer = await self._client.what_if(WireOrder(self._client.next_order_id, order, account))
        margin = answer.initial_margin_after
        return Check("orders", Verdict.OK, f"a what-if order is answered (initial margin after it {margin})")

    def _instrument(self) -> Instrument:
        if self._details is None:
            raise RequestFailed("contract", "it is not known")
        return replace(self._details.instrument)


def _again_at(opens: datetime) -> str:
    return f"run doctor again once it is open ({opens:%Y-%m-%d %H:%M} UTC)"


def _shown(price: float | None) -> str:
    return "none" if price is None else f"{price:.2f}"


_STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


def show(checks: list[Check], console: Console) -> None:
    table = Table(title="doctor", title_justify="left")
    for name in ("check", "verdict", "found", "next"):
        table.add_column(name, overflow="fold")
    for check in checks:
        table.add_row(
            check.name, Text(check.verdict, style=_STYLES[check.verdict]), Text(check.found), Text(check.next)
        )
    console.print(table)
