"""IB's words and ours, as tables; the only place where Decimal meets float, and where IB's sentinels become None."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from ..domain.instrument import SecType
from ..domain.market_data import BarSize, BarSource, DataType
from ..domain.order import NewOrder, OrderType, PriceField, Side, TimeInForce
from ..domain.reports import BrokerStatus
from ..errors import InvalidRequest

#: IB's "no value" for doubles and integers on the wire, and -1 where a price or size cannot be negative.
UNSET_DOUBLE = 1.7976931348623157e308
UNSET_INTEGER = 2147483647

ORDER_TYPE_WORDS: Mapping[OrderType, str] = MappingProxyType(
    {
        OrderType.MARKET: "MKT",
        OrderType.LIMIT: "LMT",
        OrderType.STOP: "STP",
        OrderType.STOP_LIMIT: "STP LMT",
        OrderType.TRAIL: "TRAIL",
        OrderType.MARKET_ON_CLOSE: "MOC",
        OrderType.LIMIT_ON_CLOSE: "LOC",
        OrderType.MIDPRICE: "MIDPRICE",
    }
)
ORDER_TYPES: Mapping[str, OrderType] = MappingProxyType({word: kind for kind, word in ORDER_TYPE_WORDS.items()})

TIF_WORDS: Mapping[TimeInForce, str] = MappingProxyType(
    {
        TimeInForce.DAY: "DAY",
        TimeInForce.GTC: "GTC",
        TimeInForce.IOC: "IOC",
        TimeInForce.OPG: "OPG",
        TimeInForce.GTD: "GTD",
    }
)
TIFS: Mapping[str, TimeInForce] = MappingProxyType({word: tif for tif, word in TIF_WORDS.items()})

SIDE_WORDS: Mapping[Side, str] = MappingProxyType({Side.BUY: "BUY", Side.SELL: "SELL"})
#: Orders say BUY/SELL (a short sale SSHORT), executions BOT/SLD.
SIDES: Mapping[str, Side] = MappingProxyType(
    {"BUY": Side.BUY, "SELL": Side.SELL, "SSHORT": Side.SELL, "BOT": Side.BUY, "SLD": Side.SELL}
)

STATUS_WORDS: Mapping[str, BrokerStatus] = MappingProxyType({status.value: status for status in BrokerStatus})

SEC_TYPE_WORDS: Mapping[str, SecType] = MappingProxyType({kind.value: kind for kind in SecType})


class PriceSlot(StrEnum):
    """Price fields of an IB order, in IB's spelling."""

    LIMIT = "lmtPrice"
    AUX = "auxPrice"
    TRAIL_STOP = "trailStopPrice"
    TRAILING_PERCENT = "trailingPercent"


#: Where each price of an intent travels. STP's trigger and TRAIL's distance both use auxPrice; a MIDPRICE's limit is
#: its cap. A price that is not in the row does not exist for that type.
PRICE_SLOTS: Mapping[OrderType, Mapping[PriceField, PriceSlot]] = MappingProxyType(
    {
        OrderType.MARKET: {},
        OrderType.LIMIT: {PriceField.LIMIT: PriceSlot.LIMIT},
        OrderType.STOP: {PriceField.STOP: PriceSlot.AUX},
        OrderType.STOP_LIMIT: {PriceField.STOP: PriceSlot.AUX, PriceField.LIMIT: PriceSlot.LIMIT},
        OrderType.TRAIL: {
            PriceField.TRAIL_AMOUNT: PriceSlot.AUX,
            PriceField.TRAIL_PERCENT: PriceSlot.TRAILING_PERCENT,
            PriceField.STOP: PriceSlot.TRAIL_STOP,
        },
        OrderType.MARKET_ON_CLOSE: {},
        OrderType.LIMIT_ON_CLOSE: {PriceField.LIMIT: PriceSlot.LIMIT},
        OrderType.MIDPRICE: {PriceField.LIMIT: PriceSlot.LIMIT},
    }
)

