"""A hand-made market, a weekday calendar and a flat commission: everything an exchange test stands on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from moondev_ibkr.brokers.domain.instrument import Instrument, InstrumentDetails, PriceIncrement, SecType
from moondev_ibkr.brokers.domain.market_data import Bar, BarSize, BarSource
from moondev_ibkr.brokers.domain.order import OrderType, Side
from moondev_ibkr.brokers.domain.sessions import TradingDay
from moondev_ibkr.brokers.errors import NoData
from moondev_ibkr.brokers.simulation.events import (
    CommissionCharged,
    ExchangeEvent,
    Executed,
    Notice,
    SessionChanged,
    StatusChanged,
)
from moondev_ibkr.brokers.simulation.exchange import Exchange
from moondev_ibkr.brokers.simulation.market import PriceStep, TickKind
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings
from moondev_ibkr.brokers.simulation.tickets import OrderTicket

NEW_YORK = ZoneInfo("America/New_York")
AAPL, MSFT, MES, SPX = 265598, 272093, 770561194, 416904
ACCOUNT = "DU0000001"

STOCKS = {
    AAPL: InstrumentDetails(Instrument("AAPL", con_id=AAPL, primary_exchange="NASDAQ")),
    MSFT: InstrumentDetails(Instrument("MSFT", con_id=MSFT, primary_exchange="NASDAQ")),
}
FUTURES = {
    MES: InstrumentDetails(
        Instrument("MES", SecType.FUTURE, exchange="CME", con_id=MES, multiplier=Decimal(5), expiry=date(2026, 6, 18)),
        increments=(PriceIncrement(Decimal(0), Decimal("0.25")),),
    )
}
INDEXES = {SPX: InstrumentDetails(Instrument("SPX", SecType.INDEX, exchange="CBOE", con_id=SPX))}
DETAILS = STOCKS | FUTURES | INDEXES


def at(text: str, day: str = "2026-04-15") -> datetime:
    """A New York wall time as UTC: at("10:00"), at("16:00:00.5", "2026-04-16")."""
    moment = datetime.combine(date.fromisoformat(day), time.fromisoformat(text), NEW_YORK)
    return moment.astimezone(UTC)


#: A Wednesday, inside the regular session.
START = at("10:00")


def D(value: Any) -> Decimal:
    return Decimal(str(value))


def step(
    when: datetime,
    bid: Any,
    ask: Any,
    last: Any = None,
    *,
    con_id: int = AAPL,
    size: Any = 1000,
    bid_size: Any = None,
    ask_size: Any = None,
    last_size: Any = 1000,
    halted: bool = False,
) -> PriceStep:
    return PriceStep(
        time=when,
        con_id=con_id,
        bid=D(bid),
        ask=D(ask),
        bid_size=D(size if bid_size is None else bid_size),
        ask_size=D(size if ask_size is None else ask_size),
        last=None if last is None else D(last),
        last_size=None if last is None or last_size is None else D(last_size),
        halted=halted,
    )


class ScriptedPrices:
    """A PriceSource that serves the steps it is given. `closes` are yesterday's."""

    def __init__(self, steps: Sequence[PriceStep], *, start: datetime = START, closes: dict[int, float] | None = None):
        self.start = start
        self.end = None
        self._steps = sorted(steps, key=lambda row: row.time)
        self._closes = closes or {}

    def catalogue(self) -> Sequence[InstrumentDetails]:
        return tuple(DETAILS.values())

    def steps(self) -> Iterator[PriceStep]:
        return iter(self._steps)

    def history(
        self,
        con_id: int,
        size: BarSize,
        source: BarSource,
        *,
        start: datetime,
        end: datetime,
        now: datetime,
        regular_hours: bool = True,
    ) -> list[Bar]:
        if con_id not in self._closes:
            raise NoData(f"bars of {con_id}", "there are none")
        close = self._closes[con_id]
        return [Bar(end - timedelta(days=1), close, close, close, close)]

    def ticks(self, con_id: int, kind: TickKind, **query: object) -> list[PriceStep]:
        """Nothing has printed before the start."""
        return []

    def head_timestamp(self, con_id: int) -> datetime | None:
        return None


