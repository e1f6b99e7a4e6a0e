"""Instruments as the portal's contract endpoints show them: rows of JSON, with the keys of IB's own answers."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ...domain.instrument import InstrumentDetails, SecType
from ..contracts import derived_con_id
from .figures import price_digits

#: IB's words for order types (contractData) -> the portal's. Others cannot be placed at this door.
ORDER_TYPES = {"LMT": "limit", "MIDPX": "midprice", "MKT": "market", "STP": "stop", "STPLMT": "stop_limit"}
TIF_TYPES = ("DAY/o,a", "GTC/o,a")
#: The ticket's preset for stocks. Not a lot size: one share trades (fault O49).
PRESET_SIZE = 100
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_UNITED_STATES = frozenset(("NASDAQ", "NYSE", "ARCA", "AMEX", "BATS", "IEX", "CBOE", "CME", "CBOT", "NYMEX"))


def month_word(details: InstrumentDetails) -> str:
    """ "JUN26"; "" without an expiry."""
    expiry = details.instrument.expiry
    return "" if expiry is None else f"{_MONTHS[expiry.month - 1]}{expiry:%y}"


def listing_exchange(details: InstrumentDetails) -> str:
    return details.instrument.primary_exchange or details.instrument.exchange


def description(details: InstrumentDetails) -> str:
    """ "AAPL", "MES Jun18'26 (5)", "AAPL Jun18'26 270 CALL"."""
    instrument = details.instrument
    if instrument.expiry is None:
        return instrument.symbol
    words = [instrument.symbol, f"{instrument.expiry:%b%d'%y}"]
    if instrument.strike is not None:
        words += [f"{instrument.strike.normalize():f}", "CALL" if instrument.right == "C" else "PUT"]
    else:
        words.append(f"({instrument.multiplier:f})")
    return " ".join(words)


def underlying_id(details: InstrumentDetails) -> int:
    """The underlying's conid; for a future whose underlying is no instrument here, a number of our own."""
    if details.under_con_id is not None:
        return details.under_con_id
    if details.instrument.sec_type is SecType.FUTURE:
        return derived_con_id(f"{details.instrument.symbol} index")
    return 0


def _multiplier(details: InstrumentDetails) -> str | None:
    stock = details.instrument.sec_type is SecType.STOCK
    return None if stock else f"{details.instrument.multiplier.normalize():f}"


def _expiry(details: InstrumentDetails) -> str | None:
    expiry = details.instrument.expiry
    return None if expiry is None else f"{expiry:%Y%m%d}"


def stock_row(details: InstrumentDetails) -> dict[str, Any]:
    """A company in /trsrv/stocks."""
    exchange = listing_exchange(details)
    return {
        "name": details.long_name,
        "chineseName": None,
        "assetClass": details.instrument.sec_type.value,
        "contracts": [
            {"conid": details.instrument.con_id, "exchange": exchange, "isUS": exchange in _UNITED_STATES},
        ],
    }


def future_row(details: InstrumentDetails) -> dict[str, Any]:
    """A future in /trsrv/futures; dates as numbers."""
    expires = int(_expiry(details) or 0)
    return {
        "symbol": details.instrument.symbol,
        "conid": details.instrument.con_id,
        "underlyingConid": underlying_id(details),
        "expirationDate": expires,
        "ltd": expires,
        "shortFuturesCutOff": expires,
        "longFuturesCutOff": expires,
    }


def definition_row(details: InstrumentDetails) -> dict[str, Any]:
    """An instrument in /trsrv/secdef; `strike` is text, "0" without one."""
    instrument = details.instrument
    stock = instrument.sec_type is SecType.STOCK
    return {
        "conid": instrument.con_id,
        "currency": instrument.currency,
        "time": 0,
        "chineseName": None,
        "allExchanges": ",".join(details.valid_exchanges),
        "listingExchange": listing_exchange(details),
        "countryCode": "US",
        "name": details.long_name,
        "assetClass": instrument.sec_type.value,
        "expiry": _expiry(details),
        "lastTradingDay": _expiry(details),
        "group": details.category or None,
        "putOrCall": instrument.right,
        "sector": details.industry or None,
        "sectorGroup": details.subcategory or None,
        "strike": "0" if instrument.strike is None else f"{instrument.strike.normalize():f}",
        "ticker": instrument.symbol,
        "undConid": underlying_id(details),
        "multiplier": 0.0 if stock else float(instrument.multiplier),
        "type": details.stock_type or instrument.sec_type.value,
        "hasOptions": False,
        "fullName": description(details),
        "isUS": listing_exchange(details) in _UNITED_STATES,
        "incrementRules": [
            {"lowerEdge": float(row.low_edge), "increment": float(row.increment)} for row in details.increments
        ],
    }


