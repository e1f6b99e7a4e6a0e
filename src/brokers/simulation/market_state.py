"""One instrument's market as the exchange sees it: quote, prints, the liquidity left, the day's figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal

from ..domain.instrument import InstrumentDetails
from ..domain.order import Side
from .hours import Venue, venue_of
from .market import PriceStep
from .models import FillModel, MarketView

ZERO = Decimal(0)


@dataclass(slots=True, eq=False)
class MarketState:
    """`stale`: the quote is of an earlier session and trades nothing. `opening`: the next step is the opening print.

    The `*_left` sizes are what the present step still gives to our orders; None means without limit.
    """

    con_id: int
    details: InstrumentDetails
    venue: Venue
    step: PriceStep | None = None
    previous: PriceStep | None = None
    last: Decimal | None = None
    last_size: Decimal | None = None
    last_time: datetime | None = None
    #: Prints before `last`, for the double-last trigger.
    last_before: Decimal | None = None
    stale: bool = True
    opening: bool = False
    halted_by_hand: bool = False
    bid_left: Decimal | None = ZERO
    ask_left: Decimal | None = ZERO
    print_left: Decimal | None = ZERO
    session_low: Decimal | None = None
    session_high: Decimal | None = None
    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    volume: Decimal = ZERO
    close: Decimal | None = None
    regular_close: Decimal | None = None

    @classmethod
    def of(cls, details: InstrumentDetails) -> MarketState:
        con_id = details.instrument.con_id
        if con_id is None:
            raise ValueError(f"{details.instrument} in the catalogue has no con_id")
        return cls(con_id, details, venue_of(details.instrument))

    @property
    def halted(self) -> bool:
        return self.halted_by_hand or (self.step is not None and self.step.halted)

    @property
    def tradable(self) -> bool:
        """A fresh quote, and no halt."""
        return self.step is not None and not self.stale and not self.halted

    @property
    def fresh_print(self) -> Decimal | None:
        """The print of the present step."""
        return None if self.step is None or self.stale else self.step.last

    def touch(self, side: Side) -> Decimal | None:
        """What an order on `side` would pay or get now: the ask for BUY."""
        if self.step is None:
            return None
        return self.step.ask if side is Side.BUY else self.step.bid

    @property
    def mark(self) -> Decimal | None:
        """The last price held inside the quote; None before the first price."""
        if self.step is None:
            return self.last
        if self.last is None:
            return self.step.bid
        return min(max(self.last, self.step.bid), self.step.ask)

    def apply(self, step: PriceStep, fills: FillModel, *, trading: bool) -> None:
        """Take over a step. `trading`: the venue is in session, so the day's range and volume count it."""
        self.previous, self.step, self.stale = self.step, step, False
        if fills.unlimited:
            self.bid_left = self.ask_left = self.print_left = None
        else:
            self.bid_left = _whole(step.bid_size * fills.participation)
            self.ask_left = _whole(step.ask_size * fills.participation)
            self.print_left = None if step.last_size is None else _whole(step.last_size * fills.participation)
        if trading:
            low, high = min(step.bid, step.last or step.bid), max(step.ask, step.last or step.ask)
            self.session_low = low if self.session_low is None else min(self.session_low, low)
            self.session_high = high if self.session_high is None else max(self.session_high, high)
        if step.last is not None:
            self._print(step.last, step.last_size, step.time)

    def recall(self, step: PriceStep) -> None:
        """Count a print of today that happened before market time began; it trades nothing."""
        if step.last is not None:
            self._print(step.last, step.last_size, step.time)

    def _print(self, price: Decimal, size: Decimal | None, time: datetime) -> None:
        self.last_before, self.last, self.last_size, self.last_time = self.last, price, size, time
        self.open = price if self.open is None else self.open
        self.high = price if self.high is None else max(self.high, price)
        self.low = price if self.low is None else min(self.low, price)
        if size is not None:
            self.volume += size

    def change_session(self, *, regular: bool, was_regular: bool) -> None:
        """A boundary passed: quotes of the session before trade nothing any more."""
        self.stale = True
        self.session_low = self.session_high = None
        self.opening = regular
        if was_regular:
            self.regular_close = self.last if self.last is not None else self.mark

    def start_day(self) -> None:
        self.close = self.regular_close if self.regular_close is not None else self.close
        self.open = self.high = self.low = None
        self.volume = ZERO

    def view(self) -> MarketView:
        step = self.step
        return MarketView(
            con_id=self.con_id,
            time=step.time if step else None,
            bid=step.bid if step else None,
            ask=step.ask if step else None,
            bid_size=step.bid_size if step else None,
            ask_size=step.ask_size if step else None,
            last=self.last,
            last_size=self.last_size,
            last_time=self.last_time,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=self.volume,
            halted=self.halted,
        )


def _whole(size: Decimal) -> Decimal:
    """Only whole shares and contracts trade here."""
    return size.to_integral_value(rounding=ROUND_FLOOR)
