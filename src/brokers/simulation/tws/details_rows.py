"""Rows of contractDetails (10) and bondContractDetails (18); builders in `orders_out`. Reference section 2.5.

Not one contiguous contract: TWS scatters its fields, and each message drops some.
"""

from __future__ import annotations

from .contract import TAG_VALUE
from .fields import BOOL, ESCAPED, ID, INT, NUMBER, QUANTITY, TEXT, Const, Counted, Row

_SIZES = (
    Row("minSize", QUANTITY, since=164, default=1),
    Row("sizeIncrement", QUANTITY, since=164, default=1),
    Row("suggestedSizeIncrement", QUANTITY, since=164, default=100),
)
#: mdSizeMultiplier, obsolete: lots are gone
_MD_SIZE_MULTIPLIER = Row("", Const("1"), until=163)

CONTRACT_DETAILS_ROWS: tuple[Row, ...] = (
    Row("reqId", ID),
    Row("symbol", TEXT),
    Row("secType", TEXT),
    Row("lastTradeDateOrContractMonth", TEXT, default=""),
    Row("strike", QUANTITY, default=0),
    Row("right", TEXT, default=""),
    Row("exchange", TEXT),
    Row("currency", TEXT),
    Row("localSymbol", TEXT),
    Row("marketName", TEXT, default=""),
    Row("tradingClass", TEXT),
    Row("conId", ID),
    Row("minTick", NUMBER),
    _MD_SIZE_MULTIPLIER,
    Row("multiplier", TEXT, default=""),
    Row("orderTypes", TEXT),
    Row("validExchanges", TEXT),
    Row("priceMagnifier", INT, default=1),
    Row("underConId", INT, default=0),
    Row("longName", ESCAPED),
    Row("primaryExchange", TEXT, default=""),
    Row("contractMonth", TEXT, default=""),
    Row("industry", TEXT, default=""),
    Row("category", TEXT, default=""),
    Row("subcategory", TEXT, default=""),
    Row("timeZoneId", TEXT),
    Row("tradingHours", TEXT),
    Row("liquidHours", TEXT),
    Row("evRule", TEXT, default=""),
    Row("evMultiplier", NUMBER, default=0),
    Row("secIdList", Counted(TAG_VALUE), default=()),
    Row("aggGroup", INT, default=1),
    Row("underSymbol", TEXT, default=""),
    Row("underSecType", TEXT, default=""),
    Row("marketRuleIds", TEXT),
    Row("realExpirationDate", TEXT, default=""),
    Row("stockType", TEXT, default=""),
    Row("suggestedSizeIncrement", QUANTITY, since=163, until=163, default=100),
    *_SIZES,
)

BOND_DETAILS_ROWS: tuple[Row, ...] = (
    Row("reqId", ID),
    Row("symbol", TEXT),
    Row("secType", TEXT),
    Row("cusip", TEXT),
    #: percent a year
    Row("coupon", NUMBER),
    Row("maturity", TEXT),
    Row("issueDate", TEXT, default=""),
    Row("ratings", TEXT, default=""),
    Row("bondType", TEXT, default=""),
    Row("couponType", TEXT, default=""),
    Row("convertible", BOOL, default=False),
    Row("callable", BOOL, default=False),
    Row("putable", BOOL, default=False),
    Row("descAppend", TEXT, default=""),
    Row("exchange", TEXT),
    Row("currency", TEXT),
    Row("marketName", TEXT, default=""),
    Row("tradingClass", TEXT),
    Row("conId", ID),
    Row("minTick", NUMBER),
    _MD_SIZE_MULTIPLIER,
    Row("orderTypes", TEXT),
    Row("validExchanges", TEXT),
    Row("nextOptionDate", TEXT, default=""),
    Row("nextOptionType", TEXT, default=""),
    Row("nextOptionPartial", BOOL, default=False),
    Row("notes", TEXT, default=""),
    Row("longName", ESCAPED),
    Row("evRule", TEXT, default=""),
    Row("evMultiplier", NUMBER, default=0),
    Row("secIdList", Counted(TAG_VALUE), default=()),
    Row("aggGroup", INT, default=1),
    Row("marketRuleIds", TEXT),
    *_SIZES,
)
