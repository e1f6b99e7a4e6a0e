"""Long messages (orders, executions, contract details) as tables, compiled once per server version.

A plan names the attributes in wire order; each number is converted by the type of the attribute's default, and an
empty field gives that default, as in ib_async's own decoder.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ib_async.contract import ComboLeg, Contract, ContractDetails, DeltaNeutralContract, TagValue
from ib_async.objects import Execution, SoftDollarTier
from ib_async.order import Order, OrderComboLeg, OrderCondition, OrderState
from ib_async.util import UNSET_DOUBLE

#: Letter in a plan -> class of the object that it names.
PREFIXES: Mapping[str, type] = {
    "c": Contract,
    "d": ContractDetails,
    "o": Order,
    "s": OrderState,
    "t": SoftDollarTier,
    "x": Execution,
}

Parts = dict[str, Any]
Step = Callable[[Sequence[str], int, Parts], int]


@dataclass(frozen=True, slots=True)
class Fields:
    """Attributes in wire order, as "letter.attribute"; "-" skips a field, ">name" keeps its text as a part."""

    names: str


@dataclass(frozen=True, slots=True)
class Since:
    version: int
    steps: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Below:
    version: int
    steps: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class When:
    """Steps that the message holds only when what was read before says so."""

    test: Callable[[Parts], bool]
    steps: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """A part with a shape of its own."""

    step: Step


def _to_bool(text: str) -> bool:
    return text == "1" or (text != "0" and bool(int(text)))


_BY_TYPE: dict[type, Callable[[str], Any]] = {int: int, float: float, bool: _to_bool}


def conversions(cls: type) -> tuple[tuple[str, Callable[[str], Any], Any], ...]:
    """(attribute, conversion, default) of every numeric attribute of an ib_async dataclass."""
    rows = []
    for field in dataclasses.fields(cls):
        # ib_async declares ContractDetails.coupon as a float with an int default; bonds pay 4.5 per cent
        kind = float if field.type in (float, "float") else type(field.default)
        convert = _BY_TYPE.get(kind)
        if convert is not None:
            rows.append((field.name, convert, field.default))
    return tuple(rows)


def blank(cls: type) -> Any:
    """An ib_async dataclass that a plan is going to fill in: plain defaults are the class's own attributes, so that
    the 139 of an Order need not be stored first."""
    made: Any = object.__new__(cls)
    vars(made).update({name: make() for name, make in _factories(cls)})
    return made


@lru_cache
def _factories(cls: type) -> tuple[tuple[str, Callable[[], Any]], ...]:
    fields = dataclasses.fields(cls)
    return tuple((row.name, row.default_factory) for row in fields if row.default_factory is not dataclasses.MISSING)


def _compile_fields(names: str) -> Step:
    """One function made of plain assignments, as `dataclasses` makes them: a loop over rows takes three times as long,
    and every order's acknowledgement waits for some 140 fields."""
    listed = names.split()
    values = ", ".join(f"v{place}" for place in range(len(listed)))
    letters = sorted({name.partition(".")[0] for name in listed if "." in name})
    known: dict[str, Any] = {}
    lines = [f"    {letter} = parts[{letter!r}].__dict__" for letter in letters]
    for place, name in enumerate(listed):
        if name.startswith(">"):
            lines.append(f"    parts[{name[1:]!r}] = v{place}")
        elif name != "-":
            lines.append(f"    {_assignment(name, place, known)}")
    source = f"""
def read(fields, at, parts):
    end = at + {len(listed)}
    if len(fields) < end:
        raise ValueError(f"{{end - len(fields)}} fields are missing")
    ({values},) = fields[at:end]
{chr(10).join(lines)}
    return end
"""
    exec(source, known)
    read: Step = known["read"]
    return read


def _assignment(name: str, place: int, known: dict[str, Any]) -> str:
    """One attribute's line; what it needs of conversions and defaults is added to `known`."""
    letter, attribute = name.split(".")
    target = f"{letter}[{attribute!r}] = "
    for field, convert, default in conversions(PREFIXES[letter]):
        if field == attribute:
            known |= {f"to{place}": convert, f"default{place}": default}
            return f"{target}to{place}(v{place}) if v{place} else default{place}"
    return f"{target}v{place}"


def _in_turn(steps: Sequence[Step]) -> Step:
    if len(steps) == 1:
        return steps[0]

    def read(fields: Sequence[str], at: int, parts: Parts) -> int:
        for step in steps:
            at = step(fields, at, parts)
        return at

    return read


def _compile_when(step: When, version: int) -> Step:
    inner = compile_plan(step.steps, version)
    test = step.test

    def read(fields: Sequence[str], at: int, parts: Parts) -> int:
        return inner(fields, at, parts) if test(parts) else at

    return read


