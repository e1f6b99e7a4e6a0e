"""What can be chosen about the exchange: accounts, latency, how liquidity answers, and the parties it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from random import Random
from typing import Protocol

from ..domain.instrument import Instrument
from ..domain.order import Side
from ..domain.sessions import TradingDay


class TradingCalendar(Protocol):
    """The stock market's days; futures hours are derived from them."""

    def trading_day(self, day: date) -> TradingDay | None:
        """The session times of `day`, None when the market is closed that day."""
        ...


class CommissionSchedule(Protocol):
    """What a trade costs."""

    def commission(self, instrument: Instrument, side: Side, quantity: Decimal, price: Decimal, on: date) -> Decimal:
        """Commission of one whole order so far, in the instrument's currency, >= 0. `quantity` and `price` are the
        order's cumulative quantity and average price: the minimum is per order, not per fill. `on` is the trade
        date."""
        ...


class AccountKind(StrEnum):
    """How an account may borrow; the value starts IB's AccountType-like description."""

    MARGIN = "MARGIN"
    CASH = "CASH"


class ChildSizing(StrEnum):
    """When and how large a bracket's children work (fault O50: IB's documents allow both readings)."""

    FILLED = "filled"  #: from the parent's first fill on, sized to what is filled
    FULL = "full"  #: from the parent's first fill on, in full size: a child may overtake its parent
    WHOLE = "whole"  #: only when the parent is filled in full


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """`number` begins with DU000. `cash` is the starting balance in the base currency."""

    number: str = "DU0000001"
    cash: Decimal = Decimal(100_000)
    kind: AccountKind = AccountKind.MARGIN


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """Market-time delays. `acknowledge`: client to broker; `route`: broker to exchange; `cancel`: request to
    confirmation. Each is lengthened by up to `jitter` of itself (seeded). All zero: answered while time stands still.
    """

    acknowledge: timedelta = timedelta(0)
    route: timedelta = timedelta(0)
    cancel: timedelta = timedelta(0)
    jitter: float = 0.0

    def draw(self, base: timedelta, random: Random) -> timedelta:
        """`base` with its jitter; never negative. No number is drawn when there is no jitter."""
        return base if not base or not self.jitter else base * (1.0 + self.jitter * random.random())


@dataclass(frozen=True, slots=True)
class FillModel:
    """How the market's liquidity answers; every fill is at a price the source quoted or printed.

    `participation`: the share of displayed and printed size that one step gives to our orders (0 < p <= 1).
    `queue_ahead`: the share of the displayed size that stands before a limit order that joins the touch; prints at
    that price serve it first. `slippage_ticks`: a marketable order beyond the displayed size pays up to this many
    ticks more for the rest (seeded), never outside what was quoted or printed in this session; 0 leaves the rest
    waiting for the next quote. `unlimited`: displayed size does not limit fills at all.
    `midprice_chance`: chance that a print fills a MIDPRICE order.
    """

    participation: Decimal = Decimal(1)
    queue_ahead: Decimal = Decimal(0)
    slippage_ticks: int = 0
    unlimited: bool = False
    midprice_chance: float = 1.0


@dataclass(frozen=True, slots=True)
class FuturesMargin:
    """Margin per contract in the contract's currency."""

    initial: Decimal
    maintenance: Decimal


#: Indicative exchange margins in USD (overnight); override with ExchangeSettings.futures_margin.
FUTURES_MARGINS: Mapping[str, FuturesMargin] = {
    "ES": FuturesMargin(Decimal(24_550), Decimal(22_320)),
    "MES": FuturesMargin(Decimal(2_455), Decimal(2_232)),
    "NQ": FuturesMargin(Decimal(33_660), Decimal(30_600)),
    "MNQ": FuturesMargin(Decimal(3_366), Decimal(3_060)),
}


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """`seed` decides every draw. `default_account` is the first. `hard_to_borrow` symbols are held on a short sale
    (404, whyHeld "locate") until Exchange.locate. `completed_kept` bounds the list of completed orders."""

    seed: int = 0
    accounts: tuple[AccountSettings, ...] = (AccountSettings(),)
    base_currency: str = "USD"
    latency: LatencyModel = field(default_factory=LatencyModel)
    fills: FillModel = field(default_factory=FillModel)
    child_sizing: ChildSizing = ChildSizing.FILLED
    futures_margin: Mapping[str, FuturesMargin] = field(default_factory=lambda: FUTURES_MARGINS)
    hard_to_borrow: frozenset[str] = frozenset()
    closing_cutoff: timedelta = timedelta(minutes=10)
    completed_kept: int = 1_000

    def __post_init__(self) -> None:
        if not self.accounts:
            raise ValueError("at least one account is needed")
        for account in self.accounts:
            if not account.number.startswith("DU000"):
                raise ValueError(f"account {account.number!r} must begin with DU000, so that nobody takes it for real")


@dataclass(frozen=True, slots=True)
class MarketView:
    """One instrument's market now. Prices None until the source told them; `close` is the previous regular session's
    last price; `volume` shares since the day's start."""

    con_id: int
    time: datetime | None
    bid: Decimal | None
    ask: Decimal | None
    bid_size: Decimal | None
    ask_size: Decimal | None
    last: Decimal | None
    last_size: Decimal | None
    last_time: datetime | None
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    close: Decimal | None
    volume: Decimal
    halted: bool
