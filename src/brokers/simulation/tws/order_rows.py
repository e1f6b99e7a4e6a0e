"""Rows of openOrder (5) and completedOrder (101), conditional sections included; builders in `orders_out`.

Names are those of `PlaceOrderRequest` and `OrderState`. What real TWS does and these rows keep: the literal "None"
for an absent deltaNeutralOrderType or adjustedOrderType, so that the delta neutral block is there for every order;
"0" for an absent limit or stop price; trailStopPrice twice. Reference section 2.6.
"""

from __future__ import annotations

from .conditions import CONDITION
from .contract import CONTRACT_11, DELTA_NEUTRAL, ORDER_LEG, TAG_VALUE
from .fields import (
    BOOL,
    ESCAPED,
    ID,
    INT,
    LONG,
    MAX_NUMBER,
    OFFSET,
    OPT_DECIMAL,
    OPT_INT,
    QUANTITY,
    TEXT,
    Const,
    Counted,
    Kind,
    Maybe,
    Row,
    Scalar,
    int_or,
)
from .orders_in import has_algo, has_conditions, is_hedge, is_peg_bench, is_scaled

#: Text that TWS writes as "None" when there is none.
NONE_TEXT: Kind[str] = Scalar(lambda text: "" if text == "None" else text, lambda value: value or "None")

_WHAT = (
    Row("contract", CONTRACT_11),
    Row("action", TEXT),
    Row("totalQuantity", QUANTITY),
    Row("orderType", TEXT),
    Row("lmtPrice", QUANTITY),
    Row("auxPrice", QUANTITY),
    Row("tif", TEXT),
    Row("ocaGroup", TEXT),
    Row("account", TEXT),
    Row("openClose", TEXT),
    Row("origin", INT),
    Row("orderRef", TEXT),
)

_ADVISOR = (
    Row("faGroup", TEXT),
    Row("faMethod", TEXT),
    Row("faPercentage", TEXT),
    Row("faProfile", TEXT, until=176),
    Row("modelCode", TEXT),
    Row("goodTillDate", TEXT),
    Row("rule80A", TEXT),
    Row("percentOffset", OPT_DECIMAL),
    Row("settlingFirm", TEXT),
    Row("shortSaleSlot", INT),
    Row("designatedLocation", TEXT),
    Row("exemptCode", int_or(-1)),
)

_BOX_PEG = (
    Row("startingPrice", OPT_DECIMAL),
    Row("stockRefPrice", OPT_DECIMAL),
    Row("delta", OPT_DECIMAL),
    Row("stockRangeLower", OPT_DECIMAL),
    Row("stockRangeUpper", OPT_DECIMAL),
    Row("displaySize", INT),
)

_VOLATILITY = (
    Row("volatility", OPT_DECIMAL),
    Row("volatilityType", OPT_INT),
    Row("deltaNeutralOrderType", NONE_TEXT),
    Row("deltaNeutralAuxPrice", OPT_DECIMAL),
)

_TRAIL = (
    Row("continuousUpdate", BOOL),
    Row("referencePriceType", OPT_INT),
    Row("trailStopPrice", OPT_DECIMAL),
    Row("trailingPercent", OPT_DECIMAL),
)

_COMBO_AND_SCALE = (
    Row("comboLegsDescrip", TEXT, default=""),
    Row("comboLegs", Counted(ORDER_LEG)),
    Row("orderComboLegs", Counted(OPT_DECIMAL)),
    Row("smartComboRoutingParams", Counted(TAG_VALUE)),
    Row("scaleInitLevelSize", OPT_INT),
    Row("scaleSubsLevelSize", OPT_INT),
    Row("scalePriceIncrement", OPT_DECIMAL),
    Row("scalePriceAdjustValue", OPT_DECIMAL, when=is_scaled),
    Row("scalePriceAdjustInterval", OPT_INT, when=is_scaled),
    Row("scaleProfitOffset", OPT_DECIMAL, when=is_scaled),
    Row("scaleAutoReset", BOOL, when=is_scaled),
    Row("scaleInitPosition", OPT_INT, when=is_scaled),
    Row("scaleInitFillQty", OPT_INT, when=is_scaled),
    Row("scaleRandomPercent", BOOL, when=is_scaled),
    Row("hedgeType", TEXT),
    Row("hedgeParam", TEXT, when=is_hedge),
)

_CLEARING_AND_ALGO = (
    Row("clearingAccount", TEXT),
    Row("clearingIntent", TEXT),
    Row("notHeld", BOOL),
    Row("deltaNeutralContract", Maybe(DELTA_NEUTRAL)),
    Row("algoStrategy", TEXT),
    Row("algoParams", Counted(TAG_VALUE), when=has_algo),
    Row("solicited", BOOL),
)

_PEG_BENCH_AND_CONDITIONS = (
    Row("randomizeSize", BOOL),
    Row("randomizePrice", BOOL),
    Row("referenceContractId", INT, when=is_peg_bench),
    Row("isPeggedChangeAmountDecrease", BOOL, when=is_peg_bench),
    Row("peggedChangeAmount", QUANTITY, when=is_peg_bench),
    Row("referenceChangeAmount", QUANTITY, when=is_peg_bench),
    Row("referenceExchangeId", TEXT, when=is_peg_bench),
    Row("conditions", Counted(CONDITION)),
    Row("conditionsIgnoreRth", BOOL, when=has_conditions),
    Row("conditionsCancelOrder", BOOL, when=has_conditions),
)

