"""What can be traded or quoted, and the rules that its exchange sets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from enum import StrEnum

from ..errors import InvalidInstrument

_SYMBOL = re.compile(r"^[A-Z0-9][A-Z0-9 ./&+=_-]{0,29}$")
_SHARE_CLASS = re.compile(r"^([A-Z]{1,5})[.\- /]([A-Z]{1,2})$")


class SecType(StrEnum):
    """Security types, in IB's spelling (Contract.secType)."""

    STOCK = "STK"
    OPTION = "OPT"
    FUTURE = "FUT"
    INDEX = "IND"
    FOREX = "CASH"
    BOND = "BOND"
    COMBO = "BAG"


def normalize_symbol(text: str) -> str:
    """One spelling per symbol: `brk-b`, `BRK.B` and `BRK B` all give `BRK B` (IB's own spelling of share classes).

    Raises InvalidInstrument for an empty string or characters that no ticker has.
    """
    symbol = " ".join(text.strip().upper().split()) if isinstance(text, str) else ""
    if not _SYMBOL.match(symbol):
        raise InvalidInstrument(
            f"symbol {text!r}",
            "it is not a ticker",
            "use letters, digits and at most one share class, e.g. BRK.B",
        )
    share_class = _SHARE_CLASS.match(symbol)
    return f"{share_class[1]} {share_class[2]}" if share_class else symbol


@dataclass(frozen=True, slots=True)
class Instrument:
    """A contract. `symbol` alone means a US stock routed by the broker (SMART).

    `con_id` is the broker's contract number (IB conId), None until qualified. `expiry` is the last trading day,
    `strike` in the instrument's currency, `right` "C" or "P"; all three None unless a derivative. `multiplier` is
    units of the underlying per contract (1 for stock).
    """

    symbol: str
    sec_type: SecType = SecType.STOCK
    currency: str = "USD"
    exchange: str = "SMART"
    primary_exchange: str | None = None
    con_id: int | None = None
    local_symbol: str | None = None
    trading_class: str | None = None
    expiry: date | None = None
    strike: Decimal | None = None
    right: str | None = None
    multiplier: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbol", normalize_symbol(self.symbol))
        object.__setattr__(self, "sec_type", SecType(self.sec_type))
        if self.sec_type is SecType.OPTION and (
            self.expiry is None or self.strike is None or self.right not in ("C", "P")
        ):
            raise InvalidInstrument(f"option on {self.symbol}", "expiry, strike and right C or P are needed")

    def __str__(self) -> str:
        if self.sec_type is SecType.STOCK:
            return self.symbol
        parts = [
            self.symbol,
            self.sec_type.value,
            self.expiry and f"{self.expiry:%Y%m%d}",
            self.strike,
            self.right,
        ]
        return " ".join(str(part) for part in parts if part)


#: How a caller names what is meant: text is a US stock.
Symbol = str | Instrument


@dataclass(frozen=True, slots=True)
class PriceIncrement:
    """Prices at or above `low_edge` move in steps of `increment` (IB market rule, message 93)."""

    low_edge: Decimal
    increment: Decimal


class Rounding(StrEnum):
    """Which way a price goes to the tick."""

    DOWN = "down"
    UP = "up"
    NEAREST = "nearest"


@dataclass(frozen=True, slots=True)
class InstrumentDetails:
    """A qualified instrument and its exchange's rules.

    `increments` ascend by low_edge and start at 0. `min_size` and `size_increment` are in shares or contracts.
    `order_types` and `valid_exchanges` are IB's own words. `trading_hours` covers extended hours, `liquid_hours` the
    regular session, both as IB sends them ("20250102:0930-20250102:1600;20250104:CLOSED"), in `time_zone` (IANA name).
    """

    instrument: Instrument
    long_name: str = ""
    market_name: str = ""
    increments: tuple[PriceIncrement, ...] = (PriceIncrement(Decimal(0), Decimal("0.01")),)
    min_size: Decimal = Decimal(1)
    size_increment: Decimal = Decimal(1)
    order_types: frozenset[str] = frozenset()
    valid_exchanges: tuple[str, ...] = ("SMART",)
    time_zone: str = "America/New_York"
    trading_hours: str = ""
    liquid_hours: str = ""
    industry: str = ""
    category: str = ""
    subcategory: str = ""
    stock_type: str = ""
    contract_month: str = ""
    under_con_id: int | None = None
    market_rule_ids: tuple[int, ...] = ()
    identifiers: tuple[tuple[str, str], ...] = field(default=())

    def increment_at(self, price: Decimal) -> Decimal:
        """The price step in force at `price`."""
        step = self.increments[0].increment
        for row in self.increments:
            if abs(price) >= row.low_edge:
                step = row.increment
        return step

    def round_price(self, price: Decimal, rounding: Rounding) -> Decimal:
        """`price` on the tick grid of its own band."""
        step = self.increment_at(price)
        mode = {
            Rounding.DOWN: ROUND_FLOOR,
            Rounding.UP: ROUND_CEILING,
            Rounding.NEAREST: ROUND_HALF_EVEN,
        }[rounding]
        return (price / step).to_integral_value(rounding=mode) * step

    def on_tick(self, price: Decimal) -> bool:
        """Whether `price` lies on the tick grid."""
        return price % self.increment_at(price) == 0
