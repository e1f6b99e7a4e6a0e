"""The portal's words for orders: types, times in force, states. Source: client-portal.md section 2.5 and recordings."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ...domain.order import OrderType, Side, TimeInForce
from ...domain.reports import BrokerStatus


@dataclass(frozen=True, slots=True)
class TypeWords:
    """`wire` is the ticket's orderType, `original` the row's origOrderType, `shown` its orderType."""

    wire: str
    original: str
    shown: str


TYPES: dict[OrderType, TypeWords] = {
    OrderType.MARKET: TypeWords("MKT", "MARKET", "Market"),
    OrderType.LIMIT: TypeWords("LMT", "LIMIT", "Limit"),
    OrderType.STOP: TypeWords("STP", "STOP", "Stop"),
    OrderType.STOP_LIMIT: TypeWords("STOP_LIMIT", "STOP_LIMIT", "Stop Limit"),
    OrderType.TRAIL: TypeWords("TRAIL", "TRAIL", "Trailing Stop"),
    OrderType.MARKET_ON_CLOSE: TypeWords("MOC", "MARKETONCLOSE", "Market On Close"),
    OrderType.LIMIT_ON_CLOSE: TypeWords("LOC", "LIMITONCLOSE", "Limit On Close"),
    OrderType.MIDPRICE: TypeWords("MIDPRICE", "MIDPRICE", "MidPrice"),
}
#: orderType of a ticket -> the exchange's; anything else is refused.
TYPES_TAKEN: dict[str, OrderType] = {
    **{words.wire: kind for kind, words in TYPES.items()},
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "STOP": OrderType.STOP,
    "STP LMT": OrderType.STOP_LIMIT,
    "STPLMT": OrderType.STOP_LIMIT,
    "STP_LIMIT": OrderType.STOP_LIMIT,
}
SIDES_TAKEN: dict[str, Side] = {"BUY": Side.BUY, "SELL": Side.SELL, "B": Side.BUY, "S": Side.SELL}

#: A row's timeInForce. A day order reads CLOSE.
TIF_SHOWN: dict[TimeInForce, str] = {
    TimeInForce.DAY: "CLOSE",
    TimeInForce.GTC: "GTC",
    TimeInForce.IOC: "IOC",
    TimeInForce.OPG: "OPG",
    TimeInForce.GTD: "GTD",
}
#: The last word of orderDesc.
TIF_TOLD: dict[TimeInForce, str] = {**TIF_SHOWN, TimeInForce.DAY: "Day"}

#: The exchange's status -> the portal's.
STATUS: dict[BrokerStatus, str] = {
    BrokerStatus.PENDING_SUBMIT: "PendingSubmit",
    BrokerStatus.API_PENDING: "PendingSubmit",
    BrokerStatus.PENDING_CANCEL: "PendingCancel",
    BrokerStatus.PRE_SUBMITTED: "PreSubmitted",
    BrokerStatus.SUBMITTED: "Submitted",
    BrokerStatus.API_CANCELLED: "Cancelled",
    BrokerStatus.CANCELLED: "Cancelled",
    BrokerStatus.FILLED: "Filled",
    BrokerStatus.INACTIVE: "Inactive",
}
#: (background, text) of a row, by status; IB colours rows for its own screens.
COLOURS: dict[str, tuple[str, str]] = {
    "Filled": ("#FFFFFF", "#000000"),
    "Submitted": ("#000000", "#00F000"),
    "PreSubmitted": ("#000000", "#3399CC"),
    "Inactive": ("#000000", "#FF0000"),
}
COLOURS_ELSE = ("#FFFFFF", "#AFAFAF")
_FINEST = Decimal("1E-8")
#: What `filters` may name besides statuses: the newest first.
SORT_BY_TIME = "sortbytime"


def filter_word(text: str) -> str:
    """ "pre_submitted" and "PreSubmitted" are the same filter."""
    return text.strip().replace("_", "").lower()


def plain(value: Decimal) -> str:
    """A number without an exponent or trailing zeros: "5", "192.26"."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def price(value: Decimal | None) -> str:
    """A price with two to eight decimals: "165.00", "0.0125"; "" for none."""
    if value is None:
        return ""
    exact = value.quantize(_FINEST).normalize()
    return f"{exact:.2f}" if exact.as_tuple().exponent >= -2 else f"{exact:f}"  # type: ignore[operator]