_PEG_BEST = (
    Row("minTradeQty", OPT_INT, since=170),
    Row("minCompeteSize", OPT_INT, since=170),
    Row("competeAgainstBestOffset", OFFSET, since=170),
    Row("midOffsetAtWhole", OPT_DECIMAL, since=170),
    Row("midOffsetAtHalf", OPT_DECIMAL, since=170),
)

_MARGINS = tuple(
    Row(f"{figure}{moment}", MAX_NUMBER)
    for moment in ("Before", "Change", "After")
    for figure in ("initMargin", "maintMargin", "equityWithLoan")
)

OPEN_ORDER_ROWS: tuple[Row, ...] = (
    Row("orderId", ID),
    *_WHAT,
    Row("clientId", ID),
    Row("permId", LONG),
    Row("outsideRth", BOOL),
    Row("hidden", BOOL),
    Row("discretionaryAmt", QUANTITY),
    Row("goodAfterTime", TEXT),
    Row("", Const("")),
    *_ADVISOR,
    Row("auctionStrategy", INT),
    *_BOX_PEG,
    Row("blockOrder", BOOL),
    Row("sweepToFill", BOOL),
    Row("allOrNone", BOOL),
    Row("minQty", OPT_INT),
    Row("ocaType", INT),
    Row("eTradeOnly", BOOL),
    Row("firmQuoteOnly", BOOL),
    Row("nbboPriceCap", OPT_DECIMAL),
    Row("parentId", INT),
    Row("triggerMethod", INT),
    *_VOLATILITY,
    Row("deltaNeutralConId", INT),
    Row("deltaNeutralSettlingFirm", TEXT),
    Row("deltaNeutralClearingAccount", TEXT),
    Row("deltaNeutralClearingIntent", TEXT),
    Row("deltaNeutralOpenClose", TEXT),
    Row("deltaNeutralShortSale", BOOL),
    Row("deltaNeutralShortSaleSlot", INT),
    Row("deltaNeutralDesignatedLocation", TEXT),
    *_TRAIL,
    Row("basisPoints", OPT_DECIMAL, default=None),
    Row("basisPointsType", OPT_INT, default=None),
    *_COMBO_AND_SCALE,
    Row("optOutSmartRouting", BOOL),
    *_CLEARING_AND_ALGO,
    Row("whatIf", BOOL),
    Row("status", TEXT),
    *_MARGINS,
    Row("commission", OPT_DECIMAL),
    Row("minCommission", OPT_DECIMAL),
    Row("maxCommission", OPT_DECIMAL),
    Row("commissionCurrency", TEXT),
    Row("warningText", ESCAPED),
    *_PEG_BENCH_AND_CONDITIONS,
    Row("adjustedOrderType", NONE_TEXT),
    Row("triggerPrice", OPT_DECIMAL),
    Row("trailStopPrice", OPT_DECIMAL),
    Row("lmtPriceOffset", OPT_DECIMAL),
    Row("adjustedStopPrice", OPT_DECIMAL),
    Row("adjustedStopLimitPrice", OPT_DECIMAL),
    Row("adjustedTrailingAmount", OPT_DECIMAL),
    Row("adjustableTrailingUnit", INT),
    Row("softDollarTierName", TEXT),
    Row("softDollarTierValue", TEXT),
    Row("softDollarTierDisplayName", TEXT, default=""),
    Row("cashQty", OPT_DECIMAL),
    Row("dontUseAutoPriceForHedge", BOOL),
    Row("isOmsContainer", BOOL),
    Row("discretionaryUpToLimitPrice", BOOL),
    Row("usePriceMgmtAlgo", BOOL),
    Row("duration", OPT_INT, since=158),
    Row("postToAts", OPT_INT, since=160),
    Row("autoCancelParent", BOOL, since=162),
    *_PEG_BEST,
)

COMPLETED_ORDER_ROWS: tuple[Row, ...] = (
    *_WHAT,
    Row("permId", LONG),
    Row("outsideRth", BOOL),
    Row("hidden", BOOL),
    Row("discretionaryAmt", QUANTITY),
    Row("goodAfterTime", TEXT),
    *_ADVISOR,
    *_BOX_PEG,
    Row("sweepToFill", BOOL),
    Row("allOrNone", BOOL),
    Row("minQty", OPT_INT),
    Row("ocaType", INT),
    Row("triggerMethod", INT),
    *_VOLATILITY,
    Row("deltaNeutralConId", INT),
    Row("deltaNeutralShortSale", BOOL),
    Row("deltaNeutralShortSaleSlot", INT),
    Row("deltaNeutralDesignatedLocation", TEXT),
    *_TRAIL,
    *_COMBO_AND_SCALE,
    *_CLEARING_AND_ALGO,
    Row("status", TEXT),
    *_PEG_BENCH_AND_CONDITIONS,
    Row("trailStopPrice", OPT_DECIMAL),
    Row("lmtPriceOffset", OPT_DECIMAL),
    Row("cashQty", OPT_DECIMAL),
    Row("dontUseAutoPriceForHedge", BOOL),
    Row("isOmsContainer", BOOL),
    Row("autoCancelDate", TEXT, default=""),
    Row("filledQuantity", QUANTITY),
    Row("refFuturesConId", INT, default=0),
    Row("autoCancelParent", BOOL),
    Row("shareholder", TEXT, default=""),
    Row("imbalanceOnly", BOOL, default=False),
    Row("routeMarketableToBbo", BOOL, default=False),
    Row("parentPermId", LONG, default=0),
    Row("completedTime", TEXT),
    Row("completedStatus", TEXT),
    *_PEG_BEST,
)
