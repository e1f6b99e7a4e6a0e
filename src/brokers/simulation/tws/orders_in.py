"""placeOrder (3) as the client sends it, for every server version and with all its conditional sections.

`PlaceOrderRequest` keeps every field, so that openOrder and completedOrder can echo them. The order of the class
attributes is the order of the wire. Prices and amounts are Decimal, None where the client left them unset;
an unset bool or int reads as False or 0, as TWS takes it: a client that sends "" for `transmit` has not
transmitted. Source: IB API `EClient.placeOrder`; reference section 2.3.
"""

# ruff: noqa: RUF009  (`row` is a field specifier: it returns a dataclasses.Field)

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .conditions import CONDITION, Condition
from .contract import (
    CONTRACT,
    DELTA_NEUTRAL,
    ORDER_LEG,
    TAG_VALUE,
    ComboLeg,
    Contract,
    DeltaNeutralContract,
    TagValue,
)
from .fields import (
    BOOL,
    ID,
    INT,
    OFFSET,
    OPT_DECIMAL,
    OPT_INT,
    QUANTITY,
    TAGS,
    TEXT,
    Const,
    Counted,
    Maybe,
    Values,
    int_or,
)
from .request import Request, blank, row

PEG_BENCH = frozenset({"PEG BENCH", "PEGBENCH"})
PEG_BEST = frozenset({"PEG BEST", "PEGBEST"})
PEG_MID = frozenset({"PEG MID", "PEGMID"})


def is_bag(values: Values) -> bool:
    return bool(values["contract"].secType == "BAG")


def has_delta_neutral_order(values: Values) -> bool:
    return bool(values["deltaNeutralOrderType"])


def is_scaled(values: Values) -> bool:
    increment = values["scalePriceIncrement"]
    return increment is not None and increment > 0


def is_hedge(values: Values) -> bool:
    return bool(values["hedgeType"])


def has_algo(values: Values) -> bool:
    return bool(values["algoStrategy"])


def is_peg_bench(values: Values) -> bool:
    return values["orderType"] in PEG_BENCH


def has_conditions(values: Values) -> bool:
    return bool(values["conditions"])


def is_on_ibkrats(values: Values) -> bool:
    return bool(values["contract"].exchange == "IBKRATS")


def is_peg_best(values: Values) -> bool:
    return values["orderType"] in PEG_BEST


def has_mid_offsets(values: Values) -> bool:
    """PEG MID, and PEG BEST that competes "up to mid" (an infinite offset)."""
    return values["orderType"] in PEG_MID or (
        is_peg_best(values) and values["competeAgainstBestOffset"] == Decimal("Infinity")
    )


