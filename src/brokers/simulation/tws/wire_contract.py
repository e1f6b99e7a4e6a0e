"""From the catalogue's instruments to contracts as TWS words them, and from what a client asked for to instruments.

wire_contract(instrument, exchange)      Contract as answers carry it
find(catalogue, contract)                every instrument that fits a client's description
resolve(catalogue, contract)             the one; raises Refusal 200 or 321 as TWS answers
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from ...domain.instrument import Instrument, InstrumentDetails, SecType
from .contract import Contract
from .session import Refusal

NOT_FOUND = "No security definition has been found for the request"
#: Names of one and the same exchange.
_SAME_EXCHANGE = {"ISLAND": "NASDAQ", "GLOBEX": "CME", "ECBOT": "CBOT"}
#: Security types that IB knows; the catalogue may hold fewer.
SECURITY_TYPES = frozenset(
    [
        "STK",
        "OPT",
        "FUT",
        "CONTFUT",
        "FOP",
        "IND",
        "CASH",
        "BOND",
        "BAG",
        "CFD",
        "CMDTY",
        "FUND",
        "WAR",
        "IOPT",
        "NEWS",
        "CRYPTO",
        "EVENT",
        "PHYSS",
    ]
)


def wire_contract(instrument: Instrument, exchange: str | None = None) -> Contract:
    """`exchange` None: the instrument's own route."""
    derivative = instrument.sec_type not in (SecType.STOCK, SecType.INDEX, SecType.FOREX)
    return Contract(
        conId=instrument.con_id or 0,
        symbol=instrument.symbol,
        secType=instrument.sec_type.value,
        lastTradeDateOrContractMonth=f"{instrument.expiry:%Y%m%d}" if instrument.expiry else "",
        strike=instrument.strike or Decimal(0),
        right=instrument.right or "",
        multiplier=f"{instrument.multiplier:f}" if derivative else "",
        exchange=instrument.exchange if exchange is None else exchange,
        primaryExchange=instrument.primary_exchange or "",
        currency=instrument.currency,
        localSymbol=instrument.local_symbol or instrument.symbol,
        tradingClass=instrument.trading_class or instrument.symbol,
    )


def find(catalogue: Iterable[InstrumentDetails], wanted: Contract) -> list[InstrumentDetails]:
    """Fields that the client left empty fit everything; a conId alone is enough."""
    if wanted.conId:
        return [row for row in catalogue if row.instrument.con_id == wanted.conId and _fits_route(row, wanted)]
    symbol, local = wanted.symbol.upper().replace(".", " "), wanted.localSymbol.upper()
    if not symbol and not local:
        return []
    return [
        row
        for row in catalogue
        if symbol in ("", row.instrument.symbol)
        and local in ("", (row.instrument.local_symbol or row.instrument.symbol).upper())
        and _fits(row, wanted)
    ]


def resolve(catalogue: Iterable[InstrumentDetails], wanted: Contract) -> InstrumentDetails:
    """Raises Refusal: 321 for a security type that IB does not have, 200 for none or several."""
    check_security_type(wanted)
    candidates = find(catalogue, wanted)
    if not candidates:
        raise Refusal(200, NOT_FOUND)
    if len(candidates) > 1:
        raise Refusal(200, f"The contract description specified for {wanted.symbol} is ambiguous.")
    return candidates[0]


def check_security_type(wanted: Contract) -> None:
    if wanted.secType not in SECURITY_TYPES and not (wanted.conId and not wanted.secType):
        raise Refusal(321, "Error validating request.-'bH' : cause - Please enter a valid security type")


def routed(details: InstrumentDetails, wanted: Contract) -> Contract:
    """The catalogue's contract on the route that the client asked for."""
    return wire_contract(details.instrument, wanted.exchange or details.instrument.exchange)


def _exchange(name: str) -> str:
    return _SAME_EXCHANGE.get(name.upper(), name.upper())


def _fits(details: InstrumentDetails, wanted: Contract) -> bool:
    own = wire_contract(details.instrument)
    pairs = (
        (_SAME_TYPE.get(wanted.secType, wanted.secType), own.secType),
        (wanted.currency.upper(), own.currency),
        (wanted.tradingClass.upper(), own.tradingClass.upper()),
        (wanted.right[:1].upper().strip("?0"), own.right),
        (wanted.multiplier, own.multiplier),
    )
    if any(given and given != ours for given, ours in pairs):
        return False
    if wanted.strike and wanted.strike != own.strike:
        return False
    if not own.lastTradeDateOrContractMonth.startswith(wanted.lastTradeDateOrContractMonth):
        return False
    return _fits_route(details, wanted)


_SAME_TYPE = {"CONTFUT": "FUT"}


def _fits_route(details: InstrumentDetails, wanted: Contract) -> bool:
    own = details.instrument
    primary = _exchange(own.primary_exchange or "")
    routes = {_exchange(name) for name in (*details.valid_exchanges, own.exchange)} | {primary}
    if wanted.exchange and _exchange(wanted.exchange) not in routes:
        return False
    return not (
        wanted.primaryExchange and _exchange(wanted.primaryExchange) not in (routes if not primary else {primary})
    )
