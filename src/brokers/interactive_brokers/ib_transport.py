"""The protocol that both of IB's doors fulfil for this package: TWS (`ib_async_client`) and the Client Portal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from ..domain.account import AccountSummary, PnL, Position
from ..domain.instrument import Instrument, InstrumentDetails, PriceIncrement
from ..domain.market_data import Bar, BarSize, BarSource, BidAsk, DataType, Depth, Quote, Trade
from ..domain.news import Article, Headline, NewsProvider
from ..domain.options import OptionActivity, OptionChain, OptionQuote
from ..domain.scan import ScanParameters, ScanRequest
from ..order_port import OrderPort


class LinkState(StrEnum):
    """What the session is doing."""

    DOWN = "DOWN"  #: not connected, nothing is being tried
    CONNECTING = "CONNECTING"
    SYNCING = "SYNCING"  #: connected, the start-up queries run
    READY = "READY"
    BROKER_DOWN = "BROKER_DOWN"  #: our socket is up, IB's own link is not (1100, 2110)
    WAITING = "WAITING"  #: lost, the next attempt is scheduled


class LinkEventKind(StrEnum):
    UP = "UP"  #: first connection complete
    LOST = "LOST"
    RESTORED = "RESTORED"  #: connected again, or the broker's side is back
    FARM_DOWN = "FARM_DOWN"  #: a data farm (2103, 2105, 2107, 2108)
    FARM_UP = "FARM_UP"  #: 2104, 2106
    SUBSCRIPTIONS_RESTORED = "SUBSCRIPTIONS_RESTORED"
    STREAM_REFUSED = "STREAM_REFUSED"  #: tick-by-tick data or depth was refused or ended; `code` tells why
    ALARM = "ALARM"  #: something a person must look at


class LinkScope(StrEnum):
    """What a link event is about, where two doors share the work."""

    ALL = "ALL"
    DATA = "DATA"
    ORDERS = "ORDERS"


@dataclass(frozen=True, slots=True)
class LinkEvent:
    """`symbols` are the lines touched, () all of them; `restored` and `failed` count them when subscriptions come back.
    `source` names the door that data comes from, "" the transport's own name."""

    kind: LinkEventKind
    time: datetime
    text: str
    code: int | None = None
    farm: str = ""
    symbols: tuple[str, ...] = ()
    restored: int = 0
    failed: int = 0
    data_lost: bool = False
    scope: LinkScope = LinkScope.ALL
    source: str = ""


class QuoteLine(Protocol):
    """One live market-data line: the only one of its contract, whoever asked for it.

    `quote()` makes the present value; `updates` counts changes; `last_update` is monotonic seconds of the last one,
    None before the first. `error` is the error that ended or prevented it, None while it runs.
    """

    @property
    def instrument(self) -> Instrument: ...

    @property
    def updates(self) -> int: ...

    @property
    def last_update(self) -> float | None: ...

    @property
    def error(self) -> Exception | None: ...

    @property
    def data_type(self) -> DataType: ...

    def quote(self) -> Quote: ...

    def shortable(self) -> tuple[float | None, float | None]:
        """IB ticks 46 and 89: how hard the shares are to borrow, and how many there are; None where not told."""
        ...

    async def first(self, deadline: float) -> Quote:
        """The quote once it has a price. Raises the line's error, DeadlineExceeded, or LinkLost."""
        ...


@dataclass(frozen=True, slots=True)
class BarRequest:
    """One historical request, exactly as it goes to IB.

    `end` None means now. `duration` in IB's words ("2 D"). `keep_up_to_date` only with `end` None.
    """

    instrument: Instrument
    size: BarSize
    duration: str
    end: datetime | None = None
    source: BarSource = BarSource.TRADES
    regular_hours: bool = True


@dataclass(frozen=True, slots=True)
class ScheduledSession:
    """One session of IB's schedule (whatToShow SCHEDULE): aware UTC bounds and the day it counts for."""

    day: date
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class SymbolMatch:
    """One answer of reqMatchingSymbols."""

    instrument: Instrument
    description: str = ""
    derivatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StartupSection:
    """One start-up query. A section that is not known blocks trading until it is (fault C09)."""

    name: str
    known: bool
    why: str = ""


class BarListener(Protocol):
    """Called on the loop for one live-bar subscription; must not raise."""

    def on_bar(self, bar: Bar) -> None:
        """The running bar changed, or a later one began."""
        ...

    def on_bars_ended(self, error: Exception) -> None:
        """IB ended the subscription (10182), or the link was lost: nothing more comes for this handle."""
        ...


class MarketListener(Protocol):
    """Called on the loop as market data arrives; must not raise or block. Lines are those with a new value since the
    last call: read what you need from them now, or keep the line and read it later (conflation)."""

    def on_lines(self, lines: Sequence[QuoteLine]) -> None: ...

    def on_trade(self, trade: Trade) -> None: ...

    def on_bid_ask(self, tick: BidAsk) -> None: ...

    def on_depth(self, depth: Depth) -> None: ...

    def on_news(self, headline: Headline) -> None: ...


LinkListener = Callable[[LinkEvent], None]
PositionListener = Callable[[Position], None]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of the API's own messages over every session since the transport was made, as they are before TLS."""

    received: int = 0
    sent: int = 0


def added(traffic: Iterable[Traffic]) -> Traffic:
    """All of it together."""
    each = tuple(traffic)
    return Traffic(sum(one.received for one in each), sum(one.sent for one in each))