class Weekdays:
    """Monday to Friday 4:00, 9:30, 16:00, 20:00; half days end at 13:00 and 17:00."""

    def __init__(self, half_days: Sequence[date] = (), holidays: Sequence[date] = ()) -> None:
        self._half_days, self._holidays = frozenset(half_days), frozenset(holidays)

    def trading_day(self, day: date) -> TradingDay | None:
        if day.weekday() > 4 or day in self._holidays:
            return None
        half = day in self._half_days
        times = (time(4), time(9, 30), time(13) if half else time(16), time(17) if half else time(20))
        edges = [datetime.combine(day, edge, NEW_YORK).astimezone(UTC) for edge in times]
        return TradingDay(day, edges[0], edges[1], edges[2], edges[3], half)


class OneDollar:
    """1 USD an order, 0.62 a future."""

    def commission(self, instrument: Instrument, side: Side, quantity: Decimal, price: Decimal, on: date) -> Decimal:
        return D("0.62") * quantity if instrument.sec_type is SecType.FUTURE else Decimal(1)


class Pit:
    """An exchange, its events as short lines in `tape`, and the two or three calls that every story makes."""

    def __init__(self, *steps: PriceStep, start: datetime = START, calendar: Weekdays | None = None, **settings: Any):
        closes = settings.pop("closes", None)
        cash, kind = settings.pop("cash", None), settings.pop("kind", None)
        if cash is not None or kind is not None:
            extra = {} if kind is None else {"kind": kind}
            settings["accounts"] = (AccountSettings(ACCOUNT, D(cash or 100_000), **extra),)
        self.events: list[ExchangeEvent] = []
        self.exchange = Exchange(
            ScriptedPrices(steps, start=start, closes=closes),
            calendar=calendar or Weekdays(),
            commissions=OneDollar(),
            settings=ExchangeSettings(**settings),
        )
        self.exchange.subscribe(self.events.append)
        self.last_id = 0

    def order(self, side: str, quantity: Any, type: OrderType = OrderType.MARKET, **fields: Any) -> int:
        """Place an order of client 1 (or `client_id`) in AAPL (or `con_id`); returns its id."""
        for name in ("limit_price", "stop_price", "trail_amount", "trail_percent", "min_quantity"):
            if fields.get(name) is not None:
                fields[name] = D(fields[name])
        number = fields.pop("order_id", None)
        if number is None:
            number = self.last_id = self.last_id + 1
        client = fields.pop("client_id", 1)
        con_id = fields.pop("con_id", AAPL)
        self.exchange.place(OrderTicket(client, number, con_id, Side(side), D(quantity), type, **fields))
        return number

    def buy(self, quantity: Any, limit: Any = None, **fields: Any) -> int:
        return self._plain("BUY", quantity, limit, **fields)

    def sell(self, quantity: Any, limit: Any = None, **fields: Any) -> int:
        return self._plain("SELL", quantity, limit, **fields)

    def _plain(self, side: str, quantity: Any, limit: Any, **fields: Any) -> int:
        if limit is None:
            return self.order(side, quantity, **fields)
        return self.order(side, quantity, OrderType.LIMIT, limit_price=limit, **fields)

    def run(self, until: datetime) -> None:
        self.exchange.advance_to(until)

    def status(self, number: int, client: int = 1) -> str:
        view = self.exchange.order(client, number)
        assert view is not None
        return view.status.value

    def position(self, con_id: int = AAPL, account: str = ACCOUNT) -> Decimal:
        rows = [row for row in self.exchange.positions(account) if row.instrument.con_id == con_id]
        return rows[0].quantity if rows else Decimal(0)

    @property
    def fills(self) -> list[tuple[Decimal, Decimal]]:
        """(signed quantity, price) of every execution told."""
        return [
            (row.execution.quantity * row.execution.side.sign, row.execution.price)
            for row in self.events
            if isinstance(row, Executed)
        ]

    @property
    def codes(self) -> list[int]:
        return [row.code for row in self.events if isinstance(row, Notice)]

    @property
    def tape(self) -> list[str]:
        """What a door would send about orders, one short line each."""
        return [line for event in self.events if (line := short(event))]


def short(event: ExchangeEvent) -> str:
    if isinstance(event, StatusChanged):
        order = event.order
        return f"{order.order_id} {order.status.value} {order.filled:f}/{order.remaining:f}"
    if isinstance(event, Executed):
        row = event.execution
        return f"{row.order_id} {row.side.value} {row.quantity:f}@{row.price:f}"
    if isinstance(event, CommissionCharged):
        return f"{event.execution.order_id} commission {event.execution.commission:f}"
    if isinstance(event, Notice):
        return f"{event.order_id} error {event.code}"
    if isinstance(event, SessionChanged) and event.venue == "stocks":
        return f"-- {event.session.value}"
    return ""
