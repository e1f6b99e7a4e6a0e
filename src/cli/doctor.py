"""`moondev-ibkr doctor`: one ordered checklist from "nothing listens" to "Read-Only API is ticked".

Each check says what was found and what to do next. The first failure that makes the rest meaningless ends the list.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..brokers.calendar import MarketCalendar, session_of
from ..brokers.domain.instrument import Instrument, InstrumentDetails
from ..brokers.domain.market_data import BarSize, DataType
from ..brokers.domain.order import NewOrder, OrderType, Side
from ..brokers.domain.reports import WireOrder
from ..brokers.domain.sessions import Session
from ..brokers.errors import BrokerError, ConnectFailed, DeadlineExceeded, LiveNotAllowed, NoPermission, RequestFailed
from ..brokers.interactive_brokers.config.ib_config import PortalSettings, TwsSettings
from ..brokers.interactive_brokers.ib_async_client import IbAsyncClient
from ..brokers.interactive_brokers.ib_async_client.fast_frames import decoder_in_use
from ..brokers.interactive_brokers.ib_pool_endpoints import opener_for
from ..brokers.interactive_brokers.ib_sessions import PACE_FILE, PORTAL, TWS
from ..brokers.interactive_brokers.ib_size_units import IN_SHARES, SizeUnits
from ..brokers.interactive_brokers.ib_transport import BarRequest, IbTransport
from ..config.settings import SIMULATED_ACCOUNT, TWS_PORTS, Environment, FailoverMode, Settings
from .boundary import FAILED, OK, print_json, run_async
from .gateway_checks import as_data, gateway_checks, show_gateways
from .journal_checks import Check, Verdict, journal_check, pen_checks
from .opening import Opening, door_of, on_paper, settings_for
from .options import BrokerChoice, BrokerOption, ConfigOption, JsonOption, LiveOption
from .run_report import make_console

if TYPE_CHECKING:
    from ..brokers.interactive_brokers.ib_portal_client import IbPortalClient

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
    "portal": "start the Client Portal Gateway, check IB_PORTAL_HOST, IB_PORTAL_PORT and its certificate",
    "portal_account": "log in at the portal with the browser (or set IB_PORTAL_OAUTH_DIR); one user has one session",
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
        door = door_of(opening.broker)
        checks = [check async for check in checklist(reached, symbol, door)]
        found, gateways = await gateway_checks(reached, lambda own: client_of(own, door))
        checks += found
    if as_json:
        print_json({"checks": [asdict(check) for check in checks], "gateways": [as_data(one) for one in gateways]})
    else:
        console = make_console()
        show(checks, console)
        show_gateways(gateways, console)
    return FAILED if any(check.verdict is Verdict.FAIL for check in checks) else OK


@contextlib.asynccontextmanager
async def reachable(opening: Opening, settings: Settings) -> AsyncIterator[Settings]:
    """Settings that point at something: for paper, the gateway that runs or one started for the examination."""
    if opening.broker is not BrokerChoice.PAPER:
        yield settings
        return
    async with on_paper(opening, settings) as reached:
        yield reached


async def checklist(settings: Settings, symbol: str, door: str = TWS) -> AsyncIterator[Check]:
    """The checks in order; ends early where nothing more can be learnt. `door` is the one that is examined; the portal
    behind TWS is only looked at, since examining it could take the session of TWS."""
    where = settings.portal_url if door == PORTAL else f"{settings.host}:{settings.tws_port}"
    yield Check("settings", Verdict.OK, f"environment {settings.environment}, {where}, client {settings.client_id}")
    yield journal_check(settings)
    for check in pen_checks(settings):
        yield check
    if door == TWS:
        yield Check("tick decoder", Verdict.OK, decoder_in_use(settings.tick_decoder))
    if door == TWS and settings.failover is not FailoverMode.OFF:
        yield await standby_check(settings)
    async for check in examination(settings, symbol, client_of(settings, door), where):
        yield check


def client_of(settings: Settings, door: str) -> IbTransport:
    """The door itself, without what stands beside it. Raises ConfigurationError."""
    if door == PORTAL:
        return portal_client(settings)
    return IbAsyncClient(TwsSettings.from_settings(settings), opener=opener_for(settings.order_gateway))


def portal_client(settings: Settings) -> IbPortalClient:
    """Raises ConfigurationError."""
    # whoever trades through TWS alone need not load an HTTP library
    from ..brokers.interactive_brokers.ib_portal_client import IbPortalClient

    paced = replace(PortalSettings.from_settings(settings), pace_file=settings.state_folder / PACE_FILE)
    return IbPortalClient(paced)


async def standby_check(settings: Settings) -> Check:
    """Whether the portal behind TWS is there, logged in, and what of its session; nothing is taken."""
    client = portal_client(settings)
    try:
        status = await client.session_status()
    except BrokerError as error:
        step = REMEDIES["portal_account" if isinstance(error, ConnectFailed) else "portal"]
        return Check("portal, standing by", Verdict.WARN, f"{error.what}: {error.why}", error.next or step)
    finally:
        await client.disconnect()
    usable = status.get("authenticated") is True and not status.get("competing")
    words = ", ".join(f"{name} {str(status.get(name)).lower()}" for name in ("authenticated", "connected", "competing"))
    if settings.failover is FailoverMode.ONE_USER or usable:
        return Check("portal, standing by", Verdict.OK, f"{settings.portal_url} is logged in; {words}")
    return Check("portal, standing by", Verdict.WARN, f"{settings.portal_url}: {words}", REMEDIES["portal"])


async def examination(settings: Settings, symbol: str, client: IbTransport, where: str) -> AsyncIterator[Check]:
    """What a connected door shows, in order."""
    is_portal = client.name == PORTAL
    try:
        try:
            await client.connect()
        except ConnectFailed as error:
            yield portal_failure(error) if is_portal else await connection_failure(settings, error)
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
        if is_portal:
            return
        yield Check(
            "order precautions",
            Verdict.WARN,
            "cannot be seen from here; a dialog in the gateway's window holds orders without a word",
            "Configure → Settings → API → Precautions: tick the bypass boxes that you can answer for",
        )
    finally:
        await client.disconnect()


def portal_failure(error: ConnectFailed) -> Check:
    step = error.next or REMEDIES["portal_account" if error.kind == "account" else "portal"]
    return Check("session", Verdict.FAIL, f"{error.what}: {error.why}", step)


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


class Examination:
    """Checks over a connected client; each answers one line and raises nothing of the broker's."""

    def __init__(self, settings: Settings, client: IbTransport, symbol: str) -> None:
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
        sizes = SizeUnits()
        try:
            quote = await line.first(QUOTE_DEADLINE if opens is None else CLOSED_DEADLINE)
            sizes.note([line])
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
        if sizes.seen == 2 and not sizes.hundreds:
            sides = f"sizes {quote.bid_size:g} and {quote.ask_size:g} may be round lots instead of shares"
            return Check("market data", Verdict.WARN, f"{text}; {sides}", IN_SHARES)
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
