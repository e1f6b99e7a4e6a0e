"""The portal's words and numbers, as tables: strings with commas, K and M, C and H in front of prices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from ...domain.instrument import SecType
from ...domain.market_data import BarSize, BarSource, DataType
from ...domain.order import NewOrder, OrderType, PriceField, Side, TimeInForce
from ...domain.reports import BrokerStatus

#: What this door takes; any other type is refused here and never translated (fault O48).
ORDER_TYPE_WORDS: Mapping[OrderType, str] = MappingProxyType(
    {
        OrderType.MARKET: "MKT",
        OrderType.LIMIT: "LMT",
        OrderType.STOP: "STP",
        OrderType.STOP_LIMIT: "STOP_LIMIT",
        OrderType.MIDPRICE: "MIDPRICE",
    }
)
#: Types of live orders, with the long words that rows carry beside the ticket's own (P 2.5: LIMIT, Limit, MARKET).
ORDER_TYPES: Mapping[str, OrderType] = MappingProxyType(
    {
        "MKT": OrderType.MARKET,
        "MARKET": OrderType.MARKET,
        "LMT": OrderType.LIMIT,
        "LIMIT": OrderType.LIMIT,
        "STP": OrderType.STOP,
        "STOP": OrderType.STOP,
        "STOPLIMIT": OrderType.STOP_LIMIT,
        "STPLMT": OrderType.STOP_LIMIT,
        "STPLIMIT": OrderType.STOP_LIMIT,
        "MIDPRICE": OrderType.MIDPRICE,
        "MIDPX": OrderType.MIDPRICE,
        "TRAIL": OrderType.TRAIL,
        "TRAILINGSTOP": OrderType.TRAIL,
        "MOC": OrderType.MARKET_ON_CLOSE,
        "MARKETONCLOSE": OrderType.MARKET_ON_CLOSE,
        "LOC": OrderType.LIMIT_ON_CLOSE,
        "LIMITONCLOSE": OrderType.LIMIT_ON_CLOSE,
    }
)
#: Words of a contract's rules -> those of InstrumentDetails.order_types.
RULE_TYPES: Mapping[str, str] = MappingProxyType(
    {"limit": "LMT", "market": "MKT", "stop": "STP", "stop_limit": "STP LMT", "midprice": "MIDPX"}
)
#: TIFs that tickets take. A GTD order is not among them.
TIF_WORDS: Mapping[TimeInForce, str] = MappingProxyType(
    {TimeInForce.DAY: "DAY", TimeInForce.GTC: "GTC", TimeInForce.IOC: "IOC", TimeInForce.OPG: "OPG"}
)
#: Rows of live orders say CLOSE for DAY (P 2.5, recordings).
TIFS: Mapping[str, TimeInForce] = MappingProxyType(
    {"CLOSE": TimeInForce.DAY, "GTD": TimeInForce.GTD, **{word: tif for tif, word in TIF_WORDS.items()}}
)
SIDES: Mapping[str, Side] = MappingProxyType(
    {"BUY": Side.BUY, "B": Side.BUY, "BOT": Side.BUY, "SELL": Side.SELL, "S": Side.SELL, "SLD": Side.SELL}
)
#: Statuses of rows (P 2.5), and those that only placing answers.
STATUSES: Mapping[str, BrokerStatus] = MappingProxyType(
    {
        "INACTIVE": BrokerStatus.INACTIVE,
        "REJECTED": BrokerStatus.INACTIVE,
        "PENDINGSUBMIT": BrokerStatus.PENDING_SUBMIT,
        "PRESUBMITTED": BrokerStatus.PRE_SUBMITTED,
        "SUBMITTED": BrokerStatus.SUBMITTED,
        "FILLED": BrokerStatus.FILLED,
        "PENDINGCANCEL": BrokerStatus.PENDING_CANCEL,
        "PRECANCELLED": BrokerStatus.PENDING_CANCEL,
        "CANCELLED": BrokerStatus.CANCELLED,
        "WARNSTATE": BrokerStatus.PENDING_SUBMIT,
    }
)
TERMINAL = frozenset({BrokerStatus.FILLED, BrokerStatus.CANCELLED, BrokerStatus.API_CANCELLED, BrokerStatus.INACTIVE})
SEC_TYPES: Mapping[str, SecType] = MappingProxyType({kind.value: kind for kind in SecType})

#: First letter of field 6509.
DATA_TYPES: Mapping[str, DataType] = MappingProxyType(
    {"R": DataType.LIVE, "D": DataType.DELAYED, "Z": DataType.FROZEN, "Y": DataType.DELAYED_FROZEN}
)

#: Where the prices of a ticket travel: STP uses price as its stop; STOP_LIMIT price for the limit, auxPrice for the
#: stop; MIDPRICE price for its cap (P 2.5).
PRICE_KEYS: Mapping[OrderType, Mapping[PriceField, str]] = MappingProxyType(
    {
        OrderType.MARKET: {},
        OrderType.LIMIT: {PriceField.LIMIT: "price"},
        OrderType.STOP: {PriceField.STOP: "price"},
        OrderType.STOP_LIMIT: {PriceField.LIMIT: "price", PriceField.STOP: "auxPrice"},
        OrderType.MIDPRICE: {PriceField.LIMIT: "price"},
    }
)


@dataclass(frozen=True, slots=True)
class BarWords:
    """A bar size in lower case (upper case silently mis-serves), and the longest period that it may be asked for in
    one request: P 2.2's step-size table under the limit of 1000 points. `days` is that period for cutting."""

    word: str
    period: str
    days: int