def compile_plan(plan: Sequence[Any], version: int) -> Step:
    """The plan as one function for one server version."""
    steps: list[Step] = []
    for step in plan:
        if isinstance(step, Fields):
            steps.append(_compile_fields(step.names))
        elif isinstance(step, Read):
            steps.append(step.step)
        elif isinstance(step, When):
            steps.append(_compile_when(step, version))
        elif isinstance(step, Since):
            if version >= step.version:
                steps.append(compile_plan(step.steps, version))
        elif isinstance(step, Below):
            if version < step.version:
                steps.append(compile_plan(step.steps, version))
        else:
            raise TypeError(f"{step!r} is no step of a plan")
    return _in_turn(steps)


def _read_legs(fields: Sequence[str], at: int, parts: Parts) -> int:
    count, at = int(fields[at]), at + 1
    legs = parts["c"].comboLegs = []
    for _ in range(count):
        legs.append(
            ComboLeg(
                conId=int(fields[at] or 0),
                ratio=int(fields[at + 1] or 0),
                action=fields[at + 2],
                exchange=fields[at + 3],
                openClose=int(fields[at + 4] or 0),
                shortSaleSlot=int(fields[at + 5] or 0),
                designatedLocation=fields[at + 6],
                exemptCode=int(fields[at + 7] or -1),
            )
        )
        at += 8
    return at


def _read_leg_prices(fields: Sequence[str], at: int, parts: Parts) -> int:
    count, at = int(fields[at]), at + 1
    prices = [OrderComboLeg(float(fields[index] or UNSET_DOUBLE)) for index in range(at, at + count)]
    parts["o"].orderComboLegs = prices
    return at + count


def _tag_reader(letter: str, attribute: str) -> Step:
    def read(fields: Sequence[str], at: int, parts: Parts) -> int:
        count, at = int(fields[at] or 0), at + 1
        if count > 0:
            tags = [TagValue(fields[at + 2 * index], fields[at + 2 * index + 1]) for index in range(count)]
            setattr(parts[letter], attribute, tags)
            at += 2 * count
        return at

    return read


def _read_delta_neutral(fields: Sequence[str], at: int, parts: Parts) -> int:
    if not int(fields[at]):
        return at + 1
    contract_id, delta, price = fields[at + 1 : at + 4]
    parts["c"].deltaNeutralContract = DeltaNeutralContract(int(contract_id or 0), float(delta or 0), float(price or 0))
    return at + 4


def _read_conditions(fields: Sequence[str], at: int, parts: Parts) -> int:
    order = parts["o"]
    count, at = int(fields[at]), at + 1
    for _ in range(count):
        cls = OrderCondition.createClass(int(fields[at]))
        names = [field.name for field in dataclasses.fields(cls)]
        if len(fields) < at + len(names):
            raise ValueError("a condition is cut short")
        condition = cls(*fields[at : at + len(names)])
        for name, convert, default in conversions(cls):
            text = getattr(condition, name)
            setattr(condition, name, convert(text) if text else default)
        order.conditions.append(condition)
        at += len(names)
    if count > 0:
        order.conditionsIgnoreRth = _to_bool(fields[at] or "0")
        order.conditionsCancelOrder = _to_bool(fields[at + 1] or "0")
        at += 2
    return at


def _no_increment_is_unset(fields: Sequence[str], at: int, parts: Parts) -> int:
    # sent back in a change of the order, a zero would be read as a scale order without an increment
    parts["o"].scalePriceIncrement = parts["o"].scalePriceIncrement or UNSET_DOUBLE
    return at


