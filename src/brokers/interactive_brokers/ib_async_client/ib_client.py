"""IbAsyncClient: TWS or IB Gateway through ib_async, as the transport that the managers use."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ib_async.contract import Contract
from ib_async.objects import CommissionReport as IbCommission
from ib_async.order import Order as IbOrder
from ib_async.order import OrderState as IbOrderState

from ...domain.account import AccountSummary, PnL, Position
from ...domain.clock import MarketClock
from ...domain.instrument import Instrument, InstrumentDetails, PriceIncrement
from ...domain.market_data import Bar, BarSource, DataType, Quote, Trade
from ...domain.news import Article, Headline, NewsProvider
from ...domain.options import OptionActivity, OptionChain, OptionQuote
from ...domain.order import Fill, WhatIf
from ...domain.reports import BrokerOrder, WireOrder
from ...domain.scan import ScanParameters, ScanRequest
from ...errors import LinkError
from ...order_port import OrderListener
from ..config.ib_config import TwsSettings
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
from ..ib_vocabulary import to_decimal
from .account_feed import AccountFeed
from .api import TwsApi
from .connection import Opener, open_tcp
from .fast_frames import quote_maker, reader_class
from .lanes import Outgoing
from .listener import ErrorMessage, ExecutionReport, MalformedMessage, NullListener, Subject
from .market_lines import MarketLines
from .news import NewsQuestions
from .order_channel import OrderChannel
from .questions import Questions
from .readings import Readings
from .scanner import ScannerQuestions
from .session import Session

logger = logging.getLogger(__name__)


class IbAsyncClient(NullListener):
    """One client id on one TWS session; fulfils IbTransport (and OrderPort with it).

    `check_accounts` is called with the session's accounts before anything else is asked and may refuse them.
    `clock` becomes market time as TWS tells it. All of it runs on one event loop.
    """

    name = "tws"
    #: TWS answers as fast as it is asked.
    reading_time = 0.0
    #: The socket refuses fractions of a share (fault O47).
    minimum_quantity = Decimal(1)

    def __init__(
        self,
        settings: TwsSettings | None = None,
        *,
        clock: MarketClock | None = None,
        check_accounts: Callable[[tuple[str, ...]], None] = lambda _accounts: None,
        opener: Opener = open_tcp,
    ) -> None:
        self._settings = settings or TwsSettings()
        self.clock = clock or MarketClock()
        self._check_accounts = check_accounts
        reader = reader_class(self._settings.tick_decoder)
        self._api = TwsApi(self, naive_zone=self._settings.naive_zone, opener=opener, reader=reader)
        self._session = Session(self._api, self._settings, self.clock, self)
        self._market = MarketLines(
            self._api,
            self.clock,
            self.name,
            self._session.tell,
            delayed_data=self._settings.delayed_data,
            quote_of=quote_maker(self._settings.tick_decoder),
        )
        self._readings = Readings(self._api, self._market, self.clock, self.name)
        self._news = NewsQuestions(self._api, self._session, self._settings)
        self._scanner = ScannerQuestions(self._api, self._session, self._settings)
        self._orders = OrderChannel(self._api, self._session)
        self._questions = Questions(self._api, self._session, self._settings)
        self._feed = AccountFeed(self._api, self._session, self.clock)
        self._accounts: tuple[str, ...] = ()
        #: Order-class messages that could not be read; each one calls for a reconciliation (fault C19).
        self.malformed_orders = 0

    # Session

    @property
    def state(self) -> LinkState:
        return self._session.state

    @property
    def sections(self) -> Sequence[StartupSection]:
        return self._session.sections

    @property
    def farms_down(self) -> Mapping[str, str]:
        return self._session.farms_down

    @property
    def client_id(self) -> int:
        return self._session.settings.client_id

    @property
    def is_healthy(self) -> bool:
        return self._session.state is LinkState.READY and self._session.is_synced

    @property
    def next_order_id(self) -> int:
        return self._api.client._next_order_id

    async def connect(self) -> None:
        await self._session.connect()

    async def disconnect(self) -> None:
        await self._session.disconnect()

    def accounts(self) -> tuple[str, ...]:
        return self._accounts

    async def market_time(self) -> datetime:
        return await self._session.within("market time", self._session.ask_time(), self._settings.request_deadline)

    def clock_offset(self) -> timedelta | None:
        return self._session.offset

    def shows_orders_of(self, door: str) -> bool:
        return door in ("", self.name)

    async def verify_link(self, deadline: float) -> None:
        await self._session.verify(deadline)

    def add_link_listener(self, listener: LinkListener) -> None:
        self._session.add_listener(listener)

    def add_market_listener(self, listener: MarketListener) -> None:
        self._market.add_listener(listener)

    def remove_market_listener(self, listener: MarketListener) -> None:
        self._market.remove_listener(listener)

    def add_position_listener(self, listener: PositionListener) -> None:
        self._feed.add_listener(listener)

    def latencies(self) -> Mapping[str, Sequence[float]]:
        return {"send": self._orders.send_times, "round_trip": self._session.round_trips}

    def traffic(self) -> Traffic:
        return Traffic(*self._api.client.traffic())

    async def _answer(self, what: str, answer: Awaitable[Any], deadline: float | None = None) -> Any:
        return await self._session.within(what, answer, deadline or self._settings.request_deadline)

    # SessionOwner

    def check_session(self) -> None:
        self._check_accounts(self._accounts)
        if self.client_id == 0:
            # orders placed by hand get ids of this client, so that they can be changed and cancelled
            self._api.client.reqAutoOpenOrders(True)

    def startup_queries(self) -> dict[str, Callable[[], Awaitable[Any]]]:
        return {
            "positions": self._feed.ask_positions,
            "open orders": self._api.reqAllOpenOrdersAsync,
            "completed orders": lambda: self._api.reqCompletedOrdersAsync(False),
            "executions": lambda: self._orders.executions(None, self._settings.section_deadline),
            **self._feed.startup(self._accounts),
        }

    def restore_subscriptions(self) -> tuple[int, int]:
        return self._market.restore()

    def restore_silent_lines(self, since: float) -> tuple[str, ...]:
        return self._market.restore_silent(since)

    def on_session_lost(self, error: LinkError) -> None:
        self._market.on_link_lost(error)
        self._feed.on_link_lost(error)

    def on_trust_lost(self, reason: str) -> None:
        self._orders.on_trust_lost(reason)

    def on_trust_restored(self, reason: str) -> None:
        self._orders.on_trust_restored(reason)

    # Listener: what the link tells

    def on_link_up(self, server_version: int, connection_time: str, accounts: Sequence[str]) -> None:
        self._accounts = tuple(accounts)
        logger.info("server version %d, %d accounts", server_version, len(accounts))

    def on_link_down(self, error: LinkError, not_sent: Sequence[Outgoing]) -> None:
        self._session.on_link_down(error)

    def on_error(self, error: ErrorMessage) -> None:
        self._session.on_error(error)
        if error.subject is Subject.STREAM:
            self._market.on_error(error)
        elif error.subject is Subject.ORDER_OR_ENDED:
            self._orders.on_error(error)

    def on_malformed(self, message: MalformedMessage) -> None:
        logger.error("message %d (%s) cannot be read: %s", message.message_id, message.name, message.why)
        if message.needs_reconcile and not message.decoded:
            self.malformed_orders += 1
            self._session.tell(LinkEventKind.ALARM, f"an {message.name} message could not be read: {message.why}")
            self._orders.on_trust_restored(f"an {message.name} message could not be read")

    def on_open_order(self, order_id: int, contract: Contract, order: IbOrder, state: IbOrderState) -> None:
        self._orders.on_open_order(order_id, contract, order, state)

    def on_order_status(
        self,
        order_id: int,
        status: str,
        filled: float,
        remaining: float,
        average_price: float,
        permanent_id: int,
        parent_id: int,
        last_price: float,
        client_id: int,
        why_held: str,
        market_cap_price: float,
    ) -> None:
        self._orders.on_status(
            order_id,
            status,
            filled,
            remaining,
            average_price,
            permanent_id,
            parent_id,
            last_price,
            client_id,
            why_held,
        )

    def on_execution(self, report: ExecutionReport) -> None:
        self._orders.on_execution(report)

    def on_commission(self, report: IbCommission) -> None:
        self._orders.on_commission(report)

    def on_position(self, account: str, contract: Contract, quantity: float, average_cost: float) -> None:
        self._feed.on_position(account, contract, quantity, average_cost)

    def on_positions_end(self) -> None:
        self._feed.on_positions_end()

    # OrderPort

    def set_listener(self, listener: OrderListener) -> None:
        self._orders.set_listener(listener)

    async def place(self, order: WireOrder) -> None:
        await self._orders.place(order)

    async def modify(self, order: WireOrder) -> None:
        await self._orders.modify(order)

    async def cancel(self, order_id: int, perm_id: int | None = None, client_id: int | None = None) -> None:
        await self._orders.cancel(order_id, perm_id, client_id)

    async def cancel_everything(self) -> None:
        await self._orders.cancel_everything()

    async def what_if(self, order: WireOrder) -> WhatIf:
        return await self._orders.what_if(order, self._settings.request_deadline)

    async def open_orders(self) -> Sequence[BrokerOrder]:
        return await self._orders.open_orders(self._settings.request_deadline)

    async def completed_orders(self) -> Sequence[BrokerOrder]:
        return await self._orders.completed_orders(self._settings.request_deadline)

    async def executions(self, since: datetime | None = None) -> Sequence[Fill]:
        return await self._orders.executions(since, self._settings.request_deadline)

    async def positions(self) -> Sequence[Position]:
        self._session.require("positions")
        positions: Sequence[Position] = await self._answer("positions", self._feed.ask_positions())
        return positions

    # Reference

    async def contract_details(self, instrument: Instrument) -> Sequence[InstrumentDetails]:
        return await self._questions.contract_details(instrument)

    async def market_rule(self, rule_id: int) -> tuple[PriceIncrement, ...]:
        return await self._questions.market_rule(rule_id)

    async def matching_symbols(self, pattern: str) -> Sequence[SymbolMatch]:
        return await self._questions.matching_symbols(pattern)

    # Options and news

    async def option_chains(self, underlying: Instrument) -> Sequence[OptionChain]:
        return await self._questions.option_chains(underlying)

    async def option_quote(self, option: Instrument, deadline: float) -> OptionQuote:
        self._session.require(f"quote of {option}")
        return await self._readings.option_quote(option, deadline)

    async def option_activity(self, underlying: Instrument, deadline: float) -> OptionActivity:
        self._session.require(f"option activity of {underlying}")
        return await self._readings.option_activity(underlying, deadline)

    async def news_providers(self) -> Sequence[NewsProvider]:
        return await self._news.providers()

    async def headlines(
        self,
        instrument: Instrument,
        providers: Sequence[str],
        start: datetime | None,
        end: datetime | None,
        count: int,
    ) -> Sequence[Headline]:
        return await self._news.headlines(instrument, providers, start, end, count)

    async def article(self, provider: str, article_id: str) -> Article:
        return await self._news.article(provider, article_id)

    # Scans and fundamentals

    async def scan(self, request: ScanRequest) -> Sequence[Instrument]:
        return await self._scanner.scan(request)

    async def scan_parameters(self) -> ScanParameters:
        return await self._scanner.parameters()

    async def fundamental_report(self, instrument: Instrument, report: str) -> str:
        return await self._questions.fundamental_report(instrument, report)

    # Quotes and streams

    def subscribe_quotes(self, instrument: Instrument) -> QuoteLine:
        return self._market.subscribe(instrument)

    def unsubscribe_quotes(self, instrument: Instrument) -> None:
        self._market.unsubscribe(instrument)

    def resubscribe_silent(self, since: float, only: frozenset[int] | None = None) -> None:
        self._session.require("market data")
        self._market.resubscribe_silent(since, "market data fell silent", only)

    async def snapshot(self, instrument: Instrument, deadline: float) -> Quote:
        self._session.require(f"snapshot of {instrument}")
        return await self._market.snapshot(instrument, deadline)

    def set_data_type(self, kind: DataType) -> None:
        """Which kind of market data IB is asked for from now on; what it delivers is told with each quote."""
        self._session.require("market data type")
        self._market.set_data_type(kind)

    def subscribe_ticks(self, instrument: Instrument, kind: str) -> int:
        return self._market.subscribe_ticks(instrument, kind)

    def subscribe_depth(self, instrument: Instrument, rows: int) -> int:
        return self._market.subscribe_depth(instrument, rows)

    def subscribe_news(self, instrument: Instrument, providers: Sequence[str]) -> int:
        return self._market.subscribe_news(instrument, providers)

    def unsubscribe(self, handle: int) -> None:
        self._market.unsubscribe_stream(handle)

    # History

    async def historical_bars(self, request: BarRequest) -> list[Bar]:
        return await self._questions.historical_bars(request)

    async def live_bars(self, request: BarRequest, listener: BarListener) -> tuple[int, list[Bar]]:
        self._session.require(f"live bars of {request.instrument}")
        return await self._market.live_bars(request, listener, self._settings.history_deadline)

    async def head_timestamp(self, instrument: Instrument, source: BarSource, regular_hours: bool) -> datetime:
        return await self._questions.head_timestamp(instrument, source, regular_hours)

    async def schedule(self, instrument: Instrument, days: int, end: datetime | None) -> list[ScheduledSession]:
        return await self._questions.schedule(instrument, days, end)

    async def historical_ticks(
        self, instrument: Instrument, start: datetime | None, end: datetime | None, count: int, regular_hours: bool
    ) -> list[Trade]:
        return await self._questions.historical_ticks(instrument, start, end, count, regular_hours)

    # Account

    def cached_positions(self) -> list[Position] | None:
        return self._feed.positions()

    def cached_summary(self, account: str) -> AccountSummary | None:
        return self._feed.summary(account)

    def exchange_rate(self, account: str, currency: str) -> Decimal | None:
        """Base-currency units for one unit of `currency`, as IB tells with the account; None when not told."""
        return to_decimal(self._feed.exchange_rate(account, currency))

    async def account_summary(self) -> list[AccountSummary]:
        return await self._feed.ask_summaries(self._settings.request_deadline)

    async def pnl(self, account: str, con_id: int | None = None) -> PnL:
        return await self._feed.pnl(account, con_id, self._settings.request_deadline)