class IbTransport(OrderPort, Protocol):
    """A door to IB. Requests raise NotConnected, LinkLost, DeadlineExceeded, RequestFailed (and its subclasses)."""

    @property
    def state(self) -> LinkState: ...

    @property
    def sections(self) -> Sequence[StartupSection]: ...

    @property
    def farms_down(self) -> Mapping[str, str]:
        """Data farm -> the text that told so; empty when every farm is up."""
        ...

    async def connect(self) -> None: ...

    async def disconnect(self) -> None: ...

    def accounts(self) -> tuple[str, ...]: ...

    def add_link_listener(self, listener: LinkListener) -> None: ...

    def add_market_listener(self, listener: MarketListener) -> None: ...

    def remove_market_listener(self, listener: MarketListener) -> None: ...

    def add_position_listener(self, listener: PositionListener) -> None: ...

    async def market_time(self) -> datetime: ...

    # Reference

    async def contract_details(self, instrument: Instrument) -> Sequence[InstrumentDetails]:
        """Every contract that fits; an empty answer means that IB knows none (error 200)."""
        ...

    async def market_rule(self, rule_id: int) -> tuple[PriceIncrement, ...]: ...

    async def matching_symbols(self, pattern: str) -> Sequence[SymbolMatch]: ...

    # Options and news. A door that lacks them raises NotSupported.

    async def option_chains(self, underlying: Instrument) -> Sequence[OptionChain]:
        """Of a qualified underlying; empty when nothing is listed."""
        ...

    async def option_quote(self, option: Instrument, deadline: float) -> OptionQuote:
        """One line, given back when it has told all, or nothing new for a while."""
        ...

    async def option_activity(self, underlying: Instrument, deadline: float) -> OptionActivity: ...

    async def news_providers(self) -> Sequence[NewsProvider]: ...

    async def headlines(
        self,
        instrument: Instrument,
        providers: Sequence[str],
        start: datetime | None,
        end: datetime | None,
        count: int,
    ) -> Sequence[Headline]:
        """Of a qualified instrument, newest first, after `start` and up to `end`."""
        ...

    async def article(self, provider: str, article_id: str) -> Article: ...

    # Scans and fundamentals. A door that lacks them raises NotSupported.

    async def scan(self, request: ScanRequest) -> Sequence[Instrument]:
        """One ranking, best first, with contract numbers; nothing stays subscribed."""
        ...

    async def scan_parameters(self) -> ScanParameters: ...

    async def fundamental_report(self, instrument: Instrument, report: str) -> str:
        """The XML of a report, by IB's name of it."""
        ...

    # Quotes

    def subscribe_quotes(self, instrument: Instrument) -> QuoteLine:
        """One more user of the contract's line; asks IB only for the first."""
        ...

    def unsubscribe_quotes(self, instrument: Instrument) -> None:
        """One user less; the line ends with the last."""
        ...

    def resubscribe_silent(self, since: float, only: frozenset[int] | None = None) -> None:
        """Ask again for the quote lines (`only` of these contract numbers) with no value since that monotonic time; Gap
        and Resumed are told."""
        ...

    async def snapshot(self, instrument: Instrument, deadline: float) -> Quote: ...

    def subscribe_ticks(self, instrument: Instrument, kind: str) -> int:
        """Tick-by-tick: kind "AllLast", "Last" or "BidAsk". Returns the handle for `unsubscribe`."""
        ...

    def subscribe_depth(self, instrument: Instrument, rows: int) -> int: ...

    def subscribe_news(self, instrument: Instrument, providers: Sequence[str]) -> int:
        """Headlines as these providers publish them."""
        ...

    def unsubscribe(self, handle: int) -> None:
        """Ends a tick-by-tick, depth, news or live-bar subscription; unknown handles are ignored."""
        ...

    # History

    async def historical_bars(self, request: BarRequest) -> list[Bar]: ...

    async def live_bars(self, request: BarRequest, listener: BarListener) -> tuple[int, list[Bar]]:
        """keepUpToDate: the handle, and the bars up to now; the listener is called from then on."""
        ...

    async def head_timestamp(self, instrument: Instrument, source: BarSource, regular_hours: bool) -> datetime: ...

    async def schedule(self, instrument: Instrument, days: int, end: datetime | None) -> list[ScheduledSession]: ...

    async def historical_ticks(
        self, instrument: Instrument, start: datetime | None, end: datetime | None, count: int, regular_hours: bool
    ) -> list[Trade]: ...

    # Account

    def cached_positions(self) -> list[Position] | None:
        """Positions as kept current by the subscription; None while they are not known (fault Q13)."""
        ...

    def cached_summary(self, account: str) -> AccountSummary | None:
        """What the account subscription told last; None before it told anything."""
        ...

    def exchange_rate(self, account: str, currency: str) -> Decimal | None:
        """Base-currency units for one unit of `currency`, as told with the account; None when not told."""
        ...

    async def account_summary(self) -> list[AccountSummary]: ...

    async def pnl(self, account: str, con_id: int | None = None) -> PnL: ...

    # Measures

    def clock_offset(self) -> timedelta | None:
        """How far IB's clock is ahead of the machine's (fault C28); None before the first currentTime."""
        ...

    def latencies(self) -> Mapping[str, Sequence[float]]:
        """Stage -> recent durations in seconds: send (in the queue), round_trip."""
        ...

    def traffic(self) -> Traffic: ...

    @property
    def minimum_quantity(self) -> Decimal:
        """The smallest order step that this door takes: whole shares on the TWS socket (fault O47)."""
        ...