_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def unescape(text: str) -> str:
    """IB sends what is not ASCII as \\uXXXX; anything else in the text stays as it is."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text) if "\\u" in text else text


def _split_last_trade(target: str, attribute: str) -> Step:
    def read(fields: Sequence[str], at: int, parts: Parts) -> int:
        text = parts["last_trade"]
        times = text.split("-" if "-" in text else None)
        details = parts["d"]
        if times:
            setattr(parts[target], attribute, times[0])
        if len(times) > 1:
            details.lastTradeTime = times[1]
        if len(times) > 2:
            details.timeZoneId = times[2]
        details.longName = unescape(details.longName)
        return at

    return read


CONTRACT_11 = (
    "c.conId c.symbol c.secType c.lastTradeDateOrContractMonth c.strike c.right c.multiplier c.exchange c.currency"
    " c.localSymbol c.tradingClass"
)

_PEGGED_TO_BENCHMARK = When(
    lambda parts: parts["o"].orderType in ("PEG BENCH", "PEGBENCH"),
    (
        Fields(
            "o.referenceContractId o.isPeggedChangeAmountDecrease o.peggedChangeAmount o.referenceChangeAmount"
            " o.referenceExchangeId"
        ),
    ),
)
_SCALE = (
    Fields("o.scaleInitLevelSize o.scaleSubsLevelSize o.scalePriceIncrement"),
    Read(_no_increment_is_unset),
    When(
        lambda parts: 0 < parts["o"].scalePriceIncrement < UNSET_DOUBLE,
        (
            Fields(
                "o.scalePriceAdjustValue o.scalePriceAdjustInterval o.scaleProfitOffset o.scaleAutoReset"
                " o.scaleInitPosition o.scaleInitFillQty o.scaleRandomPercent"
            ),
        ),
    ),
    Fields("o.hedgeType"),
    When(lambda parts: bool(parts["o"].hedgeType), (Fields("o.hedgeParam"),)),
)
_ALGO = (
    Read(_read_delta_neutral),
    Fields("o.algoStrategy"),
    When(lambda parts: bool(parts["o"].algoStrategy), (Read(_tag_reader("o", "algoParams")),)),
)
_LEGS = (Read(_read_legs), Read(_read_leg_prices), Read(_tag_reader("o", "smartComboRoutingParams")))
_OFFSETS = Since(
    170,
    (
        Fields(
            "o.minTradeQty o.minCompeteSize o.competeAgainstBestOffset o.midOffsetAtWhole o.midOffsetAtHalf",
        ),
    ),
)


def _has_delta_neutral(parts: Parts) -> bool:
    # TWS sends the literal "None" for ordinary orders, and the block with it
    return bool(parts["o"].deltaNeutralOrderType)


OPEN_ORDER: tuple[Any, ...] = (
    Fields(
        f"o.orderId {CONTRACT_11} o.action o.totalQuantity o.orderType o.lmtPrice o.auxPrice o.tif o.ocaGroup"
        " o.account o.openClose o.origin o.orderRef o.clientId o.permId o.outsideRth o.hidden o.discretionaryAmt"
        " o.goodAfterTime - o.faGroup o.faMethod o.faPercentage"
    ),
    Below(177, (Fields("o.faProfile"),)),
    Fields(
        "o.modelCode o.goodTillDate o.rule80A o.percentOffset o.settlingFirm o.shortSaleSlot o.designatedLocation"
        " o.exemptCode o.auctionStrategy o.startingPrice o.stockRefPrice o.delta o.stockRangeLower o.stockRangeUpper"
        " o.displaySize o.blockOrder o.sweepToFill o.allOrNone o.minQty o.ocaType o.eTradeOnly o.firmQuoteOnly"
        " o.nbboPriceCap o.parentId o.triggerMethod o.volatility o.volatilityType o.deltaNeutralOrderType"
        " o.deltaNeutralAuxPrice"
    ),
    When(
        _has_delta_neutral,
        (
            Fields(
                "o.deltaNeutralConId o.deltaNeutralSettlingFirm o.deltaNeutralClearingAccount"
                " o.deltaNeutralClearingIntent o.deltaNeutralOpenClose o.deltaNeutralShortSale"
                " o.deltaNeutralShortSaleSlot o.deltaNeutralDesignatedLocation"
            ),
        ),
    ),
    Fields(
        "o.continuousUpdate o.referencePriceType o.trailStopPrice o.trailingPercent o.basisPoints o.basisPointsType"
        " c.comboLegsDescrip"
    ),
    *_LEGS,
    *_SCALE,
    Fields("o.optOutSmartRouting o.clearingAccount o.clearingIntent o.notHeld"),
    *_ALGO,
    Fields(
        "o.solicited o.whatIf s.status s.initMarginBefore s.maintMarginBefore s.equityWithLoanBefore"
        " s.initMarginChange s.maintMarginChange s.equityWithLoanChange s.initMarginAfter s.maintMarginAfter"
        " s.equityWithLoanAfter s.commission s.minCommission s.maxCommission s.commissionCurrency s.warningText"
        " o.randomizeSize o.randomizePrice"
    ),
    _PEGGED_TO_BENCHMARK,
    Read(_read_conditions),
    Fields(
        "o.adjustedOrderType o.triggerPrice o.trailStopPrice o.lmtPriceOffset o.adjustedStopPrice"
        " o.adjustedStopLimitPrice o.adjustedTrailingAmount o.adjustableTrailingUnit t.name t.val t.displayName"
        " o.cashQty o.dontUseAutoPriceForHedge o.isOmsContainer o.discretionaryUpToLimitPrice o.usePriceMgmtAlgo"
    ),
    Since(158, (Fields("o.duration"),)),
    Since(160, (Fields("o.postToAts"),)),
    Since(162, (Fields("o.autoCancelParent"),)),
    _OFFSETS,
)

COMPLETED_ORDER: tuple[Any, ...] = (
    Fields(
        f"{CONTRACT_11} o.action o.totalQuantity o.orderType o.lmtPrice o.auxPrice o.tif o.ocaGroup o.account"
        " o.openClose o.origin o.orderRef o.permId o.outsideRth o.hidden o.discretionaryAmt o.goodAfterTime"
        " o.faGroup o.faMethod o.faPercentage"
    ),
    Below(177, (Fields("o.faProfile"),)),
    Fields(
        "o.modelCode o.goodTillDate o.rule80A o.percentOffset o.settlingFirm o.shortSaleSlot o.designatedLocation"
        " o.exemptCode o.startingPrice o.stockRefPrice o.delta o.stockRangeLower o.stockRangeUpper o.displaySize"
        " o.sweepToFill o.allOrNone o.minQty o.ocaType o.triggerMethod o.volatility o.volatilityType"
        " o.deltaNeutralOrderType o.deltaNeutralAuxPrice"
    ),
    When(
        _has_delta_neutral,
        (
            Fields(
                "o.deltaNeutralConId o.deltaNeutralShortSale o.deltaNeutralShortSaleSlot"
                " o.deltaNeutralDesignatedLocation"
            ),
        ),
    ),
    Fields("o.continuousUpdate o.referencePriceType o.trailStopPrice o.trailingPercent c.comboLegsDescrip"),
    *_LEGS,
    *_SCALE,
    Fields("o.clearingAccount o.clearingIntent o.notHeld"),
    *_ALGO,
    Fields("o.solicited s.status o.randomizeSize o.randomizePrice"),
    _PEGGED_TO_BENCHMARK,
    Read(_read_conditions),
    Fields(
        "o.trailStopPrice o.lmtPriceOffset o.cashQty o.dontUseAutoPriceForHedge o.isOmsContainer o.autoCancelDate"
        " o.filledQuantity o.refFuturesConId o.autoCancelParent o.shareholder o.imbalanceOnly"
        " o.routeMarketableToBbo o.parentPermId s.completedTime s.completedStatus"
    ),
    _OFFSETS,
)

EXECUTION: tuple[Any, ...] = (
    Fields(
        f">request x.orderId {CONTRACT_11} x.execId >time x.acctNumber x.exchange x.side x.shares x.price x.permId"
        " x.clientId x.liquidation x.cumQty x.avgPrice x.orderRef x.evRule x.evMultiplier x.modelCode"
        " x.lastLiquidity"
    ),
    Since(178, (Fields("x.pendingPriceRevision"),)),
)

_SIZE_STEPS = Since(164, (Fields("d.minSize d.sizeIncrement d.suggestedSizeIncrement"),))

CONTRACT_DETAILS: tuple[Any, ...] = (
    Below(164, (Fields("-"),)),
    Fields(
        ">request c.symbol c.secType >last_trade c.strike c.right c.exchange c.currency c.localSymbol d.marketName"
        " c.tradingClass c.conId d.minTick"
    ),
    Below(164, (Fields("-"),)),
    Fields(
        "c.multiplier d.orderTypes d.validExchanges d.priceMagnifier d.underConId d.longName c.primaryExchange"
        " d.contractMonth d.industry d.category d.subcategory d.timeZoneId d.tradingHours d.liquidHours d.evRule"
        " d.evMultiplier"
    ),
    Read(_tag_reader("d", "secIdList")),
    Fields("d.aggGroup d.underSymbol d.underSecType d.marketRuleIds d.realExpirationDate d.stockType"),
    Since(163, (Below(164, (Fields("d.suggestedSizeIncrement"),)),)),
    _SIZE_STEPS,
    Read(_split_last_trade("c", "lastTradeDateOrContractMonth")),
)

BOND_DETAILS: tuple[Any, ...] = (
    Below(164, (Fields("-"),)),
    Fields(
        ">request c.symbol c.secType d.cusip d.coupon >last_trade d.issueDate d.ratings d.bondType d.couponType"
        " d.convertible d.callable d.putable d.descAppend c.exchange c.currency d.marketName c.tradingClass c.conId"
        " d.minTick"
    ),
    Below(164, (Fields("-"),)),
    Fields(
        "d.orderTypes d.validExchanges d.nextOptionDate d.nextOptionType d.nextOptionPartial d.notes d.longName"
        " d.evRule d.evMultiplier"
    ),
    Read(_tag_reader("d", "secIdList")),
    Fields("d.aggGroup d.marketRuleIds"),
    _SIZE_STEPS,
    Read(_split_last_trade("d", "maturity")),
)