BAR_WORDS: Mapping[BarSize, BarWords] = MappingProxyType(
    {
        BarSize.M1: BarWords("1min", "1d", 1),
        BarSize.M2: BarWords("2min", "1d", 1),
        BarSize.M3: BarWords("3min", "1d", 1),
        BarSize.M5: BarWords("5min", "1d", 1),
        BarSize.M10: BarWords("10min", "1w", 7),
        BarSize.M15: BarWords("15min", "1w", 7),
        BarSize.M30: BarWords("30min", "1w", 7),
        BarSize.H1: BarWords("1h", "1m", 28),
        BarSize.H2: BarWords("2h", "3m", 84),
        BarSize.H3: BarWords("3h", "3m", 84),
        BarSize.H4: BarWords("4h", "6m", 168),
        BarSize.H8: BarWords("8h", "1y", 365),
        BarSize.D1: BarWords("1d", "3y", 1095),
        BarSize.W1: BarWords("1w", "15y", 5475),
        BarSize.MONTH1: BarWords("1m", "15y", 5475),
    }
)
SOURCE_WORDS: Mapping[BarSource, str] = MappingProxyType(
    {BarSource.TRADES: "Trades", BarSource.MIDPOINT: "Midpoint", BarSource.BID_ASK: "Bid_Ask"}
)

_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")
_SCALE = {"K": Decimal(1_000), "M": Decimal(1_000_000), "B": Decimal(1_000_000_000)}


def to_number(value: Any) -> Decimal | None:
    """A number or the first number of a text, commas, C or H in front and K, M, B behind understood; None else."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        return _exact(repr(value)) if abs(value) < 1e300 else None
    text = str(value)
    found = _NUMBER.search(text)
    if found is None:
        return None
    return _exact(found[0].replace(",", ""), _SCALE.get(text[found.end() : found.end() + 1].upper(), Decimal(1)))


def _exact(text: str, scale: Decimal = Decimal(1)) -> Decimal | None:
    try:
        number = Decimal(text) * scale
    except InvalidOperation:
        return None
    if not number.is_finite():
        return None
    # 100.0 and 100 are one quantity: one spelling
    return Decimal(int(number)) if number == number.to_integral_value() else number


def to_float(value: Any) -> float | None:
    """As `to_number`, for market data."""
    number = to_number(value)
    return None if number is None else float(number)


def to_price(value: Any) -> Decimal | None:
    """A price of an order: 0, negative and empty all mean none."""
    number = to_number(value)
    return number if number is not None and number > 0 else None


def to_int(value: Any) -> int | None:
    """Numbers come as text and as numbers (P 2)."""
    number = to_number(value)
    return int(number) if number is not None and number == number.to_integral_value() else None


def to_moment(milliseconds: Any) -> datetime | None:
    """Aware UTC from epoch milliseconds."""
    number = to_number(milliseconds)
    return None if number is None else datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=float(number))


def to_order_type(word: Any) -> OrderType | None:
    return ORDER_TYPES.get(re.sub(r"[^A-Z]", "", str(word or "").upper()))


def to_status(word: Any) -> BrokerStatus | None:
    return STATUSES.get(str(word or "").replace(" ", "").upper())


def to_side(word: Any) -> Side | None:
    return SIDES.get(str(word or "").upper())


def to_tif(word: Any) -> TimeInForce | None:
    return TIFS.get(str(word or "").upper())


def number_text(value: Decimal) -> float | int:
    """A Decimal as a JSON number."""
    return int(value) if value == value.to_integral_value() else float(value)


def unsupported(intent: NewOrder) -> str | None:
    """Why this door cannot take the order; None when it can."""
    if intent.type not in ORDER_TYPE_WORDS:
        return f"the portal has no {intent.type} orders; it takes {', '.join(ORDER_TYPE_WORDS)}"
    if intent.tif not in TIF_WORDS:
        return f"the portal has no TIF {intent.tif}; it takes {', '.join(TIF_WORDS)}"
    if intent.instrument.sec_type is SecType.COMBO:
        return "combinations are not placed through the portal"
    return None