@dataclass(frozen=True, kw_only=True)
class PlaceOrderRequest(Request):
    """An order as its client states it; a known orderId of the same client is a modification."""

    orderId: int = row(ID)
    contract: Contract = row(CONTRACT)
    secIdType: str = row(TEXT, default="")
    secId: str = row(TEXT, default="")
    #: "BUY", "SELL", "SSHORT"
    action: str = row(TEXT)
    #: shares or contracts; 0 in cash-quantity orders
    totalQuantity: Decimal = row(QUANTITY)
    orderType: str = row(TEXT)
    lmtPrice: Decimal | None = row(OPT_DECIMAL, default=None)
    #: stop price, trailing amount or offset, by order type
    auxPrice: Decimal | None = row(OPT_DECIMAL, default=None)
    tif: str = row(TEXT, default="")
    ocaGroup: str = row(TEXT, default="")
    account: str = row(TEXT, default="")
    openClose: str = row(TEXT, default="")
    origin: int = row(INT, default=0)
    orderRef: str = row(TEXT, default="")
    transmit: bool = row(BOOL, default=True)
    parentId: int = row(INT, default=0)
    blockOrder: bool = row(BOOL, default=False)
    sweepToFill: bool = row(BOOL, default=False)
    displaySize: int = row(INT, default=0)
    triggerMethod: int = row(INT, default=0)
    outsideRth: bool = row(BOOL, default=False)
    hidden: bool = row(BOOL, default=False)

    comboLegs: tuple[ComboLeg, ...] = row(Counted(ORDER_LEG), when=is_bag, default=())
    #: price of each leg, None where unset
    orderComboLegs: tuple[Decimal | None, ...] = row(Counted(OPT_DECIMAL), when=is_bag, default=())
    smartComboRoutingParams: tuple[TagValue, ...] = row(Counted(TAG_VALUE), when=is_bag, default=())

    _sharesAllocation: None = blank(Const(""))
    discretionaryAmt: Decimal = row(QUANTITY, default=Decimal(0))
    goodAfterTime: str = row(TEXT, default="")
    goodTillDate: str = row(TEXT, default="")
    faGroup: str = row(TEXT, default="")
    faMethod: str = row(TEXT, default="")
    faPercentage: str = row(TEXT, default="")
    faProfile: str = row(TEXT, until=176, default="")
    modelCode: str = row(TEXT, default="")
    shortSaleSlot: int = row(INT, default=0)
    designatedLocation: str = row(TEXT, default="")
    exemptCode: int = row(int_or(-1), default=-1)
    ocaType: int = row(INT, default=0)
    rule80A: str = row(TEXT, default="")
    settlingFirm: str = row(TEXT, default="")
    allOrNone: bool = row(BOOL, default=False)
    minQty: int | None = row(OPT_INT, default=None)
    percentOffset: Decimal | None = row(OPT_DECIMAL, default=None)
    eTradeOnly: bool = row(BOOL, default=False)
    firmQuoteOnly: bool = row(BOOL, default=False)
    nbboPriceCap: Decimal | None = row(OPT_DECIMAL, default=None)
    auctionStrategy: int = row(INT, default=0)
    startingPrice: Decimal | None = row(OPT_DECIMAL, default=None)
    stockRefPrice: Decimal | None = row(OPT_DECIMAL, default=None)
    delta: Decimal | None = row(OPT_DECIMAL, default=None)
    stockRangeLower: Decimal | None = row(OPT_DECIMAL, default=None)
    stockRangeUpper: Decimal | None = row(OPT_DECIMAL, default=None)
    overridePercentageConstraints: bool = row(BOOL, default=False)
    volatility: Decimal | None = row(OPT_DECIMAL, default=None)
    volatilityType: int | None = row(OPT_INT, default=None)

    deltaNeutralOrderType: str = row(TEXT, default="")
    deltaNeutralAuxPrice: Decimal | None = row(OPT_DECIMAL, default=None)
    deltaNeutralConId: int = row(INT, when=has_delta_neutral_order, default=0)
    deltaNeutralSettlingFirm: str = row(TEXT, when=has_delta_neutral_order, default="")
    deltaNeutralClearingAccount: str = row(TEXT, when=has_delta_neutral_order, default="")
    deltaNeutralClearingIntent: str = row(TEXT, when=has_delta_neutral_order, default="")
    deltaNeutralOpenClose: str = row(TEXT, when=has_delta_neutral_order, default="")
    deltaNeutralShortSale: bool = row(BOOL, when=has_delta_neutral_order, default=False)
    deltaNeutralShortSaleSlot: int = row(INT, when=has_delta_neutral_order, default=0)
    deltaNeutralDesignatedLocation: str = row(TEXT, when=has_delta_neutral_order, default="")

    continuousUpdate: bool = row(BOOL, default=False)
    referencePriceType: int | None = row(OPT_INT, default=None)
    trailStopPrice: Decimal | None = row(OPT_DECIMAL, default=None)
    trailingPercent: Decimal | None = row(OPT_DECIMAL, default=None)

    scaleInitLevelSize: int | None = row(OPT_INT, default=None)
    scaleSubsLevelSize: int | None = row(OPT_INT, default=None)
    scalePriceIncrement: Decimal | None = row(OPT_DECIMAL, default=None)
    scalePriceAdjustValue: Decimal | None = row(OPT_DECIMAL, when=is_scaled, default=None)
    scalePriceAdjustInterval: int | None = row(OPT_INT, when=is_scaled, default=None)
    scaleProfitOffset: Decimal | None = row(OPT_DECIMAL, when=is_scaled, default=None)
    scaleAutoReset: bool = row(BOOL, when=is_scaled, default=False)
    scaleInitPosition: int | None = row(OPT_INT, when=is_scaled, default=None)
    scaleInitFillQty: int | None = row(OPT_INT, when=is_scaled, default=None)
    scaleRandomPercent: bool = row(BOOL, when=is_scaled, default=False)
    scaleTable: str = row(TEXT, default="")
    activeStartTime: str = row(TEXT, default="")
    activeStopTime: str = row(TEXT, default="")

    hedgeType: str = row(TEXT, default="")
    hedgeParam: str = row(TEXT, when=is_hedge, default="")
    optOutSmartRouting: bool = row(BOOL, default=False)
    clearingAccount: str = row(TEXT, default="")
    clearingIntent: str = row(TEXT, default="")
    notHeld: bool = row(BOOL, default=False)
    deltaNeutralContract: DeltaNeutralContract | None = row(Maybe(DELTA_NEUTRAL), default=None)

    algoStrategy: str = row(TEXT, default="")
    algoParams: tuple[TagValue, ...] = row(Counted(TAG_VALUE), when=has_algo, default=())
    algoId: str = row(TEXT, default="")
    whatIf: bool = row(BOOL, default=False)
    orderMiscOptions: tuple[tuple[str, str], ...] = row(TAGS, default=())
    solicited: bool = row(BOOL, default=False)
    randomizeSize: bool = row(BOOL, default=False)
    randomizePrice: bool = row(BOOL, default=False)

    referenceContractId: int = row(INT, when=is_peg_bench, default=0)
    isPeggedChangeAmountDecrease: bool = row(BOOL, when=is_peg_bench, default=False)
    peggedChangeAmount: Decimal = row(QUANTITY, when=is_peg_bench, default=Decimal(0))
    referenceChangeAmount: Decimal = row(QUANTITY, when=is_peg_bench, default=Decimal(0))
    referenceExchangeId: str = row(TEXT, when=is_peg_bench, default="")

    conditions: tuple[Condition, ...] = row(Counted(CONDITION), default=())
    conditionsIgnoreRth: bool = row(BOOL, when=has_conditions, default=False)
    conditionsCancelOrder: bool = row(BOOL, when=has_conditions, default=False)

    adjustedOrderType: str = row(TEXT, default="")
    triggerPrice: Decimal | None = row(OPT_DECIMAL, default=None)
    lmtPriceOffset: Decimal | None = row(OPT_DECIMAL, default=None)
    adjustedStopPrice: Decimal | None = row(OPT_DECIMAL, default=None)
    adjustedStopLimitPrice: Decimal | None = row(OPT_DECIMAL, default=None)
    adjustedTrailingAmount: Decimal | None = row(OPT_DECIMAL, default=None)
    adjustableTrailingUnit: int = row(INT, default=0)
    extOperator: str = row(TEXT, default="")
    softDollarTierName: str = row(TEXT, default="")
    softDollarTierValue: str = row(TEXT, default="")
    cashQty: Decimal | None = row(OPT_DECIMAL, default=None)
    mifid2DecisionMaker: str = row(TEXT, default="")
    mifid2DecisionAlgo: str = row(TEXT, default="")
    mifid2ExecutionTrader: str = row(TEXT, default="")
    mifid2ExecutionAlgo: str = row(TEXT, default="")
    dontUseAutoPriceForHedge: bool = row(BOOL, default=False)
    isOmsContainer: bool = row(BOOL, default=False)
    discretionaryUpToLimitPrice: bool = row(BOOL, default=False)
    usePriceMgmtAlgo: bool = row(BOOL, default=False)
    #: seconds
    duration: int | None = row(OPT_INT, since=158, default=None)
    postToAts: int | None = row(OPT_INT, since=160, default=None)
    autoCancelParent: bool = row(BOOL, since=162, default=False)
    advancedErrorOverride: str = row(TEXT, since=166, default="")
    manualOrderTime: str = row(TEXT, since=169, default="")
    minTradeQty: int | None = row(OPT_INT, since=170, when=is_on_ibkrats, default=None)
    minCompeteSize: int | None = row(OPT_INT, since=170, when=is_peg_best, default=None)
    #: Infinity: up to the midpoint
    competeAgainstBestOffset: Decimal | None = row(OFFSET, since=170, when=is_peg_best, default=None)
    midOffsetAtWhole: Decimal | None = row(OPT_DECIMAL, since=170, when=has_mid_offsets, default=None)
    midOffsetAtHalf: Decimal | None = row(OPT_DECIMAL, since=170, when=has_mid_offsets, default=None)
