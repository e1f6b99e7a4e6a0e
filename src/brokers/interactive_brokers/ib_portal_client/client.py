"""IbPortalClient: the Client Portal API as the transport that the managers use."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from ...domain.account import AccountSummary, PnL, Position
from ...domain.clock import MarketClock
from ...domain.instrument import Instrument, InstrumentDetails, PriceIncrement
from ...domain.market_data import Bar, BarSource, Quote, Trade
from ...domain.news import Article, Headline, NewsProvider
from ...domain.options import OptionActivity, OptionChain, OptionQuote
from ...domain.order import Fill, WhatIf
from ...domain.reports import BrokerOrder, WireOrder
from ...domain.scan import ScanParameters, ScanRequest
from ...errors import BrokerError, LinkError, NotSupported
from ...order_port import OrderListener
from ..config.ib_config import PortalSettings
from ..ib_transport import (
    BarListener,
    BarRequest,
    LinkEventKind,
    LinkListener,
    LinkState,
    MarketListener,
    PositionListener,
    QuoteLine,
    ScheduledSession,
    StartupSection,
    SymbolMatch,
    Traffic,
)
from .account_feed import AccountFeed
from .contracts import Contracts
from .history import History
from .limits import LIMITS, Lanes, PortalLimit
from .market_lines import MarketLines
from .metered_wire import MeteredWire
from .oauth import OAuthSession
from .oauth_credentials import OAuthCredentials
from .order_channel import OrderChannel
from .order_feed import OrderFeed, fills_since
from .own_orders import OwnOrders
from .pace_file import PaceFile
from .requests_wire import RequestsWire
from .scanner import Scanner
from .session import Session
from .signed_wire import SignedWire
from .stream import Stream
from .tls import TlsPolicy
from .wire import PortalWire

logger = logging.getLogger(__name__)

_ELSEWHERE = "ask through TWS"


def make_wire(settings: PortalSettings) -> PortalWire:
    """Sockets to the address of the settings, signed where they name an OAuth consumer. Raises ConfigurationError."""
    tls = TlsPolicy(settings.url, settings.ca_file, settings.fingerprint, settings.verify)
    wire = RequestsWire(tls)
    if settings.oauth_dir is None:
        return wire
    credentials = OAuthCredentials.from_folder(settings.oauth_dir)
    oauth = OAuthSession(credentials, wire.base, lambda: datetime.now(UTC))
    return SignedWire(wire, oauth, tls.url)


class IbPortalClient:
    """One login of the portal; fulfils IbTransport (and OrderPort with it).

    `check_accounts` is called with the session's accounts before anything else is asked and may refuse them. `clock`
    becomes market time as the stream tells it. `wire` None opens sockets; `limits` are the pacing rows. All of it runs
    on one event loop.
    """

    #: The portal trades fractions of a share for accounts that may; the contracts' own steps are whole.
    minimum_quantity = Decimal(1)

    #: Live orders and trades are answered once in 5 s each, and a cold list is asked twice.
    reading_time = 12.0

    def __init__(
        self,
        settings: PortalSettings | None = None,
        *,
        clock: MarketClock | None = None,
        check_accounts: Callable[[tuple[str, ...]], None] = lambda _accounts: None,
        wire: PortalWire | None = None,
        limits: Sequence[PortalLimit] = LIMITS,
    ) -> None:
        self._settings = settings or PortalSettings()
        self.clock = clock or MarketClock()
        self._check_accounts = check_accounts
        self._wire = MeteredWire(wire or make_wire(self._settings))
        memory = PaceFile(self._settings.pace_file, self._settings.url) if self._settings.pace_file else None
        self._lanes = Lanes(self._wire, limits, self._settings.penalty, memory)
        self._stream = Stream(self._wire, self._settings)
        self._session = Session(self._lanes, self._stream, self._settings, self.clock, self)
        self._own = OwnOrders()
        self._contracts = Contracts(self._session)
        self._feed = OrderFeed(self._session, self._contracts, self._own, self._settings, self.client_id)
        self._orders = OrderChannel(self._session, self._feed, self._own, self._settings, self.client_id)
        self._market = MarketLines(self._session, self.clock, self._settings, self.name)
        self._history = History(self._session, self.clock, self._settings)
        self._scanner = Scanner(self._session, self._settings)
        self._account = AccountFeed(self._session, self._contracts, self.clock, self._settings)
        self._feed.on_traded = self._account.refresh
        self._stream.handle("failed", self._on_failed_frame)

    # Session

    @property
    def name(self) -> str:
        return "portal"

    @property
    def state(self) -> LinkState:
        return self._session.state

    @property
    def sections(self) -> Sequence[StartupSection]:
        return self._session.sections

    @property
    def farms_down(self) -> Mapping[str, str]:
        """The portal tells of no farms."""
        return {}

    @property
    def client_id(self) -> int:
        return self._settings.client_id

    @property
    def is_healthy(self) -> bool:
        return self._session.state is LinkState.READY and self._session.is_synced

    @property
    def next_order_id(self) -> int:
        return self._own.next_order_id

    @property
    def stream_is_open(self) -> bool:
        """False while orders and quotes are polled."""
        return self._stream.is_open

    def shows_orders_of(self, door: str) -> bool:
        """Whether orders of TWS are among the portal's is not known (client-portal.md section 8)."""
        return door == self.name

    async def connect(self) -> None:
        try:
            await self._session.connect()
        except BaseException:
            # what was opened on the way must not stay open
            await self.disconnect()
            raise
        self._account.start()
        self._feed.poll(not self._stream.is_open)

    async def session_status(self) -> Mapping[str, Any]:
        """What the gateway says of the brokerage session (client-portal.md 1.3), asked without taking or beginning it.

        Raises ConnectFailed where nobody is logged in, NotConnected, LinkLost and RequestFailed.
        """
        self._session.lanes.recall()
        return await self._session.handshake.tickle()

    async def is_reachable(self) -> bool:
        """Whether the gateway answers and is logged in, whoever holds the brokerage session; takes nothing."""
        try:
            await self.session_status()
        except BrokerError as error:
            logger.info("the portal is not there: %s", error)
            return False
        return True

    async def connect_by_force(self) -> None:
        """As `connect`, with compete=true. Only this once: two programs that both take it back would flap."""
        handshake = self._session.handshake
        handshake.compete = True
        try:
            await self.connect()
        finally:
            handshake.compete = self._settings.compete

    async def disconnect(self) -> None:
        await self._orders.close()
        self._feed.stop()
        self._market.stop()
        self._account.stop()
        await self._session.disconnect()
        await self._wire.close()

    def accounts(self) -> tuple[str, ...]:
        return self._session.accounts

    async def market_time(self) -> datetime:
        """The stream's own, after every frame that was sent before it; the clock's while there is no stream."""
        self._session.require("market time")
        await self._session.within("market time", self._session.set_clock(), self._settings.request_deadline)
        return self.clock.now()

    def clock_offset(self) -> timedelta | None:
        return self._session.offset

    async def verify_link(self, deadline: float) -> None:
        await self._session.verify(deadline)

    async def settled(self) -> None:
        """Until what the streams told has been followed up: commissions, children, positions."""
        await self._feed.settled()
        await self._account.settled()

    def add_link_listener(self, listener: LinkListener) -> None:
        self._session.add_listener(listener)

    def add_market_listener(self, listener: MarketListener) -> None:
        self._market.add_listener(listener)

    def remove_market_listener(self, listener: MarketListener) -> None:
        self._market.remove_listener(listener)

    def add_position_listener(self, listener: PositionListener) -> None:
        self._account.add_listener(listener)

    def latencies(self) -> Mapping[str, Sequence[float]]:
        return {"send": self._lanes.waits, "round_trip": self._session.handshake.round_trips}

    def traffic(self) -> Traffic:
        return Traffic(self._wire.received, self._wire.sent)

    # SessionOwner

    def check_session(self, accounts: tuple[str, ...]) -> None:
        self._check_accounts(accounts)

    def forget_caches(self) -> None:
        self._feed.forget_caches()

    def startup_queries(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        return {"orders and trades": self._feed.warm_up, **self._account.startup(self._session.accounts)}

    def restore_subscriptions(self) -> tuple[int, int]:
        self._feed.poll(not self._stream.is_open)
        return self._market.restore()

    def on_session_lost(self, error: LinkError) -> None:
        self._feed.poll(False)
        self._history.on_session_lost(error)

    def on_trust_lost(self, reason: str) -> None:
        if self._feed.listener is not None:
            self._feed.listener.on_link_lost(reason)

    def on_trust_restored(self, reason: str) -> None:
        if self._feed.listener is not None:
            self._feed.listener.on_link_restored(reason)

    def on_stream(self, is_open: bool, why: str) -> None:
        """Without the stream orders are polled; once it is back, what it may have told meanwhile is read."""
        self._market.on_stream(is_open, why)
        self._feed.poll(not is_open)
        if is_open:
            self.on_trust_restored(f"the stream is open again: {why}")

    def _on_failed_frame(self, frame: dict[str, Any]) -> None:
        """A frame that could not be read may have told of an order (fault C19)."""
        if str(frame.get("topic", "")).partition("+")[0] in ("sor", "str"):
            self._session.tell(LinkEventKind.ALARM, f"a frame of {frame.get('topic')} could not be read")
            self.on_trust_restored(f"a frame of {frame.get('topic')} could not be read")

    # OrderPort

    def set_listener(self, listener: OrderListener) -> None:
        self._feed.set_listener(listener)

    async def place(self, order: WireOrder) -> None:
        await self._orders.place(order)

    async def modify(self, order: WireOrder) -> None:
        await self._orders.modify(order)

    async def cancel(self, order_id: int, perm_id: int | None = None, client_id: int | None = None) -> None:
        await self._orders.cancel(order_id, perm_id, client_id)

    async def cancel_everything(self) -> None:
        await self._orders.cancel_everything()

    async def what_if(self, order: WireOrder) -> WhatIf:
        return await self._orders.what_if(order)

    async def open_orders(self) -> Sequence[BrokerOrder]:
        self._session.require("open orders")
        return await self._feed.open_orders()

    async def completed_orders(self) -> Sequence[BrokerOrder]:
        """Those that ended in the present brokerage session; the portal forgets the rest."""
        self._session.require("completed orders")
        return await self._feed.completed_orders()

    async def executions(self, since: datetime | None = None) -> Sequence[Fill]:
        """Executions of a week at most."""
        self._session.require("executions")
        return fills_since(await self._feed.read_trades(), since)

    async def positions(self) -> Sequence[Position]:
        self._session.require("positions")
        return await self._account.ask_positions()

    # Reference

    async def contract_details(self, instrument: Instrument) -> Sequence[InstrumentDetails]:
        self._session.require(f"contract {instrument}")
        return await self._contracts.contract_details(instrument)

    async def market_rule(self, rule_id: int) -> tuple[PriceIncrement, ...]:
        raise NotSupported(f"market rule {rule_id}", "the portal has no such numbers", "the details hold the steps")

    async def matching_symbols(self, pattern: str) -> Sequence[SymbolMatch]:
        self._session.require(f"search for {pattern!r}")
        return await self._contracts.matching_symbols(pattern)

    # Quotes and streams

    def subscribe_quotes(self, instrument: Instrument) -> QuoteLine:
        return self._market.subscribe(instrument)

    def unsubscribe_quotes(self, instrument: Instrument) -> None:
        self._market.unsubscribe(instrument)

    def resubscribe_silent(self, since: float, only: frozenset[int] | None = None) -> None:
        self._session.require("market data")
        self._market.restore_silent(since, only)

    async def snapshot(self, instrument: Instrument, deadline: float) -> Quote:
        self._session.require(f"snapshot of {instrument}")
        return await self._market.snapshot(instrument, deadline)

    def subscribe_ticks(self, instrument: Instrument, kind: str) -> int:
        raise NotSupported(f"{kind} ticks of {instrument}", "the portal streams no single trades", _ELSEWHERE)

    def subscribe_depth(self, instrument: Instrument, rows: int) -> int:
        return self._market.subscribe_depth(instrument, rows)

    def subscribe_news(self, instrument: Instrument, providers: Sequence[str]) -> int:
        raise NotSupported(f"news of {instrument}", "the portal has no news", _ELSEWHERE)

    def unsubscribe(self, handle: int) -> None:
        if not self._history.unsubscribe(handle):
            self._market.unsubscribe_depth(handle)

    # History

    async def historical_bars(self, request: BarRequest) -> list[Bar]:
        self._session.require(f"bars of {request.instrument}")
        return await self._history.bars(request)

    async def live_bars(self, request: BarRequest, listener: BarListener) -> tuple[int, list[Bar]]:
        self._session.require(f"live bars of {request.instrument}")
        return await self._history.live(request, listener)

    async def head_timestamp(self, instrument: Instrument, source: BarSource, regular_hours: bool) -> datetime:
        raise NotSupported(f"head timestamp of {instrument}", "the portal does not tell it", _ELSEWHERE)

    async def schedule(self, instrument: Instrument, days: int, end: datetime | None) -> list[ScheduledSession]:
        raise NotSupported(f"schedule of {instrument}", "the portal client does not read it", _ELSEWHERE)

    async def historical_ticks(
        self, instrument: Instrument, start: datetime | None, end: datetime | None, count: int, regular_hours: bool
    ) -> list[Trade]:
        raise NotSupported(f"trades of {instrument}", "the portal tells no single trades of the past", _ELSEWHERE)

    # Options and news

    async def option_chains(self, underlying: Instrument) -> Sequence[OptionChain]:
        raise NotSupported(f"option chain of {underlying}", "the portal client does not read chains", _ELSEWHERE)

    async def option_quote(self, option: Instrument, deadline: float) -> OptionQuote:
        raise NotSupported(f"quote of {option}", "the portal tells no greeks or open interest", _ELSEWHERE)

    async def option_activity(self, underlying: Instrument, deadline: float) -> OptionActivity:
        raise NotSupported(f"option activity of {underlying}", "the portal does not tell it", _ELSEWHERE)

    async def news_providers(self) -> Sequence[NewsProvider]:
        raise NotSupported("news providers", "the portal has no news", _ELSEWHERE)

    async def headlines(
        self,
        instrument: Instrument,
        providers: Sequence[str],
        start: datetime | None,
        end: datetime | None,
        count: int,
    ) -> Sequence[Headline]:
        raise NotSupported(f"headlines of {instrument}", "the portal has no news", _ELSEWHERE)

    async def article(self, provider: str, article_id: str) -> Article:
        raise NotSupported(f"article {article_id}", "the portal has no news", _ELSEWHERE)

    # Scans and fundamentals

    async def scan(self, request: ScanRequest) -> Sequence[Instrument]:
        self._session.require(str(request))
        return await self._scanner.scan(request)

    async def scan_parameters(self) -> ScanParameters:
        self._session.require("scanner parameters")
        return await self._scanner.parameters()

    async def fundamental_report(self, instrument: Instrument, report: str) -> str:
        raise NotSupported(f"{report} of {instrument}", "the portal has no such reports", _ELSEWHERE)

    # Account

    def cached_positions(self) -> list[Position] | None:
        return self._account.positions()

    def cached_summary(self, account: str) -> AccountSummary | None:
        return self._account.summary(account)

    def exchange_rate(self, account: str, currency: str) -> Decimal | None:
        return self._account.exchange_rate(account, currency)

    async def account_summary(self) -> list[AccountSummary]:
        self._session.require("account summary")
        return await self._account.ask_summaries()

    async def pnl(self, account: str, con_id: int | None = None) -> PnL:
        self._session.require(f"P&L of {account}")
        return await self._account.pnl(account, con_id, self._settings.request_deadline)