DATA_TYPES: Mapping[int, DataType] = MappingProxyType(
    {1: DataType.LIVE, 2: DataType.FROZEN, 3: DataType.DELAYED, 4: DataType.DELAYED_FROZEN}
)
DATA_TYPE_CODES: Mapping[DataType, int] = MappingProxyType({kind: code for code, kind in DATA_TYPES.items()})
DELAYED_TYPES = frozenset({DataType.DELAYED, DataType.DELAYED_FROZEN})

#: Tick type -> the quote's field that it changes (live and delayed ticks go to the same field; fault D04).
TICK_FIELDS: Mapping[int, str] = MappingProxyType(
    {
        0: "bid_size",
        1: "bid",
        2: "ask",
        3: "ask_size",
        4: "last",
        5: "last_size",
        6: "high",
        7: "low",
        8: "volume",
        9: "close",
        14: "open",
        49: "halted",
        66: "bid",
        67: "ask",
        68: "last",
        69: "bid_size",
        70: "ask_size",
        71: "last_size",
        72: "high",
        73: "low",
        74: "volume",
        75: "close",
        76: "open",
        90: "halted",
    }
)

#: Delayed tick type -> the live one with the same meaning.
DELAYED_TICKS: Mapping[int, int] = MappingProxyType(
    {66: 1, 67: 2, 68: 4, 69: 0, 70: 3, 71: 5, 72: 6, 73: 7, 74: 8, 75: 9, 76: 14, 88: 45, 90: 49}
)

BAR_SIZE_WORDS: Mapping[BarSize, str] = MappingProxyType({size: size.value for size in BarSize})
WHAT_TO_SHOW: Mapping[BarSource, str] = MappingProxyType({source: source.value for source in BarSource})

#: The longest stretch that one request may cover, by bar size, in IB's spelling and as a time span
#: (TWS API, "Historical Bar Data", step sizes). Longer series are asked for in chunks.
LONGEST_REQUEST: Mapping[BarSize, tuple[str, timedelta]] = MappingProxyType(
    {
        BarSize.S1: ("1800 S", timedelta(seconds=1800)),
        BarSize.S5: ("3600 S", timedelta(seconds=3600)),
        BarSize.S10: ("14400 S", timedelta(seconds=14_400)),
        BarSize.S15: ("14400 S", timedelta(seconds=14_400)),
        BarSize.S30: ("28800 S", timedelta(seconds=28_800)),
        BarSize.M1: ("1 D", timedelta(days=1)),
        BarSize.M2: ("2 D", timedelta(days=2)),
        BarSize.M3: ("1 W", timedelta(days=7)),
        BarSize.M5: ("1 W", timedelta(days=7)),
        BarSize.M10: ("1 W", timedelta(days=7)),
        BarSize.M15: ("1 W", timedelta(days=7)),
        BarSize.M20: ("1 W", timedelta(days=7)),
        BarSize.M30: ("1 M", timedelta(days=28)),
        BarSize.H1: ("1 M", timedelta(days=28)),
        BarSize.H2: ("1 M", timedelta(days=28)),
        BarSize.H3: ("1 M", timedelta(days=28)),
        BarSize.H4: ("1 M", timedelta(days=28)),
        BarSize.H8: ("1 M", timedelta(days=28)),
        BarSize.D1: ("1 Y", timedelta(days=365)),
        BarSize.W1: ("1 Y", timedelta(days=365)),
        BarSize.MONTH1: ("1 Y", timedelta(days=365)),
    }
)


def to_float(value: Decimal | None) -> float:
    """A Decimal for the wire; None becomes IB's unset double."""
    return UNSET_DOUBLE if value is None else float(value)


def is_unset(value: float | int | None) -> bool:
    """Whether IB gave no value: None, NaN, infinity, or one of its sentinels."""
    if value is None:
        return True
    return not math.isfinite(value) or abs(value) >= UNSET_DOUBLE or value == UNSET_INTEGER


#: Whole floats below this are what their digits say.
_EXACT = 1e15


