"""The synchronous façade: one background thread runs one event loop for every synchronous caller."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from .base_broker import BaseBroker, Health, PositionDifference, StopReport, Subscription, Symbol
from .domain.account import AccountSummary, PnL, Position
from .domain.instrument import Instrument, InstrumentDetails
from .domain.market_data import Bar, BarSize, BarSource, BarUpdate, MarketEvent, Quote, StreamKind
from .domain.news import Article, Headline, NewsProvider
from .domain.options import OptionActivity, OptionChain, OptionQuote
from .domain.order import Bracket, Fill, NewOrder, Order, OrderChange, WhatIf
from .domain.reports import OrderEvent
from .domain.sessions import MarketHours
from .errors import BrokerError, DeadlineExceeded, NotConnected, OutcomeUnknown, UsageError
from .smart_orders import SmartOrderPolicy

T = TypeVar("T")

#: Real seconds that a call may take when nothing else is said.
DEFAULT_TIMEOUT = 30.0
#: Real seconds that the loop gets to finish what it was told to cancel.
_CLOSING = 5.0


class LoopThread:
    """A thread with an event loop. Usable from any thread, also from inside another running loop (which then waits)."""

    def __init__(self, name: str = "moondev-ibkr") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        #: Tasks of `start_soon`, which nobody else holds.
        self._kept: set[asyncio.Task[Any]] = set()

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _running_loop(self, what: str) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise UsageError(what, "the background loop was closed", "make a new façade")
            if self._loop is None:
                ready = threading.Event()
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._run, args=(self._loop, ready), name=self._name, daemon=True
                )
                self._thread.start()
                ready.wait()
            return self._loop

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop, ready: threading.Event) -> None:
        asyncio.set_event_loop(loop)
        loop.call_soon(ready.set)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    def start(self, work: Coroutine[Any, Any, T], what: str = "call") -> Future[T]:
        """Run `work` on the loop. Raises UsageError on the loop's own thread, which would wait for itself."""
        try:
            loop = self._running_loop(what)
            if threading.current_thread() is self._thread:
                raise UsageError(
                    what, "this is the background loop's own thread", "await the asynchronous method instead"
                )
            return asyncio.run_coroutine_threadsafe(work, loop)
        except BaseException:
            work.close()
            raise

    def start_soon(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run `work()` on the loop when it comes to it; a loop that does not run drops it. It takes no lock and may be
        called on the loop's own thread: a finalizer runs on any thread, at any moment."""
        loop = self._loop
        if loop is not None and not self._closed:
            with suppress(RuntimeError):  # the loop was closed just now
                loop.call_soon_threadsafe(self._keep, work)

    def _keep(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        task = asyncio.ensure_future(work())
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    def call(self, work: Coroutine[Any, Any, T], timeout: float = DEFAULT_TIMEOUT, what: str = "call") -> T:
        """Wait for `work`. Raises DeadlineExceeded after `timeout` real seconds, and cancels it then."""
        future = self.start(work, what)
        try:
            return future.result(timeout)
        except FutureTimeout:
            if future.done() and not future.cancelled():
                return future.result()
            future.cancel()
            raise DeadlineExceeded(what, timedelta(seconds=timeout), "wait longer, or look at the connection") from None
        except FutureCancelled:
            raise NotConnected(what, "the background loop was closed meanwhile") from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what runs, stop the loop, join the thread. Calling it twice does nothing."""
        if self._thread is threading.current_thread():
            raise UsageError("close", "this is the background loop's own thread", "close it from another thread")
        with self._lock:
            self._closed = True
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(_CLOSING)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CLOSING)

    def __enter__(self) -> LoopThread:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_CLOSING)


class SyncSubscription(Iterator[T], Generic[T]):
    """A subscription as a plain iterator. It waits for the next item for as long as the subscription lives; `get`
    waits with a deadline. No item is lost when a deadline passes."""

    def __init__(self, loop: LoopThread, source: Subscription[T], timeout: float) -> None:
        self._loop = loop
        self._source = source
        self._timeout = timeout
        self._next: Future[T] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return self._take(None)

    def get(self, timeout: float) -> T | None:
        """The next item, None when none came within `timeout` real seconds. Raises StopIteration at the end."""
        try:
            return self._take(timeout)
        except DeadlineExceeded:
            return None

    def _take(self, timeout: float | None) -> T:
        if self._next is None:
            self._next = self._loop.start(_following(self._source), "next item")
        try:
            item = self._next.result(timeout)
        except FutureTimeout:
            raise DeadlineExceeded("next item", timedelta(seconds=timeout or 0.0)) from None
        except (StopAsyncIteration, _Ended, FutureCancelled):
            self._next = None
            raise StopIteration from None
        except BrokerError:
            self._next = None
            raise
        self._next = None
        return item

    def close(self) -> None:
        """Give the subscription back."""
        waiting, self._next = self._next, None
        if waiting is not None:
            waiting.cancel()
        self._loop.call(_closed(self._source), self._timeout, "closing a subscription")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Ended(Exception):
    """A StopAsyncIteration that can travel through a future."""


async def _following(source: Subscription[T]) -> T:
    try:
        return await source.__anext__()
    except StopAsyncIteration:
        raise _Ended from None


async def _closed(source: Subscription[Any]) -> None:
    await source.aclose()


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
        self, symbols: Iterable[Symbol], kinds: Iterable[StreamKind] = (StreamKind.QUOTES,)
    ) -> SyncSubscription[MarketEvent]:
        return self._subscribe(lambda: self.broker.stream(symbols, kinds), "stream")

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

    def latency_report(self) -> dict[str, dict[str, float]]:
        return self._ask(self.broker.latency_report, "latency report")


_shared: LoopThread | None = None
_shared_lock = threading.Lock()


def shared_loop() -> LoopThread:
    """The process's one background loop, made when first asked for and closed when the process ends."""
    global _shared
    with _shared_lock:
        if _shared is None or _shared.is_closed:
            _shared = LoopThread()
            atexit.register(_shared.close)
        return _shared
