"""The verbs of a broker. Everything an agent may ask of one, and no broker's own words.

Symbols may be given as text (a US stock) or as an Instrument wherever `Symbol` stands.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from .domain.account import AccountSummary, PnL, Position
from .domain.clock import Clock
from .domain.fundamentals import Fundamentals
from .domain.instrument import Instrument, InstrumentDetails, normalize_symbol
from .domain.instrument import Symbol as Symbol
from .domain.market_data import Bar, BarSize, BarSource, BarUpdate, MarketEvent, Quote, StreamKind
from .domain.news import Article, Headline, NewsProvider
from .domain.options import OptionActivity, OptionChain, OptionQuote
from .domain.order import Bracket, Fill, NewOrder, Order, OrderChange, WhatIf
from .domain.reports import OrderEvent
from .domain.scan import ScanParameters, ScanRequest
from .domain.sessions import MarketHours
from .domain.streams import BrokerStatistics, Snapshot, StreamCounts, StreamOptions
from .domain.subscriptions import Subscriptions
from .domain.tick_bars import BarRule, TickBar
from .errors import BrokerError, InvalidInstrument, NotSupported
from .smart_orders import SmartOrderPolicy
from .streams.callbacks import Callbacks, EventHandler
from .streams.tick_bars import TickBars

if TYPE_CHECKING:
    import pandas as pd

    from .streams.columns import TradeColumns

_Event = TypeVar("_Event", covariant=True)


class Subscription(Protocol[_Event]):
    """An asynchronous iterator over what happens from now on. `aclose` gives it back; a lost link does not end it."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> _Event: ...

    async def aclose(self) -> None: ...


class MarketSubscription(Subscription[MarketEvent], Protocol):
    """A stream of market data: event by event, or in batches. `counts` accounts for everything that it received."""

    @property
    def counts(self) -> StreamCounts: ...

    async def open(self) -> None:
        """Subscribe now, and not only at the first step. Raises what the first step would."""
        ...

    def batches(
        self, max_events: int | None = None, max_seconds: float | None = None
    ) -> Subscription[list[MarketEvent]]:
        """Lists of at most `max_events`, handed over `max_seconds` after the first of them came at the latest, and at
        once when that many are there or a Gap or Resumed is (None: the profile's)."""
        ...

    def take_columns(self) -> TradeColumns:
        """The trades that wait as numpy arrays, after `open` and with StreamOptions(columns=True); else UsageError."""
        ...

    def note_failure(self) -> None:
        """The consumer's own code raised: counted for the statistics."""
        ...


@dataclass(frozen=True, slots=True)
class StopReport:
    """Outcome of an emergency stop. `not_flat` lists owned positions still open; empty means verified flat.

    `refused_after` is seconds from the call to the moment new orders were refused (monotonic).
    """

    at: datetime
    reason: str
    cancelled: tuple[str, ...]
    still_working: tuple[str, ...]
    closing: tuple[str, ...]
    not_flat: tuple[Position, ...]
    refused_after: float


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the broker can be used, and if not, why. `details` are rows (check, ok, text)."""

    connected: bool
    can_trade: bool
    reason: str = ""
    details: tuple[tuple[str, bool, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PositionDifference:
    """`tracked` is what the journal's fills add up to, `broker` what the broker holds; the broker is the truth."""

    account: str
    instrument: Instrument
    tracked: Decimal
    broker: Decimal
    foreign: Decimal