def to_decimal(value: float | str | Decimal | None) -> Decimal | None:
    """Exact Decimal of a number from the wire by its shortest text; None where IB gave none. A signed quantity or
    an amount of money: 0 and -1 are numbers here."""
    if value is None or value == "":
        return None
    if value.__class__ is float and -_EXACT < value < _EXACT and value.is_integer():
        return Decimal(int(value))
    if isinstance(value, Decimal):
        return value if value.is_finite() and abs(value) < Decimal("1e300") else None
    try:
        number = float(value)
    except ValueError:
        return None
    if is_unset(number):
        return None
    exact = Decimal(value) if isinstance(value, str) else Decimal(repr(number))
    # 100.0 and 1E+2 are both the quantity 100: one spelling, so that texts compare as numbers do
    return Decimal(int(exact)) if exact == exact.to_integral_value() else exact


def decimal_or_zero(value: float | str | None) -> Decimal:
    """As `to_decimal`, for fields that IB always fills (filled, remaining)."""
    number = to_decimal(value)
    return Decimal(0) if number is None else number


def to_order_price(value: float | str | None) -> Decimal | None:
    """A price field of an order: 0, negative and unset all mean "none" (no order type here has a price of 0)."""
    number = to_decimal(value)
    return number if number is not None and number > 0 else None


def to_market_price(value: float | None) -> float | None:
    """A price of market data: None for IB's -1, 0, NaN, infinity and unset double (fault D06)."""
    # comparing with NaN is False, so one chained comparison finds every sentinel
    return value if value is not None and 0 < value < UNSET_DOUBLE else None


def to_market_size(value: float | None) -> float | None:
    """A size of market data; 0 is a size, -1, NaN and the unset numbers are none."""
    return value if value is not None and 0 <= value < UNSET_DOUBLE and value != UNSET_INTEGER else None


def to_halted(value: float | None) -> bool | None:
    """IB tick 49: 0 trading, 1 general halt, 2 volatility halt, -1 not told."""
    if value is None or is_unset(value) or value < 0:
        return None
    return value > 0


def order_prices(intent: NewOrder) -> dict[PriceSlot, float]:
    """The price fields of `intent` as IB takes them; every slot is there, unset ones with IB's sentinel."""
    prices = dict.fromkeys(PriceSlot, UNSET_DOUBLE)
    for ours, slot in PRICE_SLOTS[intent.type].items():
        value: Decimal | None = getattr(intent, ours.value)
        if value is not None:
            prices[slot] = float(value)
    return prices


def intent_prices(kind: OrderType | None, prices: Mapping[PriceSlot, float | None]) -> dict[PriceField, Decimal]:
    """The reverse of `order_prices`: only prices that the type uses and IB filled."""
    if kind is None:
        return {}
    found: dict[PriceField, Decimal] = {}
    for ours, slot in PRICE_SLOTS[kind].items():
        value = to_order_price(prices.get(slot))
        if value is not None:
            found[ours] = value
    if PriceField.TRAIL_PERCENT in found:
        # IB echoes the distance in auxPrice beside the percentage that made it
        found.pop(PriceField.TRAIL_AMOUNT, None)
    return found


def ib_time(moment: datetime | None) -> str:
    """`yyyymmdd-hh:mm:ss` in UTC, the form that needs no zone (fault H06); empty for None, which IB reads as now."""
    if moment is None:
        return ""
    if moment.tzinfo is None:
        raise InvalidRequest(f"time {moment.isoformat()}", "it carries no time zone", "use an aware datetime")
    return moment.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S")


def duration_words(span: timedelta, size: BarSize) -> str:
    """The shortest duration in IB's spelling that covers `span` for bars of `size`: seconds up to one day for
    intraday bars, then days up to a year, then years."""
    seconds = max(math.ceil(span.total_seconds()), size.seconds, 1)
    if size.is_intraday and seconds <= 86_400:
        return f"{max(seconds, 30)} S"
    days = math.ceil(seconds / 86_400)
    return f"{days} D" if days <= 365 else f"{math.ceil(days / 365)} Y"
