"""Options as data: what is listed on an underlying, what a contract is quoted at, how busy its options are. Floats."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from .instrument import Instrument, SecType
from .market_data import DataType


@dataclass(frozen=True, slots=True)
class OptionChain:
    """What is listed on `underlying` in one trading class (IB message 75).

    `expiries` (last trading days) and `strikes` ascend. They are a cross product: not every pair is a contract.
    `multiplier` is units of the underlying per contract.
    """

    underlying: Instrument
    trading_class: str
    multiplier: Decimal
    expiries: tuple[date, ...]
    strikes: tuple[Decimal, ...]
    exchange: str = "SMART"

    def option(self, expiry: date, strike: Decimal, right: str) -> Instrument:
        """The contract of this expiry, strike and right ("C" or "P"), without a contract number. Raises
        InvalidInstrument for a right that is none."""
        return Instrument(
            self.underlying.symbol,
            SecType.OPTION,
            self.underlying.currency,
            self.exchange,
            trading_class=self.trading_class,
            expiry=expiry,
            strike=strike,
            right=right,
            multiplier=self.multiplier,
        )


@dataclass(frozen=True, slots=True)
class OptionQuote:
    """One option at `time` (market time, aware UTC). None where the source gave nothing.

    Prices per unit of the underlying, sizes, `volume` (today's) and `open_interest` in contracts. The computations are
    of the broker's model: `implied_volatility` a year (0.25 is 25 %), `delta` and `gamma` per unit of the underlying's
    price, `vega` per volatility point (0.01), `theta` per calendar day (negative: value lost), `model_price` what the
    model makes of it, `underlying_price` what it was computed from.
    """

    instrument: Instrument
    time: datetime
    bid: float | None = None
    ask: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    last: float | None = None
    close: float | None = None
    volume: float | None = None
    open_interest: float | None = None
    implied_volatility: float | None = None
    delta: float | None = None
    gamma: float | None = None
    vega: float | None = None
    theta: float | None = None
    model_price: float | None = None
    underlying_price: float | None = None
    data_type: DataType = DataType.LIVE
    source: str = ""

    @property
    def mid(self) -> float | None:
        """Half way between bid and ask; None unless both are there."""
        return None if self.bid is None or self.ask is None else (self.bid + self.ask) / 2


@dataclass(frozen=True, slots=True)
class OptionActivity:
    """All options of one underlying together, at `time` (market time, aware UTC), from one market-data line.

    Volumes are today's and open interest last night's, in contracts; `average_volume` is contracts a day. Volatilities
    are annual (0.25 is 25 %), 30 days ahead and 30 days back. None where the source told nothing, which is not zero.
    """

    instrument: Instrument
    time: datetime
    call_volume: float | None = None
    put_volume: float | None = None
    call_open_interest: float | None = None
    put_open_interest: float | None = None
    average_volume: float | None = None
    implied_volatility: float | None = None
    historical_volatility: float | None = None
    data_type: DataType = DataType.LIVE
    source: str = ""

    @property
    def put_call_volume(self) -> float | None:
        """Put volume over call volume; None when one is not known or there are no calls."""
        return _ratio(self.put_volume, self.call_volume)

    @property
    def put_call_open_interest(self) -> float | None:
        """Put open interest over call open interest; None when one is not known or there are no calls."""
        return _ratio(self.put_open_interest, self.call_open_interest)


def _ratio(puts: float | None, calls: float | None) -> float | None:
    return None if puts is None or not calls else puts / calls
