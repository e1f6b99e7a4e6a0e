"""The synchronous façade: every verb of a broker, blocking, on the background loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from .base_broker import (
    BaseBroker,
    Health,
    PositionDifference,
    StopReport,
    Subscription,
    Symbol,
)
from .domain.account import AccountSummary, PnL, Position
from .domain.fundamentals import Fundamentals
from .domain.instrument import Instrument, InstrumentDetails
from .domain.market_data import Bar, BarSize, BarSource, BarUpdate, MarketEvent, Quote, StreamKind
from .domain.news import Article, Headline, NewsProvider
from .domain.options import OptionActivity, OptionChain, OptionQuote
from .domain.order import Bracket, Fill, NewOrder, Order, OrderChange, WhatIf
from .domain.reports import OrderEvent
from .domain.scan import ScanParameters, ScanRequest
from .domain.sessions import MarketHours
from .domain.streams import BrokerStatistics, Snapshot, StreamOptions
from .domain.subscriptions import Subscriptions
from .domain.tick_bars import BarRule, TickBar
from .errors import BrokerError, DeadlineExceeded, OutcomeUnknown
from .loop_thread import DEFAULT_TIMEOUT as DEFAULT_TIMEOUT
from .loop_thread import LoopThread as LoopThread
from .loop_thread import shared_loop as shared_loop
from .smart_orders import SmartOrderPolicy
from .sync_streams import SyncCallbacks, SyncStream, SyncSubscription

T = TypeVar("T")


class SyncBroker:
    """Every verb of a BaseBroker, blocking. `timeout` (real seconds) bounds each call; `within` gives another one.

    The broker is connected and used on `loop` only; None means the process's shared one. A write that passes its
    deadline raises OutcomeUnknown, a read DeadlineExceeded.
    """

    def __init__(self, broker: BaseBroker, loop: LoopThread | None = None, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.broker = broker
        self.name = broker.name
        self.timeout = timeout
        self._loop = loop or shared_loop()

    def within(self, timeout: float) -> SyncBroker:
        """The same broker on the same loop, with another deadline."""
        return SyncBroker(self.broker, self._loop, timeout)

    def _read(self, work: Coroutine[Any, Any, T], what: str) -> T:
        return self._loop.call(work, self.timeout, what)

    def _write(self, work: Coroutine[Any, Any, T], what: str) -> T:
        try:
            return self._loop.call(work, self.timeout, what)
        except DeadlineExceeded as late:
            raise OutcomeUnknown(what, late.why, "look at the order before doing anything else") from late

    def _ask(self, question: Callable[[], T], what: str) -> T:
        async def on_loop() -> T:
            return question()

        return self._loop.call(on_loop(), self.timeout, what)

    def _subscribe(self, make: Callable[[], Subscription[T]], what: str) -> SyncSubscription[T]:
        return SyncSubscription(self._loop, self._ask(make, what), self.timeout)

    # Session

    def connect(self) -> None:
        self._read(self.broker.connect(), "connect")

    def disconnect(self) -> None:
        """End the session; the background loop serves other façades on."""
        self._read(self.broker.disconnect(), "disconnect")

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    def health(self) -> Health:
        return self._ask(self.broker.health, "health")

    def accounts(self) -> tuple[str, ...]:
        return self._ask(self.broker.accounts, "accounts")

    def market_time(self) -> datetime:
        return self._read(self.broker.market_time(), "market time")

    # Reference and market data

    def details(self, symbol: Symbol) -> InstrumentDetails:
        return self._read(self.broker.details(symbol), f"details of {symbol}")

    def market_hours(self, symbol: Symbol, at: datetime | None = None) -> MarketHours:
        return self._read(self.broker.market_hours(symbol, at), f"market hours of {symbol}")

    def quote(self, symbol: Symbol, *, max_age: timedelta | None = None) -> Quote:
        return self._read(self.broker.quote(symbol, max_age=max_age), f"quote of {symbol}")

    def quotes(self, symbols: Iterable[Symbol]) -> dict[str, Quote]:
        return self._read(self.broker.quotes(symbols), "quotes")

    def bars(
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
        work = self.broker.bars(
            symbol, size, count=count, start=start, end=end, source=source, regular_hours=regular_hours
        )
        return self._read(work, f"bars of {symbol}")

    def many_bars(
        self,
        symbols: Iterable[Symbol],
        size: BarSize = BarSize.D1,
        *,
        count: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        source: BarSource = BarSource.TRADES,
        regular_hours: bool = True,
    ) -> dict[str, list[Bar] | BrokerError]:
        work = self.broker.many_bars(
            symbols, size, count=count, start=start, end=end, source=source, regular_hours=regular_hours
        )
        return self._read(work, "bars of a list")

    def live_bars(
        self, symbol: Symbol, size: BarSize = BarSize.D1, *, count: int = 250, source: BarSource = BarSource.TRADES
    ) -> SyncSubscription[BarUpdate]:
        return self._subscribe(lambda: self.broker.live_bars(symbol, size, count=count, source=source), "live bars")

    def stream(
        self,
        symbols: Iterable[Symbol],
        kinds: Iterable[StreamKind] = (StreamKind.QUOTES,),
        options: StreamOptions | None = None,
    ) -> SyncStream:
        source = self._ask(lambda: self.broker.stream(symbols, kinds, options), "stream")
        return SyncStream(self._loop, source, self.timeout)

    def on_events(
        self,
        symbols: Iterable[Symbol],
        kinds: Iterable[StreamKind],
        handler: Callable[[MarketEvent], object],
        options: StreamOptions | None = None,
    ) -> SyncCallbacks:
        """Call `handler` with every event, on a thread of its own, until the answer is closed. What it raises is
        logged and counted (`failures`), and ends nothing; why the stream ended is told by `error`."""
        return SyncCallbacks(self.stream(symbols, kinds, options), handler, f"events for {self.name}")

    def tick_bars(
        self, symbols: Iterable[Symbol], rule: BarRule, options: StreamOptions | None = None
    ) -> SyncSubscription[TickBar]:
        return self._subscribe(lambda: self.broker.tick_bars(symbols, rule, options), "bars of trades")

    def snapshot(self, symbol: Symbol) -> Snapshot | None:
        return self._ask(lambda: self.broker.snapshot(symbol), f"snapshot of {symbol}")

    def promote(self, symbol: Symbol, event: object = "") -> bool:
        return self._ask(lambda: self.broker.promote(symbol, event), f"promotion of {symbol}")

    def subscriptions(self) -> Subscriptions | None:
        return self._ask(self.broker.subscriptions, "subscriptions")

    # Options and news

    def option_chain(self, symbol: Symbol) -> list[OptionChain]:
        return self._read(self.broker.option_chain(symbol), f"option chain of {symbol}")

    def option_quotes(self, options: Iterable[Instrument]) -> dict[Instrument, OptionQuote | BrokerError]:
        return self._read(self.broker.option_quotes(options), "option quotes")

    def option_activity(self, symbols: Iterable[Symbol]) -> dict[str, OptionActivity | BrokerError]:
        return self._read(self.broker.option_activity(symbols), "option activity")

    def news_providers(self) -> list[NewsProvider]:
        return self._read(self.broker.news_providers(), "news providers")

    def headlines(
        self,
        symbol: Symbol,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        count: int = 50,
        providers: Iterable[str] = (),
    ) -> list[Headline]:
        work = self.broker.headlines(symbol, start=start, end=end, count=count, providers=providers)
        return self._read(work, f"headlines of {symbol}")

    def article(self, provider: str, article_id: str) -> Article:
        return self._read(self.broker.article(provider, article_id), f"article {article_id}")

    def scan(self, request: ScanRequest) -> list[Instrument]:
        return self._read(self.broker.scan(request), str(request))

    def scan_parameters(self) -> ScanParameters:
        return self._read(self.broker.scan_parameters(), "scanner parameters")

    def fundamentals(self, symbol: Symbol) -> Fundamentals:
        return self._read(self.broker.fundamentals(symbol), f"fundamentals of {symbol}")

    # Orders

    def place(self, order: NewOrder | Bracket) -> Order:
        return self._write(self.broker.place(order), f"order {order.key}")

    def place_smart_order(self, order: NewOrder, policy: SmartOrderPolicy | None = None) -> Order:
        return self._write(self.broker.place_smart_order(order, policy), f"order {order.key}")

    def modify(self, key: str, change: OrderChange) -> Order:
        return self._write(self.broker.modify(key, change), f"change of order {key}")

    def cancel(self, key: str) -> Order:
        return self._write(self.broker.cancel(key), f"cancel of order {key}")

    def cancel_all(self, symbol: Symbol | None = None) -> list[Order]:
        return self._write(self.broker.cancel_all(symbol), "cancel of all orders")

    def flatten(self, symbol: Symbol | None = None) -> list[Order]:
        return self._write(self.broker.flatten(symbol), f"flattening {symbol or 'everything owned'}")

    def what_if(self, order: NewOrder) -> WhatIf:
        return self._read(self.broker.what_if(order), f"what-if of order {order.key}")

    def order(self, key: str) -> Order:
        return self._ask(lambda: self.broker.order(key), f"order {key}")

    def orders(self) -> list[Order]:
        return self._ask(self.broker.orders, "orders")

    def open_orders(self) -> list[Order]:
        return self._ask(self.broker.open_orders, "open orders")

    def fills(self) -> list[Fill]:
        return self._ask(self.broker.fills, "fills")

    def wait(self, key: str, timeout: float) -> Order:
        """The order once terminal; the deadline is `timeout`, not the façade's."""
        what = f"end of order {key}"
        return self._loop.call(self.broker.wait(key, timeout), timeout + self.timeout, what)

    def order_events(self) -> SyncSubscription[OrderEvent]:
        return self._subscribe(self.broker.order_events, "order events")

    # Account and safety

    def positions(self, account: str | None = None) -> list[Position]:
        return self._read(self.broker.positions(account), "positions")

    def owned_positions(self, account: str | None = None) -> list[Position]:
        return self._read(self.broker.owned_positions(account), "owned positions")

    def account(self, account: str | None = None) -> AccountSummary:
        return self._read(self.broker.account(account), "account")

    def pnl(self, account: str | None = None, symbol: Symbol | None = None) -> PnL:
        return self._read(self.broker.pnl(account, symbol), "P&L")

    def reconcile(self) -> list[PositionDifference]:
        return self._read(self.broker.reconcile(), "reconciliation")

    def adopt(self, symbol: Symbol) -> list[Order]:
        return self._write(self.broker.adopt(symbol), f"adoption of {symbol}")

    def limits(self) -> Mapping[str, object]:
        return self._ask(self.broker.limits, "limits")

    def emergency_stop(self, reason: str, *, close: bool = True, everything: bool = False) -> StopReport:
        return self._write(self.broker.emergency_stop(reason, close=close, everything=everything), "emergency stop")

    def resume(self) -> None:
        self._write(self.broker.resume(), "resume")

    def get_statistics(self) -> BrokerStatistics:
        return self._ask(self.broker.get_statistics, "statistics")

    def get_latency_report(self) -> dict[str, dict[str, float]]:
        return self._ask(self.broker.get_latency_report, "latency report")

    def latency_report(self) -> dict[str, dict[str, float]]:
        return self._ask(self.broker.latency_report, "latency report")
