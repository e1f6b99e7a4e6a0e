"""IBAdapter: Interactive Brokers as a BaseBroker. It composes; what it does is done by its managers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import date, datetime, timedelta
from pathlib import Path

from ...config.settings import Feature, Settings, load_settings
from ..base_broker import Health, MarketSubscription, Subscription, Symbol
from ..broker_gate import BrokerRiskView
from ..calendar import MarketCalendar
from ..costs import SubscriptionCosts, calculate_subscription_costs
from ..domain.account import AccountSummary, PnL, Position
from ..domain.clock import Clock, MarketClock
from ..domain.fundamentals import Fundamentals
from ..domain.instrument import Instrument, InstrumentDetails
from ..domain.market_data import Bar, BarSize, BarSource, BarUpdate, Quote, StreamKind
from ..domain.news import Article, Headline, NewsProvider
from ..domain.options import OptionActivity, OptionChain, OptionQuote
from ..domain.order import Bracket, NewOrder, Order, OrderChange
from ..domain.scan import ScanParameters, ScanRequest
from ..domain.sessions import Session
from ..domain.streams import StreamOptions
from ..domain.subscriptions import Subscriptions
from ..errors import BrokerError, ConfigurationError, DoorFenced, NoData
from ..journal import ClientLease, Journal
from ..managed_broker import StopSettings
from ..orders import OrderManager, OrderSettings
from ..orders.latency import distribution
from ..risk import RiskPolicy
from ..streams.hub import StreamHub
from .ib_account import PositionBook
from .ib_contracts import ContractBook, as_instrument
from .ib_data_manager import DataPolicy, IBDataManager
from .ib_failover import Failover
from .ib_feed_watch import FeedWatch
from .ib_fundamentals import IBFundamentals
from .ib_gateway_pool import GatewayPool
from .ib_health import health_of
from .ib_history import HistoryStore
from .ib_line_pins import pinned_instruments
from .ib_news import IBNews
from .ib_options import IBOptions
from .ib_order_manager import IBOrderManager, Rounded, rounded
from .ib_pacing import HistoricalPacer
from .ib_quote_table import QuoteTable, QuoteTables
from .ib_risk_half import IBGate, RiskHalf
from .ib_risk_manager import IBRiskManager
from .ib_scanner import IBScanner
from .ib_second_source import QuoteSource
from .ib_sessions import TWS, make_session
from .ib_size_units import SizeUnits
from .ib_transport import IbTransport, LinkEvent, LinkEventKind, LinkScope

logger = logging.getLogger(__name__)

JOURNAL_FILE = "journal.sqlite"
CONTRACTS_FILE = "contracts.json"


class IBAdapter(RiskHalf):
    """One IB session over one transport.

    `account` is the default account, the session's first when None. `contracts_file` keeps qualified contracts on
    disk. `margin_what_if` asks IB for the margin of orders that margin could refuse. `clock` is market time as the
    transport tells it.
    """

    name = "ib"

    def __init__(
        self,
        transport: IbTransport,
        *,
        journal: Journal,
        policy: RiskPolicy,
        calendar: MarketCalendar | None = None,
        clock: Clock,
        account: str | None = None,
        contracts_file: Path | None = None,
        data: DataPolicy | None = None,
        orders: OrderSettings | None = None,
        stop: StopSettings | None = None,
        second_source: QuoteSource | None = None,
        margin_what_if: bool = True,
        professional: bool = False,
        keep_history: bool = True,
        failover: Failover | None = None,
    ) -> None:
        self.transport = transport
        self.failover = failover
        self._account = account
        self._professional = professional
        self._margin_what_if = margin_what_if
        self._closes_journal = False
        self._leases: tuple[ClientLease, ...] = ()
        #: Several gateways for market data; None with one (docs/gateway-pool.md).
        self.pool: GatewayPool | None = None
        self.contracts = ContractBook(transport, clock, contracts_file)
        self.pacer = HistoricalPacer(clock.monotonic)
        self.history = HistoryStore(transport, self.pacer, clock, self._session_close, keep=keep_history)
        self.data = IBDataManager(transport, self.contracts, self.history, clock, data, second_source)
        self.tables = QuoteTables(self.contracts, self.data.lines, transport)
        calendar = calendar or MarketCalendar()
        self.options = IBOptions(transport, self.contracts, self.data, clock, calendar)
        self.news = IBNews(transport, self.contracts)
        self.scanner = IBScanner(transport)
        self.fundamental_reports = IBFundamentals(transport, self.contracts, clock)
        self.feed_watch = FeedWatch(transport, self.data.warm_lines, self._market_session, clock, self._raise_alarm)
        self.size_units = SizeUnits()
        self._book = PositionBook(clock.monotonic)
        super().__init__(
            port=transport,
            journal=journal,
            policy=policy,
            calendar=calendar,
            clock=clock,
            orders=orders,
            stop=stop,
        )
        self.risk: IBRiskManager = IBRiskManager(policy, BrokerRiskView(self))
        self.data.lines.pinned = self._pinned
        transport.add_position_listener(self._book.on_position)
        transport.add_link_listener(self._on_link)
        if failover is not None:
            self._join(failover)

    def _join(self, failover: Failover) -> None:
        """What a change of doors needs to know of the orders, and has to tell them."""
        manager, evidence = self.manager, failover.pair.evidence
        failover.on_lease = manager.change_door
        failover.in_doubt = lambda: [f"order {doubt.order.key}: {doubt.evidence}" for doubt in manager.doubts()]
        evidence.door_of = manager.door_of
        evidence.key_of_number = manager.key_of_number
        evidence.expected = manager.seen_live

    @classmethod
    def from_settings(
        cls,
        settings: Settings | None = None,
        *,
        journal: Journal | None = None,
        clock: MarketClock | None = None,
        second_source: QuoteSource | None = None,
        orders: OrderSettings | None = None,
        door: str = TWS,
    ) -> IBAdapter:
        """The adapter that the settings describe (None: the environment's); nothing is opened but the journal's file.

        `door` is "tws", with the portal behind it where the settings ask for failover, or "portal" alone. The client id
        is leased from the journal (`ib_sessions.make_session`). Going live and the account's kind are checked by
        `Settings.check_account` as soon as the session tells its accounts, before any question or order. Raises
        ConfigurationError or JournalError.
        """
        settings = settings or load_settings()
        market_clock = clock or MarketClock()
        folder = settings.state_folder
        owned = journal is None
        if journal is None:
            folder.mkdir(parents=True, exist_ok=True)
            journal = Journal(folder / JOURNAL_FILE, synchronous=settings.journal_synchronous, now=market_clock.now)
        session = make_session(settings, journal, market_clock, door)
        adapter = cls(
            session.transport,
            journal=journal,
            policy=RiskPolicy.from_settings(settings.policy_values),
            clock=market_clock,
            account=settings.account,
            contracts_file=folder / CONTRACTS_FILE if settings.enabled(Feature.CONTRACT_CACHE) else None,
            data=DataPolicy.from_settings(settings),
            orders=orders,
            second_source=second_source,
            margin_what_if=settings.enabled(Feature.MARGIN_WHAT_IF),
            professional=settings.professional,
            keep_history=settings.enabled(Feature.HISTORY_CACHE),
            failover=session.failover,
        )
        adapter._closes_journal = owned
        adapter._leases = session.leases
        adapter.pool = session.pool
        return adapter

    def _make_manager(self, settings: OrderSettings) -> OrderManager:
        manager = IBOrderManager(self.port, self.journal, IBGate(self), self.clock, self._qualified, settings)
        manager.fill_listeners = (self._book.on_fill,)
        return manager

    # Session

    async def connect(self) -> None:
        if self._trading:
            return
        await (self.failover or self.transport).connect()
        try:
            if self._account is not None and self._account not in self.transport.accounts():
                raise ConfigurationError(
                    f"account {self._account}", "this session does not hold it", "log in with its user"
                )
            await self._learn_positions()
            # the calendar's tables take a second to build, once; the first order must not wait for them
            await asyncio.to_thread(self.calendar.session_at, self.clock.now())
            await self._start_trading()
            self.feed_watch.start()
            self.data.lines.start()
        except BaseException:
            await (self.failover or self.transport).disconnect()
            raise

    async def _learn_positions(self) -> None:
        """Contracts of what is held, so that the risk rules can read their steps and hours without waiting."""
        held = self.transport.cached_positions() or []
        numbers = {position.instrument.con_id: position.instrument for position in held}
        answers = await asyncio.gather(
            *(self.contracts.details(_by_number(instrument)) for instrument in numbers.values()), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BrokerError):
                logger.warning("a contract that is held is not known: %s", answer)
            elif isinstance(answer, BaseException):
                raise answer

    async def disconnect(self) -> None:
        self.feed_watch.stop()
        await self._stop_trading()
        self.tables.close()
        await self.data.close()
        self.contracts.save()
        await (self.failover or self.transport).disconnect()
        for lease in self._leases:
            lease.release()
        if self._closes_journal:
            self.journal.close()

    def health(self) -> Health:
        lines = self.subscriptions()
        self.size_units.note(self.data.warm_lines())
        return health_of(
            self.transport,
            self.failover,
            self.manager.halted,
            self.pool,
            lines,
            self.size_units,
            is_trading=self._trading,
        )

    def accounts(self) -> tuple[str, ...]:
        accounts = self.transport.accounts()
        if self._account is None:
            return accounts
        return (self._account, *(account for account in accounts if account != self._account))

    async def market_time(self) -> datetime:
        return await self.transport.market_time()

    def _on_link(self, event: LinkEvent) -> None:
        if event.scope is LinkScope.DATA:
            return
        if event.kind is LinkEventKind.LOST:
            self._book.forget()
        elif event.kind in (LinkEventKind.UP, LinkEventKind.RESTORED):
            self._book.settle()
        elif event.kind is LinkEventKind.ALARM:
            self._raise_alarm(event.text)

    def _raise_alarm(self, text: str) -> None:
        self.manager.alarm(text)

    def _market_session(self) -> Session:
        return self.calendar.session_at(self.clock.now())

    # Reference and market data

    async def details(self, symbol: Symbol) -> InstrumentDetails:
        return await self.contracts.details(symbol)

    async def quote(self, symbol: Symbol, *, max_age: timedelta | None = None) -> Quote:
        return await self.data.quote(symbol, max_age=max_age)

    async def quotes(self, symbols: Iterable[Symbol]) -> dict[str, Quote]:
        return await self.data.quotes(symbols)

    @property
    def quote_errors(self) -> Mapping[str, Exception]:
        """Why the symbols that the last `quotes` left out have no quote."""
        return self.data.quote_errors

    async def bars(
        self,
        symbol: Symbol,
        size: BarSize = BarSize.D1,
        *,
        count: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        source: BarSource = BarSource.TRADES,
        regular_hours: bool = True,
    ) -> list[Bar]:
        return await self.data.bars(
            symbol, size, count=count, start=start, end=end, source=source, regular_hours=regular_hours
        )

    def live_bars(
        self, symbol: Symbol, size: BarSize = BarSize.D1, *, count: int = 250, source: BarSource = BarSource.TRADES
    ) -> Subscription[BarUpdate]:
        return self.data.live_bars(symbol, size, count, source)

    def stream(
        self,
        symbols: Iterable[Symbol],
        kinds: Iterable[StreamKind] = (StreamKind.QUOTES,),
        options: StreamOptions | None = None,
    ) -> MarketSubscription:
        return self.data.stream(symbols, kinds, options)

    def _pinned(self) -> list[Instrument] | None:
        return pinned_instruments(self.transport, self.contracts, self.manager.open_orders())

    def promote(self, symbol: Symbol, event: object = "") -> bool:
        known = self.contracts.known(symbol)
        return known is not None and self.data.lines.promote(known.instrument, str(getattr(event, "kind", event)))

    def subscriptions(self) -> Subscriptions:
        return replace(self.data.lines.report(), limits=self.data.streams.feeds.limits())

    def quote_table(self, symbols: Iterable[Symbol]) -> QuoteTable:
        """Quotes of many symbols as numpy columns, to be opened with `async with`; see docs/fast-path.md."""
        return self.tables.table(symbols)

    @property
    def stream_hub(self) -> StreamHub:
        return self.data.streams.hub

    async def option_chain(self, symbol: Symbol) -> list[OptionChain]:
        return await self.options.chain(symbol)

    async def option_quotes(self, options: Iterable[Instrument]) -> dict[Instrument, OptionQuote | BrokerError]:
        return await self.options.quotes(options)

    async def option_activity(self, symbols: Iterable[Symbol]) -> dict[str, OptionActivity | BrokerError]:
        return await self.options.activity(symbols)

    async def news_providers(self) -> list[NewsProvider]:
        return await self.news.providers()

    async def headlines(
        self,
        symbol: Symbol,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        count: int = 50,
        providers: Iterable[str] = (),
    ) -> list[Headline]:
        return await self.news.headlines(symbol, start, end, count, providers)

    async def article(self, provider: str, article_id: str) -> Article:
        return await self.news.article(provider, article_id)

    async def scan(self, request: ScanRequest) -> list[Instrument]:
        return await self.scanner.scan(request)

    async def scan_parameters(self) -> ScanParameters:
        return await self.scanner.parameters()

    async def fundamentals(self, symbol: Symbol) -> Fundamentals:
        return await self.fundamental_reports.of(symbol)

    def calculate_subscription_costs(self, symbols: Iterable[Symbol]) -> SubscriptionCosts:
        """What the market data of `symbols` costs a month; see `costs.calculate_subscription_costs`."""
        instruments = [as_instrument(symbol) for symbol in symbols]
        known = [self.contracts.known(one) for one in instruments]
        listed = [row.instrument if row is not None else one for row, one in zip(known, instruments, strict=True)]
        return calculate_subscription_costs(listed, professional=self._professional)

    def _session_close(self, instrument: Instrument, day: date) -> datetime | None:
        trading_day = self.calendar.trading_day(day)
        return trading_day.close if trading_day is not None else None

    # Orders

    async def place(self, order: NewOrder | Bracket) -> Order:
        try:
            return await super().place(order)
        except DoorFenced:
            self._follow()
            raise

    async def modify(self, key: str, change: OrderChange) -> Order:
        try:
            return await super().modify(key, change)
        except DoorFenced:
            self._follow()
            raise

    def _follow(self) -> None:
        """Another process gave the pen to the other door: the next order goes there too."""
        if self.failover is not None:
            self.failover.follow()

    async def rounded(self, order: NewOrder) -> Rounded:
        """`order` on the tick and size grids of its contract, with a report of what that changed."""
        details = await self.details(order.instrument)
        return rounded(order, details, self.transport.minimum_quantity)

    # Account

    async def positions(self, account: str | None = None) -> list[Position]:
        self._require_trading()
        told = await self.transport.positions()
        return [position for position in told if account in (None, position.account)]

    async def account(self, account: str | None = None) -> AccountSummary:
        self._require_trading()
        chosen = account or self.accounts()[0]
        for summary in await self.transport.account_summary():
            if summary.account == chosen:
                return _completed(summary, self.transport.cached_summary(chosen))
        raise NoData(f"account {chosen}", "the broker told nothing of it", f"one of {', '.join(self.accounts())}")

    async def pnl(self, account: str | None = None, symbol: Symbol | None = None) -> PnL:
        self._require_trading()
        chosen = account or self.accounts()[0]
        if symbol is None:
            return await self.transport.pnl(chosen)
        instrument = await self.contracts.qualify(symbol)
        return await self.transport.pnl(chosen, instrument.con_id)

    def latency_report(self) -> dict[str, dict[str, float]]:
        taken = {stage: samples for stage, samples in self.transport.latencies().items() if samples}
        return {**super().latency_report(), **{stage: distribution(row, len(row)) for stage, row in taken.items()}}


def _completed(summary: AccountSummary, told: AccountSummary | None) -> AccountSummary:
    """What reqAccountSummary leaves out (P&L above all), from the account updates."""
    if told is None:
        return summary
    missing = [row.name for row in fields(summary) if getattr(summary, row.name) is None]
    return replace(summary, **{name: getattr(told, name) for name in missing})


def _by_number(instrument: Instrument) -> Instrument:
    """The question for a contract that the broker named itself: its number, routed by SMART."""
    if instrument.con_id is None:
        return instrument
    return replace(instrument, exchange="SMART", primary_exchange=None, local_symbol=None, trading_class=None)
