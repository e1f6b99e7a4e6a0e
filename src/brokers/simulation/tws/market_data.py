"""Market data lines: what one reqMktData brings, first as it stands, then as it moves.

TWS sends a price tick (its size inside) followed by the same size as a tick of its own, and a size tick alone when only
the size moved. Delayed lines show the same, fifteen minutes later.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ...domain.instrument import InstrumentDetails, SecType
from ...domain.sessions import Session as MarketSession
from ..events import ExchangeEvent, Halted, Printed, QuoteChanged
from ..market_stats import historical_volatility, week_stats
from ..models import MarketView
from ..past_view import past_view
from . import tick_types as t
from .messages_out import encode
from .news_line import NewsLine
from .session import Session
from .ticks import tick_generic, tick_price, tick_size, tick_string
from .times import epoch

DELAY = timedelta(minutes=15)
#: Bits of tickPrice's attribute mask.
CAN_AUTO_EXECUTE, PAST_LIMIT, PRE_OPEN = 1, 2, 4
Number = Decimal | float | int


class TickWriter:
    """Frames of one line; templates are made once per tick type."""

    def __init__(self, session: Session, req_id: int, lot: int = 1) -> None:
        self._session = session
        self._req_id = req_id
        #: What sizes are divided by while the fault `round-lots` is armed.
        self._lot = lot
        self._prices: dict[int, Callable[..., bytes]] = {}
        self._sizes: dict[int, Callable[[Number], bytes]] = {}
        self._told: dict[int, Any] = {}

    def price(self, tick: int, price: Number | None, size: Number = 0, mask: int = 0, *, size_tick: int = -1) -> None:
        """Nothing when neither price nor size moved; the size alone when only that did."""
        size = self._in_units(size or 0)
        if self._told.get(tick, _NEVER) != price:
            self._told[tick] = price
            make = self._prices.get(tick)
            if make is None:
                make = self._prices[tick] = tick_price(self._session.version, self._req_id, tick)
            self._session.quote((self._req_id, tick), make(price, size, mask))
            if size_tick >= 0:
                self._told[size_tick] = None
        if size_tick >= 0:
            self._size(size_tick, size)

    def _in_units(self, size: Number) -> Number:
        return size / self._lot if self._session.door.faults.round_lots else size

    def size(self, tick: int, size: Number) -> None:
        self._size(tick, self._in_units(size))

    def _size(self, tick: int, size: Number) -> None:
        if self._told.get(tick, _NEVER) == size:
            return
        self._told[tick] = size
        make = self._sizes.get(tick)
        if make is None:
            make = self._sizes[tick] = tick_size(self._session.version, self._req_id, tick)
        self._session.quote((self._req_id, tick), make(size))

    def generic(self, tick: int, value: float) -> None:
        if self._told.get(tick, _NEVER) != value:
            self._told[tick] = value
            self._session.quote((self._req_id, tick), tick_generic(self._req_id, tick)(value))

    def string(self, tick: int, text: str) -> None:
        if self._told.get(tick, _NEVER) != text:
            self._told[tick] = text
            self._session.quote((self._req_id, tick), tick_string(self._req_id, tick)(text))


_NEVER: Any = object()


class MarketDataLine:
    """One line. `delayed` decides the tick numbers and the age of what is shown."""

    def __init__(
        self,
        session: Session,
        req_id: int,
        details: InstrumentDetails,
        generics: frozenset[int],
        *,
        snapshot: bool,
        delayed: bool,
    ) -> None:
        self._session = session
        self._req_id = req_id
        self._details = details
        self._con_id = details.instrument.con_id or 0
        self._generics = generics
        self._snapshot = snapshot
        self._delayed = delayed
        self._types = t.DELAYED if delayed else t.LIVE
        self._ticks = TickWriter(session, req_id, 100 if details.instrument.sec_type is SecType.STOCK else 1)
        self._type_told = 0
        self._turnover = [0.0, 0.0]
        self._trades = 0
        self._stop: Callable[[], None] | None = None
        #: Told on the same line, where the client asked for it.
        self.news: NewsLine | None = None

    def start(self) -> None:
        session, door = self._session, self._session.door
        step = float(min(row.increment for row in self._details.increments))
        session.write(
            encode(
                session.version,
                "tickReqParams",
                reqId=self._req_id,
                minTick=step,
                bboExchange="9c0001" if self._details.instrument.sec_type is SecType.STOCK else "",
                snapshotPermissions=3,
            )
        )
        self._tell_type()
        if door.faults.silent_feed:
            pass
        elif self._delayed:
            self._show_past(door.now - DELAY)
        else:
            self._show(door.exchange.market(self._con_id))
        if self._snapshot:
            session.send("tickSnapshotEnd", reqId=self._req_id)
            return
        self._stop = door.watch(self._con_id, self._later if self._delayed else self._on_event)
        if self.news is not None:
            self.news.start()

    def close(self) -> None:
        if self.news is not None:
            self.news.close()
        if self._stop is not None:
            self._stop()
            self._stop = None

    # what is shown

    @property
    def _open_now(self) -> bool:
        return self._session.door.exchange.session(self._con_id) not in (MarketSession.CLOSED, MarketSession.UNKNOWN)

    def _tell_type(self) -> None:
        """Frozen (2, 4) is told while the market is closed to whoever asked for it, else live (1) or delayed (3)."""
        frozen = self._session.data_type in (2, 4) and not self._open_now
        kind = (4 if frozen else 3) if self._delayed else (2 if frozen else 1)
        if kind != self._type_told:
            self._type_told = kind
            self._session.send("marketDataType", reqId=self._req_id, marketDataType=kind)

    def _show(self, view: MarketView) -> None:
        ticks, types = self._ticks, self._types
        if self._open_now or self._type_told == 2:
            self._show_quote(view.bid, view.bid_size, view.ask, view.ask_size)
        else:
            self._show_quote(None, 0, None, 0)
        if view.last is not None:
            ticks.price(types.last, view.last, view.last_size or 0, size_tick=types.last_size)
        ticks.size(types.volume, view.volume)
        for tick, price in ((types.high, view.high), (types.low, view.low), (types.close, view.close)):
            if price is not None:
                ticks.price(tick, price)
        if view.open is not None:
            ticks.price(types.open, view.open)
        if view.last_time is not None:
            ticks.string(types.timestamp, str(epoch(view.last_time)))
        ticks.generic(types.halted, float(view.halted))
        self._show_generics(view)

    def _show_quote(
        self, bid: Decimal | None, bid_size: Decimal | int | None, ask: Decimal | None, ask_size: Decimal | int | None
    ) -> None:
        if self._details.instrument.sec_type is SecType.INDEX:
            return
        types = self._types
        regular = self._session.door.exchange.session(self._con_id) is MarketSession.REGULAR
        mask = CAN_AUTO_EXECUTE if regular else CAN_AUTO_EXECUTE | PRE_OPEN
        self._ticks.price(types.bid, bid, bid_size or 0, mask, size_tick=types.bid_size)
        self._ticks.price(types.ask, ask, ask_size or 0, mask, size_tick=types.ask_size)

    def _show_past(self, moment: datetime) -> None:
        """A delayed line begins with what was true at `moment`; nothing where the source has no such past."""
        types, ticks = self._types, self._ticks
        view = past_view(self._session.door.source, self._details, moment)
        if view.bid is not None and view.ask is not None:
            self._show_quote(view.bid, view.bid_size, view.ask, view.ask_size)
        if view.last is not None:
            ticks.price(types.last, view.last, view.last_size or 0, size_tick=types.last_size)
        if view.close is not None:
            ticks.price(types.close, view.close)
        if view.last_time is not None:
            ticks.string(types.timestamp, str(epoch(view.last_time)))

    # what moves

    def _later(self, event: ExchangeEvent) -> None:
        door = self._session.door

        def show() -> None:
            if self._stop is not None:
                self._on_event(event)

        door.timers.at(event.time + DELAY, show)

    def _on_event(self, event: ExchangeEvent) -> None:
        self._tell_type()
        if isinstance(event, QuoteChanged):
            self._show_quote(event.bid, event.bid_size, event.ask, event.ask_size)
        elif isinstance(event, Printed):
            self._on_print(event)
        elif isinstance(event, Halted):
            self._ticks.generic(self._types.halted, float(event.halted))

    def _on_print(self, event: Printed) -> None:
        ticks, types = self._ticks, self._types
        ticks.price(types.last, event.price, event.size or 0, size_tick=types.last_size)
        if not self._delayed:
            view = self._session.door.exchange.market(self._con_id)
            ticks.size(types.volume, view.volume)
            # The close is yesterday's from the first print of a new day on.
            shown = ((types.high, view.high), (types.low, view.low), (types.open, view.open), (types.close, view.close))
            for tick, price in shown:
                if price is not None:
                    ticks.price(tick, price)
            self._print_generics(event, view)
        ticks.string(types.timestamp, str(epoch(event.time)))

    # generic ticks

    def _show_generics(self, view: MarketView) -> None:
        wanted, ticks = self._generics, self._ticks
        if not wanted:
            return
        if wanted & {221, 232} and view.last is not None:
            ticks.price(t.MARK_PRICE, view.last)
        if 236 in wanted:
            hard = self._details.instrument.symbol in self._session.door.exchange.settings.hard_to_borrow
            ticks.generic(t.SHORTABLE, 1.5 if hard else 3.0)
            ticks.size(t.SHORTABLE_SHARES, 0 if hard else 10_000_000)
        source, now = self._session.door.source, self._session.door.now
        if 165 in wanted:
            stats = week_stats(source, self._con_id, now)
            for weeks, (low, high) in stats.ranges.items():
                ticks.price(t.WEEK_RANGES[weeks][0], low)
                ticks.price(t.WEEK_RANGES[weeks][1], high)
            if stats.average_volume is not None:
                ticks.size(t.AVERAGE_VOLUME, round(stats.average_volume))
        if wanted & {104, 411}:
            volatility = historical_volatility(source, self._con_id, now)
            if volatility is not None:
                ticks.generic(t.HISTORICAL_VOLATILITY if 104 in wanted else t.REAL_TIME_VOLATILITY, volatility)
        self._show_options()

    def _show_options(self) -> None:
        """What all options of this stock do together; moves once a minute."""
        wanted, ticks = self._generics, self._ticks
        activity = self._session.door.options.activity(self._con_id) if wanted & {100, 101, 105, 106} else None
        if activity is None:
            return
        if 100 in wanted:
            ticks.size(t.CALL_VOLUME, activity.call_volume)
            ticks.size(t.PUT_VOLUME, activity.put_volume)
        if 101 in wanted:
            ticks.size(t.CALL_OPEN_INTEREST, activity.call_open_interest)
            ticks.size(t.PUT_OPEN_INTEREST, activity.put_open_interest)
        if 105 in wanted:
            ticks.size(t.AVERAGE_OPTION_VOLUME, activity.average_volume)
        if 106 in wanted:
            ticks.generic(t.IMPLIED_VOLATILITY, activity.implied_volatility)

    def _print_generics(self, event: Printed, view: MarketView) -> None:
        wanted, ticks = self._generics, self._ticks
        if not wanted:
            return
        size = float(event.size or 0)
        self._turnover[0] += float(event.price) * size
        self._turnover[1] += size
        self._trades += 1
        if wanted & {221, 232}:
            ticks.price(t.MARK_PRICE, event.price)
        self._show_options()
        if 293 in wanted:
            ticks.generic(t.TRADE_COUNT, float(self._trades))
        if wanted & {233, 375}:
            average = self._turnover[0] / self._turnover[1] if self._turnover[1] else float(event.price)
            text = f"{event.price:f};{size:g};{int(event.time.timestamp() * 1000)};{view.volume:f};{average:.8f};true"
            for generic, tick in ((233, t.RT_VOLUME), (375, t.RT_TRADE_VOLUME)):
                if generic in wanted:
                    ticks.string(tick, text)