def info_row(details: InstrumentDetails) -> dict[str, Any]:
    """/iserver/contract/{conid}/info."""
    return _common_info(details) | {
        "contract_clarification_type": None,
        "classifier": None,
        "text": None if details.instrument.sec_type is SecType.STOCK else description(details),
        "multiplier": _multiplier(details),
        "underlying_issuer": None,
        "contract_month": details.contract_month or None,
    }


def info_with_rules(details: InstrumentDetails, price: Decimal | None) -> dict[str, Any]:
    """/iserver/contract/{conid}/info-and-rules."""
    row = _common_info(details)
    if details.instrument.sec_type is SecType.STOCK:
        row |= {"industry": details.category, "category": details.category}
    else:
        row |= {"multiplier": _multiplier(details), "contract_month": details.contract_month or None}
    rules = _rules(details, price) | {"tifTypes": list(TIF_TYPES), "preview": True}
    return row | {"rules": rules}


def _common_info(details: InstrumentDetails) -> dict[str, Any]:
    instrument = details.instrument
    return {
        "cfi_code": "",
        "symbol": instrument.symbol,
        "cusip": None,
        "expiry_full": _expiry(details),
        "con_id": instrument.con_id,
        "maturity_date": _expiry(details),
        "instrument_type": instrument.sec_type.value,
        "has_related_contracts": True,
        "trading_class": instrument.trading_class or instrument.symbol,
        "valid_exchanges": ",".join(details.valid_exchanges),
        "allow_sell_long": False,
        "is_zero_commission_security": False,
        "local_symbol": instrument.local_symbol or instrument.symbol,
        "currency": instrument.currency,
        "underlying_con_id": underlying_id(details),
        "r_t_h": True,
        "company_name": details.long_name,
        "smart_available": "SMART" in details.valid_exchanges,
        "exchange": instrument.exchange,
    }


def _rules(details: InstrumentDetails, price: Decimal | None) -> dict[str, Any]:
    """What a ticket is prefilled with; `price` both as limit and as stop, None before the first one."""
    stock = details.instrument.sec_type is SecType.STOCK
    increment = details.increment_at(price) if price is not None else details.increments[-1].increment
    shown = None if price is None else float(price)
    return {
        "algoEligible": True,
        "allOrNoneEligible": True,
        "orderTypes": [word for word in ORDER_TYPES.values() if word in order_words(details)],
        "defaultSize": PRESET_SIZE if stock else 1,
        "cashSize": 0.0,
        "sizeIncrement": PRESET_SIZE if stock else 1,
        "limitPrice": shown,
        "stopprice": shown,
        "cashCcy": details.instrument.currency,
        "increment": float(increment),
        "incrementDigits": price_digits(details),
    }


def rules_row(details: InstrumentDetails, price: Decimal | None, accounts: Sequence[str]) -> dict[str, Any]:
    """/iserver/contract/rules."""
    return _rules(details, price) | {
        "costReport": False,
        "canTradeAcctIds": list(accounts),
        "error": None,
        "hasSecondary": True,
        "negativeCapable": False,
    }


def order_words(details: InstrumentDetails) -> frozenset[str]:
    """The portal's words for the order types that the instrument takes at this door."""
    return frozenset(word for name, word in ORDER_TYPES.items() if name in details.order_types)


def derivative_row(details: InstrumentDetails, exchange: str) -> dict[str, Any]:
    """A contract in /iserver/secdef/info."""
    instrument = details.instrument
    shown = exchange or instrument.exchange
    right = {"C": "Call", "P": "Put"}.get(instrument.right or "", "")
    strike = "" if instrument.strike is None else f" {instrument.strike.normalize():f} {right}"
    month = month_word(details)
    return {
        "conid": instrument.con_id,
        "symbol": instrument.symbol,
        "secType": instrument.sec_type.value,
        "exchange": shown,
        "listingExchange": instrument.primary_exchange,
        "right": instrument.right or "?",
        "strike": float(instrument.strike or 0),
        "currency": instrument.currency,
        "cusip": None,
        "coupon": "No Coupon",
        "desc1": instrument.symbol,
        "desc2": f"{month}{strike}".strip() or details.long_name,
        "maturityDate": _expiry(details),
        "multiplier": _multiplier(details),
        "tradingClass": instrument.trading_class or instrument.symbol,
        "validExchanges": ",".join(details.valid_exchanges),
    }
