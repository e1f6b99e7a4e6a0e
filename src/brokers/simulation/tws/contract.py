"""A contract as the wire spells it, and the pieces that travel beside it.

Contract     the 12 identifying fields; frozen and hashable, names as in IB's Contract
CONTRACT     kind of all 12, as requests send it        CONTRACT_11  without primaryExchange, as answers send it
ComboLeg     DeltaNeutralContract     TagValue
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from .fields import ID, INT, NUMBER, QUANTITY, TEXT, Kind, Record, Row, int_or


@dataclass(frozen=True, slots=True)
class Contract:
    """IB's Contract. Empty text: not given. `strike` 0: the instrument has none (the wire has no other word)."""

    conId: int = 0
    symbol: str = ""
    secType: str = ""
    #: "YYYYMMDD", "YYYYMM" or empty
    lastTradeDateOrContractMonth: str = ""
    strike: Decimal = Decimal(0)
    #: "C", "P", "CALL", "PUT", "?", "0" or empty
    right: str = ""
    multiplier: str = ""
    exchange: str = ""
    primaryExchange: str = ""
    currency: str = ""
    localSymbol: str = ""
    tradingClass: str = ""


CONTRACT_ROWS = (
    Row("conId", INT),
    Row("symbol", TEXT),
    Row("secType", TEXT),
    Row("lastTradeDateOrContractMonth", TEXT),
    Row("strike", QUANTITY),
    Row("right", TEXT),
    Row("multiplier", TEXT),
    Row("exchange", TEXT),
    Row("primaryExchange", TEXT),
    Row("currency", TEXT),
    Row("localSymbol", TEXT),
    Row("tradingClass", TEXT),
)
#: K of reference section 2.2
CONTRACT: Kind[Contract] = Record(Contract, CONTRACT_ROWS)
#: C11 and K11: everywhere that TWS leaves primaryExchange out
CONTRACT_11: Kind[Contract] = Record(Contract, [row for row in CONTRACT_ROWS if row.name != "primaryExchange"])
#: updatePortfolio has the primary exchange and not the exchange
PORTFOLIO_CONTRACT: Kind[Contract] = Record(Contract, [row for row in CONTRACT_ROWS if row.name != "exchange"])


@dataclass(frozen=True, slots=True)
class ComboLeg:
    """One leg of a BAG. Data requests carry the first four fields, orders all eight."""

    conId: int
    ratio: int
    #: "BUY" or "SELL"
    action: str
    exchange: str
    openClose: int = 0
    shortSaleSlot: int = 0
    designatedLocation: str = ""
    exemptCode: int = -1


_LEG_ROWS = (Row("conId", ID), Row("ratio", INT), Row("action", TEXT), Row("exchange", TEXT))
DATA_LEG: Kind[ComboLeg] = Record(ComboLeg, _LEG_ROWS)
ORDER_LEG: Kind[ComboLeg] = Record(
    ComboLeg,
    (
        *_LEG_ROWS,
        Row("openClose", INT),
        Row("shortSaleSlot", INT),
        Row("designatedLocation", TEXT),
        Row("exemptCode", int_or(-1)),
    ),
)


class DeltaNeutralContract(NamedTuple):
    conId: int
    delta: float
    price: float


DELTA_NEUTRAL: Kind[DeltaNeutralContract] = Record(
    DeltaNeutralContract, (Row("conId", INT), Row("delta", NUMBER), Row("price", NUMBER))
)


class TagValue(NamedTuple):
    tag: str
    value: str


TAG_VALUE: Kind[TagValue] = Record(TagValue, (Row("tag", TEXT), Row("value", TEXT)))