class BaseBroker(abc.ABC):
    """One abstract asynchronous interface. Every method may raise the tree in `errors`; reads never answer
    "empty" for "don't know". Use as ``async with broker:``."""

    #: "ib", "paper", "portal"; names the broker in registries, journals and messages.
    name: str
    clock: Clock

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    # Session

    @abc.abstractmethod
    async def connect(self) -> None:
        """Establish the session, reconcile, and be ready to trade. Raises ConnectFailed."""

    @abc.abstractmethod
    async def disconnect(self) -> None:
        """End the session. Orders stay at the broker; pending requests end with LinkLost."""

    @abc.abstractmethod
    def health(self) -> Health: ...

    @abc.abstractmethod
    def accounts(self) -> tuple[str, ...]:
        """Account ids of this session; the first is the default."""

    @abc.abstractmethod
    async def market_time(self) -> datetime:
        """The exchange's clock, aware UTC (IB currentTime)."""

    # Reference and market data

    @abc.abstractmethod
    async def details(self, symbol: Symbol) -> InstrumentDetails:
        """Qualify. Raises UnknownInstrument or AmbiguousInstrument; never picks the first."""

    async def market_hours(self, symbol: Symbol, at: datetime | None = None) -> MarketHours:
        """The session of `symbol` `at` a moment (None: market time), and its day's session times: by the contract's
        own hours, which reach about a week ahead, then by the exchange's calendar. Unknown is not closed."""
        raise self._lacks(f"market hours of {symbol}")

    @abc.abstractmethod
    async def quote(self, symbol: Symbol, *, max_age: timedelta | None = None) -> Quote:
        """The present quote. With `max_age` (market time), a value that changed longer ago is asked for again.

        Raises NoPermission, NoData or StaleData rather than answer with nothing.
        """

    @abc.abstractmethod
    async def quotes(self, symbols: Iterable[Symbol]) -> dict[str, Quote]:
        """Many quotes in one round, keyed by normalised symbol; a symbol that fails is left out, and `quote_errors`
        of the data manager tells why."""

    @abc.abstractmethod
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
        """Historical bars, ascending: the last `count`, or those from `start` on; `end` None means now."""

    async def many_bars(
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
        """`bars` of a list in one round, keyed by normalised symbol in the order asked; a symbol that fails has its
        error as value, and the others go on. Text that is no ticker keeps its own spelling as key."""

        async def one(symbol: Symbol) -> list[Bar] | BrokerError:
            try:
                return await self.bars(
                    symbol, size, count=count, start=start, end=end, source=source, regular_hours=regular_hours
                )
            except BrokerError as error:
                return error

        wanted = {spelling(symbol): symbol for symbol in symbols}
        answers = await asyncio.gather(*(one(symbol) for symbol in wanted.values()))
        return dict(zip(wanted, answers, strict=True))

    @abc.abstractmethod
    def live_bars(
        self, symbol: Symbol, size: BarSize = BarSize.D1, *, count: int = 250, source: BarSource = BarSource.TRADES
    ) -> Subscription[BarUpdate]:
        """`count` historical bars (closed), then updates of the running bar, by one subscription (IB keepUpToDate)."""

    @abc.abstractmethod
    def stream(
        self,
        symbols: Iterable[Symbol],
        kinds: Iterable[StreamKind] = (StreamKind.QUOTES,),
        options: StreamOptions | None = None,
    ) -> MarketSubscription:
        """Quotes, trades, depth, headlines as they come, with Gap and Resumed in their place, and Lost where this
        consumer was too slow (docs/streams.md)."""

    def on_events(
        self,
        symbols: Iterable[Symbol],
        kinds: Iterable[StreamKind],
        handler: EventHandler,
        options: StreamOptions | None = None,
    ) -> Callbacks:
        """Call `handler` with every event of a stream, on the running loop, until the answer is closed. What it raises
        is logged and counted (`failures`), and ends nothing; a stream that cannot be had is told by `error`."""
        return Callbacks(self.stream(symbols, kinds, options), handler, f"events for {self.name}")

    def tick_bars(
        self, symbols: Iterable[Symbol], rule: BarRule, options: StreamOptions | None = None
    ) -> Subscription[TickBar]:
        """Bars made here of streamed trades, as they end; nothing for an interval without trades. What is not whole
        is marked (`bar.complete`). Raises NotSupported at the first step where the broker streams no trades."""
        return TickBars(self.stream(symbols, (StreamKind.TRADES,), options), rule, self.clock)

    @abc.abstractmethod
    def snapshot(self, symbol: Symbol) -> Snapshot | None:
        """What the line of `symbol` last said, of any age; None where it said nothing. Never waits, never asks."""

    def promote(self, symbol: Symbol, event: object = "") -> bool:
        """Something happened in `symbol`: prefer it for a while where market data is scarce. True when it is preferred
        now; False when nothing was done, as with every broker whose data is not (docs/subscriptions.md)."""
        return False

    def subscriptions(self) -> Subscriptions | None:
        """Which symbols have a market-data line and which are polled; None for a broker that needs no lines."""
        return None

    # Options and news: data only. A broker without them raises NotSupported.

    async def option_chain(self, symbol: Symbol) -> list[OptionChain]:
        """What is listed on an underlying, one entry for each trading class, the plain one first; kept for the day.

        Raises NoData when nothing is listed.
        """
        raise self._lacks(f"option chain of {symbol}")

    async def option_quotes(self, options: Iterable[Instrument]) -> dict[Instrument, OptionQuote | BrokerError]:
        """Quotes, volume, open interest and greeks of contracts in one round, keyed by the instruments asked for; a
        contract that fails has its error as value (UnknownInstrument when it is not listed), and the others go on."""
        raise self._lacks("option quotes")

    async def option_activity(self, symbols: Iterable[Symbol]) -> dict[str, OptionActivity | BrokerError]:
        """Option volume, open interest and volatility of underlyings, one market-data line each, keyed by normalised
        symbol; a symbol that fails has its error as value."""
        raise self._lacks("option activity")

    async def news_providers(self) -> list[NewsProvider]:
        """Who may be asked for news; empty when this login has no provider."""
        raise self._lacks("news providers")

    async def headlines(
        self,
        symbol: Symbol,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        count: int = 50,
        providers: Iterable[str] = (),
    ) -> list[Headline]:
        """The latest `count` (at most 300) headlines after `start` and up to `end` (None: now), newest first; empty
        when there are none. `providers` are codes, all of this login's when empty. Raises NoPermission for a provider
        that this login does not have, or when it has none."""
        raise self._lacks(f"headlines of {symbol}")

    async def article(self, provider: str, article_id: str) -> Article:
        """The article of a headline. Raises NoData when the provider has none of this number."""
        raise self._lacks(f"article {article_id}")

    # Scans and fundamentals: data only, as above.

    async def scan(self, request: ScanRequest) -> list[Instrument]:
        """The broker's ranking of its market, best first: at most `request.rows` qualified instruments; empty when
        nothing passes the filters. Raises RequestFailed for a code or place that this scanner does not offer,
        PacingViolation when too many scans run."""
        raise self._lacks(str(request))

    async def scan_parameters(self) -> ScanParameters:
        """What can be scanned for; kept for the session."""
        raise self._lacks("scanner parameters")

    async def fundamentals(self, symbol: Symbol) -> Fundamentals:
        """What the company reports; a report that the broker does not give is told in `missing`. Raises NoData when
        there is none for this symbol, NotSupported where the broker gives none at all (remembered for the session)."""
        raise self._lacks(f"fundamentals of {symbol}")

    def _lacks(self, what: str) -> NotSupported:
        return NotSupported(what, f"the broker {self.name} does not serve it", "ask another broker")

    # Orders

    @abc.abstractmethod
    async def place(self, order: NewOrder | Bracket) -> Order:
        """Risk, journal, wire. Returns the order (a bracket's entry) once it is acknowledged, refused, or UNKNOWN.

        The same key with the same order answers with that order; with another order raises KeyConflict.
        Raises RiskRefusal, TradingHalted, InvalidOrder, NotConnected (nothing left), OrderRejected.
        """

    @abc.abstractmethod
    async def place_smart_order(self, order: NewOrder, policy: SmartOrderPolicy | None = None) -> Order:
        """A MARKET intent placed as a limit at the touch, inside the slippage cap (see `smart_orders.priced`)."""

    @abc.abstractmethod
    async def modify(self, key: str, change: OrderChange) -> Order:
        """Change a live order; checked like a new one. Raises ModifyRejected (the original is still live)."""

    @abc.abstractmethod
    async def cancel(self, key: str) -> Order:
        """Ask for a cancel; never refused by us, in any state. Returns the order as it then stands."""

    @abc.abstractmethod
    async def cancel_all(self, symbol: Symbol | None = None) -> list[Order]:
        """Cancel every working order that this journal owns."""

    @abc.abstractmethod
    async def flatten(self, symbol: Symbol | None = None) -> list[Order]:
        """Cancel the owned working orders of a symbol (None: of every symbol) and close its owned position by a
        collared limit; answers the closing orders."""

    @abc.abstractmethod
    async def what_if(self, order: NewOrder) -> WhatIf: ...

    @abc.abstractmethod
    def order(self, key: str) -> Order:
        """Raises UnknownOrder."""

    @abc.abstractmethod
    def orders(self) -> list[Order]:
        """Every order of this journal since the session's journal began, oldest first, and foreign open orders."""

    @abc.abstractmethod
    def open_orders(self) -> list[Order]:
        """Orders that may still fill, foreign ones flagged."""

    @abc.abstractmethod
    def fills(self) -> list[Fill]: ...

    @abc.abstractmethod
    async def wait(self, key: str, timeout: float) -> Order:
        """The order once terminal; raises DeadlineExceeded (the order is untouched) after `timeout` seconds."""

    @abc.abstractmethod
    def order_events(self) -> Subscription[OrderEvent]:
        """Everything that happens to orders and fills from now on; never conflated, never dropped."""

    # Account

    @abc.abstractmethod
    async def positions(self, account: str | None = None) -> list[Position]: ...

    @abc.abstractmethod
    async def owned_positions(self, account: str | None = None) -> list[Position]:
        """The broker's positions cut to what this journal opened or adopted; the rest is FOREIGN and not for sale.
        Market figures are cut in proportion."""

    @abc.abstractmethod
    async def account(self, account: str | None = None) -> AccountSummary: ...

    @abc.abstractmethod
    async def pnl(self, account: str | None = None, symbol: Symbol | None = None) -> PnL: ...

    @abc.abstractmethod
    async def reconcile(self) -> list[PositionDifference]:
        """Compare the broker's orders, executions and positions with the journal; mend the journal, report the rest."""

    @abc.abstractmethod
    async def adopt(self, symbol: Symbol) -> list[Order]:
        """Take over FOREIGN orders and the foreign position of a symbol; answers the orders adopted."""

    # Safety

    @abc.abstractmethod
    def limits(self) -> Mapping[str, object]:
        """The risk limits in force by name (the policy's fields; money in USD), to be read: nothing changes them."""

    @abc.abstractmethod
    async def emergency_stop(self, reason: str, *, close: bool = True, everything: bool = False) -> StopReport:
        """Refuse new orders (at once, kept over restarts), cancel, close owned positions, verify.

        `everything` also cancels and closes FOREIGN ones; the command line asks twice before it passes True.
        """

    @abc.abstractmethod
    async def resume(self) -> None:
        """Lift the emergency stop."""

    @abc.abstractmethod
    def latency_report(self) -> dict[str, dict[str, float]]:
        """Stage -> {count, p50, p95, p99, max} in milliseconds: place_to_sent, place_to_ack, place_to_fill, gate, …,
        tick (from the door to a consumer), batch, and round_trip where the broker has a wire. Stages without any
        sample are left out."""

    def get_latency_report(self) -> dict[str, dict[str, float]]:
        """`latency_report` under the name that the host framework uses."""
        return self.latency_report()

    @abc.abstractmethod
    def get_statistics(self) -> BrokerStatistics:
        """Rates, buffers, drops, conflation and latencies of this session so far; call it on the event loop."""

    async def bars_frame(
        self, symbol: Symbol, size: BarSize = BarSize.D1, *, count: int | None = None, start: datetime | None = None
    ) -> pd.DataFrame:
        """`bars` as a DataFrame: UTC DatetimeIndex, columns Open High Low Close Volume."""
        return bars_to_frame(await self.bars(symbol, size, count=count, start=start))


def bars_to_frame(bars: Sequence[Bar]) -> pd.DataFrame:
    """Bars as a DataFrame: ascending UTC DatetimeIndex named Date, columns Open High Low Close Volume (float)."""
    import pandas as pd

    return pd.DataFrame(
        [(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars],
        columns=["Open", "High", "Low", "Close", "Volume"],
        index=pd.DatetimeIndex([bar.time for bar in bars], tz="UTC", name="Date"),
        dtype="float64",
    )


def spelling(symbol: Symbol) -> str:
    """The key of a symbol in answers about a list; text that is no ticker keeps its own spelling."""
    if isinstance(symbol, Instrument):
        return symbol.symbol
    try:
        return normalize_symbol(symbol)
    except InvalidInstrument:
        return symbol
