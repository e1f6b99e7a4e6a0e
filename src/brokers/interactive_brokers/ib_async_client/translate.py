"""ib_async's objects to this package's types and back. Nothing here keeps state or talks to anybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

from ib_async.contract import Contract, ContractDetails
from ib_async.objects import BarData, DOMLevel, Execution
from ib_async.objects import CommissionReport as IbCommission
from ib_async.objects import OptionChain as IbOptionChain
from ib_async.order import Order as IbOrder
from ib_async.order import OrderState as IbOrderState
from ib_async.ticker import Ticker

from ...domain.account import AccountSummary, Position
from ...domain.instrument import Instrument, InstrumentDetails, PriceIncrement, SecType
from ...domain.market_data import Bar, DataType, Depth, DepthLevel, Quote
from ...domain.options import OptionChain
from ...domain.order import Fill, PriceField, WhatIf
from ...domain.reports import BrokerOrder, BrokerStatus, CommissionReport, WireOrder
from ...errors import InvalidData, InvalidInstrument
from ..ib_vocabulary import (
    DATA_TYPES,
    ORDER_TYPE_WORDS,
    ORDER_TYPES,
    SEC_TYPE_WORDS,
    SIDE_WORDS,
    SIDES,
    STATUS_WORDS,
    TIF_WORDS,
    TIFS,
    UNSET_DOUBLE,
    UNSET_INTEGER,
    PriceSlot,
    ib_time,
    intent_prices,
    order_prices,
    to_decimal,
    to_halted,
    to_market_price,
    to_market_size,
)
from .timestamps import parse_ib_time

#: OCA type 1: a fill of one cancels the others, with block (no over-fill). IB's default for a group is 3.
OCA_CANCEL_WITH_BLOCK = 1


@lru_cache(maxsize=4096)
def to_contract(instrument: Instrument) -> Contract:
    """The contract of an instrument. Shared: callers must not change it."""
    return Contract(
        secType=instrument.sec_type.value,
        conId=instrument.con_id or 0,
        symbol=instrument.symbol,
        lastTradeDateOrContractMonth=f"{instrument.expiry:%Y%m%d}" if instrument.expiry else "",
        strike=float(instrument.strike or 0),
        right=instrument.right or "",
        multiplier=str(instrument.multiplier) if instrument.multiplier != 1 else "",
        exchange=instrument.exchange,
        primaryExchange=instrument.primary_exchange or "",
        currency=instrument.currency,
        localSymbol=instrument.local_symbol or "",
        tradingClass=instrument.trading_class or "",
    )


def to_instrument(contract: Contract) -> Instrument:
    """Raises InvalidInstrument for a security type that this package has no name for."""
    return _instrument(
        contract.symbol,
        contract.secType,
        contract.currency,
        contract.exchange or "SMART",
        contract.primaryExchange,
        contract.conId,
        contract.localSymbol,
        contract.tradingClass,
        contract.lastTradeDateOrContractMonth,
        contract.strike,
        contract.right,
        contract.multiplier,
    )


def to_held(contract: Contract) -> Instrument:
    """The instrument of a position or an execution. Both name the place of listing or of the trade as the exchange;
    what is held is traded by SMART where IB routes it."""
    instrument = to_instrument(contract)
    if instrument.sec_type in (SecType.STOCK, SecType.OPTION) and instrument.exchange != "SMART":
        return _routed(instrument)
    return instrument


@lru_cache(maxsize=4096)
def _routed(instrument: Instrument) -> Instrument:
    return replace(instrument, exchange="SMART")


@lru_cache(maxsize=4096)
def _instrument(
    symbol: str,
    sec_type: str,
    currency: str,
    exchange: str,
    primary: str,
    number: int,
    local: str,
    trading_class: str,
    expiry: str,
    strike: float,
    right: str,
    multiplier: str,
) -> Instrument:
    kind = SEC_TYPE_WORDS.get(sec_type)
    if kind is None:
        raise InvalidInstrument(f"contract {local or symbol or number}", f"security type {sec_type!r} is not known")
    is_derivative = kind in (SecType.OPTION, SecType.FUTURE)
    return Instrument(
        symbol,
        kind,
        currency or "USD",
        exchange,
        primary or None,
        number or None,
        local or None,
        trading_class or None,
        _expiry(expiry) if is_derivative else None,
        to_decimal(strike) if kind is SecType.OPTION else None,
        right[:1] if kind is SecType.OPTION and right[:1] in ("C", "P") else None,
        to_decimal(multiplier) or Decimal(1),
    )


def _expiry(text: str) -> date | None:
    digits = text.split()[0] if text else ""
    if len(digits) != 8 or not digits.isdigit():
        return None  # a contract month alone names no last trading day
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))


def to_details(details: ContractDetails) -> InstrumentDetails:
    """`increments` hold the minimum tick alone; the exchange's market rule is a question of its own."""
    if details.contract is None:
        raise InvalidData("contract details", "they carry no contract")
    defaults = InstrumentDetails(to_instrument(details.contract))
    minimum = to_decimal(details.minTick)
    return InstrumentDetails(
        instrument=defaults.instrument,
        long_name=details.longName,
        market_name=details.marketName,
        increments=(PriceIncrement(Decimal(0), minimum),) if minimum else defaults.increments,
        min_size=to_decimal(details.minSize) or defaults.min_size,
        size_increment=to_decimal(details.sizeIncrement) or defaults.size_increment,
        order_types=frozenset(filter(None, details.orderTypes.split(","))),
        valid_exchanges=tuple(filter(None, details.validExchanges.split(","))) or defaults.valid_exchanges,
        time_zone=details.timeZoneId or defaults.time_zone,
        trading_hours=details.tradingHours,
        liquid_hours=details.liquidHours,
        industry=details.industry,
        category=details.category,
        subcategory=details.subcategory,
        stock_type=details.stockType,
        contract_month=details.contractMonth,
        under_con_id=details.underConId or None,
        market_rule_ids=tuple(int(rule) for rule in details.marketRuleIds.split(",") if rule.strip().isdigit()),
        identifiers=tuple((str(row.tag), str(row.value)) for row in details.secIdList or ()),
    )


def to_chain(row: IbOptionChain, underlying: Instrument) -> OptionChain:
    """Dates and strikes that cannot be read are left out."""
    days = {day for text in row.expirations if (day := _expiry(text)) is not None}
    strikes = {strike for value in row.strikes if (strike := to_decimal(value))}
    return OptionChain(
        underlying,
        row.tradingClass,
        to_decimal(row.multiplier) or Decimal(1),
        tuple(sorted(days)),
        tuple(sorted(strikes)),
        row.exchange,
    )


def to_increments(rows: Any) -> tuple[PriceIncrement, ...]:
    """A market rule (message 93), ascending from 0."""
    steps = [(to_decimal(row.lowEdge), to_decimal(row.increment)) for row in rows or ()]
    return tuple(sorted((PriceIncrement(edge, step) for edge, step in steps if edge is not None and step), key=_edge))


def _edge(row: PriceIncrement) -> Decimal:
    return row.low_edge


# Orders


def to_ib_order(order: WireOrder) -> IbOrder:
    """A fresh ib_async order; nothing of the caller's is shared with it."""
    intent = order.intent
    prices = order_prices(intent)
    return IbOrder(
        orderId=order.order_id,
        action=SIDE_WORDS[intent.side],
        totalQuantity=float(intent.quantity),
        orderType=ORDER_TYPE_WORDS[intent.type],
        lmtPrice=prices[PriceSlot.LIMIT],
        auxPrice=prices[PriceSlot.AUX],
        trailStopPrice=prices[PriceSlot.TRAIL_STOP],
        trailingPercent=prices[PriceSlot.TRAILING_PERCENT],
        tif=TIF_WORDS[intent.tif],
        goodTillDate=ib_time(intent.good_till),
        ocaGroup=intent.oca_group or "",
        ocaType=OCA_CANCEL_WITH_BLOCK if intent.oca_group else 0,
        orderRef=intent.key,
        outsideRth=intent.outside_rth,
        account=order.account,
        transmit=order.transmit,
        parentId=order.parent_id,
        openClose="",
    )


def to_broker_order(
    order_id: int,
    contract: Contract,
    order: IbOrder,
    state: IbOrderState,
    *,
    filled: Decimal | None = None,
    naive_zone: str = "",
) -> BrokerOrder:
    """One openOrder or completedOrder. Raises InvalidData for a side that is none."""
    side = SIDES.get(order.action)
    if side is None:
        raise InvalidData(f"order {order_id}", f"its action is {order.action!r}")
    kind = ORDER_TYPES.get(order.orderType)
    prices = intent_prices(kind, cast(Mapping[PriceSlot, float], vars(order)))
    return BrokerOrder(
        perm_id=order.permId,
        order_id=order_id,
        client_id=order.clientId,
        account=order.account,
        instrument=to_instrument(contract),
        side=side,
        quantity=to_decimal(order.totalQuantity) or to_decimal(order.filledQuantity) or Decimal(0),
        type=kind,
        type_text=order.orderType,
        tif=TIFS.get(order.tif),
        outside_rth=order.outsideRth,
        key=order.orderRef or None,
        oca_group=order.ocaGroup or None,
        parent_id=order.parentId,
        status=STATUS_WORDS.get(state.status),
        filled=filled,
        transmit=order.transmit,
        warning=state.warningText,
        completed_status=state.completedStatus,
        completed_time=_moment(state.completedTime, naive_zone),
        limit_price=prices.get(PriceField.LIMIT),
        stop_price=prices.get(PriceField.STOP),
        trail_amount=prices.get(PriceField.TRAIL_AMOUNT),
        trail_percent=prices.get(PriceField.TRAIL_PERCENT),
    )


def _moment(text: str, naive_zone: str) -> datetime | None:
    if not text:
        return None
    try:
        return parse_ib_time(text, naive_zone)
    except InvalidData:
        return None


def to_fill(contract: Contract, execution: Execution, commission: IbCommission | None = None) -> Fill:
    """Raises InvalidData for an execution whose side, size or price is none."""
    side = SIDES.get(execution.side)
    quantity, price = to_decimal(execution.shares), to_decimal(execution.price)
    if side is None or not quantity or price is None:
        raise InvalidData(
            f"execution {execution.execId}",
            f"side {execution.side!r}, {execution.shares} shares, price {execution.price}",
        )
    report = to_commission(commission) if commission is not None else None
    return Fill(
        exec_id=execution.execId,
        instrument=to_held(contract),
        side=side,
        quantity=abs(quantity),
        price=price,
        time=execution.time,
        account=execution.acctNumber,
        order_key=execution.orderRef or None,
        order_id=execution.orderId,
        perm_id=execution.permId,
        client_id=execution.clientId,
        exchange=execution.exchange,
        commission=report.commission if report else None,
        commission_currency=report.currency if report else None,
        realized_pnl=report.realized_pnl if report else None,
        cumulative_quantity=to_decimal(execution.cumQty),
        liquidation=bool(execution.liquidation),
    )


def to_commission(report: IbCommission) -> CommissionReport | None:
    """None when IB told no amount: 0 would be a commission of nothing."""
    amount = to_decimal(report.commission)
    if amount is None:
        return None
    return CommissionReport(report.execId, amount, report.currency or "USD", to_decimal(report.realizedPNL))


def to_status(text: str) -> BrokerStatus | None:
    return STATUS_WORDS.get(text)


def to_what_if(state: IbOrderState) -> WhatIf:
    """Sentinels are None, not zero (fault O34)."""
    return WhatIf(
        initial_margin_change=to_decimal(state.initMarginChange),
        maintenance_margin_change=to_decimal(state.maintMarginChange),
        equity_change=to_decimal(state.equityWithLoanChange),
        initial_margin_after=to_decimal(state.initMarginAfter),
        maintenance_margin_after=to_decimal(state.maintMarginAfter),
        equity_after=to_decimal(state.equityWithLoanAfter),
        commission=to_decimal(state.commission),
        commission_min=to_decimal(state.minCommission),
        commission_max=to_decimal(state.maxCommission),
        currency=state.commissionCurrency or "USD",
        warning=state.warningText,
    )


# Account


def to_position(account: str, contract: Contract, quantity: float, average_cost: float) -> Position:
    return Position(
        account, to_held(contract), to_decimal(quantity) or Decimal(0), to_decimal(average_cost) or Decimal(0)
    )


#: AccountSummary field -> IB's account value key.
ACCOUNT_KEYS: Mapping[str, str] = {
    "net_liquidation": "NetLiquidation",
    "total_cash": "TotalCashValue",
    "settled_cash": "SettledCash",
    "buying_power": "BuyingPower",
    "available_funds": "AvailableFunds",
    "excess_liquidity": "ExcessLiquidity",
    "initial_margin": "InitMarginReq",
    "maintenance_margin": "MaintMarginReq",
    "gross_position_value": "GrossPositionValue",
    "equity_with_loan": "EquityWithLoanValue",
}
#: These are told by currency, with the total under BASE.
LEDGER_KEYS: Mapping[str, str] = {"realized_pnl": "RealizedPnL", "unrealized_pnl": "UnrealizedPnL"}
SUMMARY_TAGS = (*ACCOUNT_KEYS.values(), "DayTradesRemaining", "AccountType")


def to_account_summary(account: str, values: Mapping[tuple[str, str], str], time: datetime) -> AccountSummary:
    """From IB's (key, currency) -> text. The account's base currency is that of its NetLiquidation."""
    currency = next((unit for key, unit in values if key == "NetLiquidation" and unit and unit != "BASE"), "USD")

    def amount(key: str) -> Decimal | None:
        return to_decimal(values.get((key, currency)))

    def ledger(key: str) -> Decimal | None:
        total = to_decimal(values.get((key, "BASE")))
        return total if total is not None else amount(key)

    days = to_decimal(values.get(("DayTradesRemaining", "")))
    return AccountSummary(
        account=account,
        time=time,
        currency=currency,
        day_trades_remaining=int(days) if days is not None and days >= 0 else None,
        account_type=values.get(("AccountType", ""), ""),
        **{name: amount(key) for name, key in ACCOUNT_KEYS.items()},
        **{name: ledger(key) for name, key in LEDGER_KEYS.items()},
    )


# Market data


def to_bar(bar: BarData) -> Bar:
    """A bar in aware UTC; `complete` is for whoever knows the time. Raises InvalidData for a price that is none."""
    stamp = bar.date
    time = stamp if isinstance(stamp, datetime) else datetime(stamp.year, stamp.month, stamp.day, tzinfo=UTC)
    opening, high, low, close = (to_market_price(value) for value in (bar.open, bar.high, bar.low, bar.close))
    if opening is None or high is None or low is None or close is None:
        raise InvalidData(f"bar of {time.isoformat()}", f"prices {bar.open} {bar.high} {bar.low} {bar.close}")
    count = to_market_size(bar.barCount)
    return Bar(
        time,
        opening,
        high,
        low,
        close,
        to_market_size(bar.volume),
        to_market_price(bar.average),
        None if count is None else int(count),
    )


class _Draft:
    """A Quote that is being filled in. A frozen dataclass sets each field by a call of its own, which is most of the
    cost of making one; a draft's are plain assignments, and its last is to become a Quote."""

    __slots__ = Quote.__slots__

    instrument: Instrument
    time: datetime
    bid: float | None
    ask: float | None
    bid_size: float | None
    ask_size: float | None
    last: float | None
    last_size: float | None
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    halted: bool | None
    data_type: DataType
    source: str
    suspect: str | None
    polled: bool


#: (ticker, instrument, market time, source) -> the quote. `fast_frames.quote_maker` answers one.
QuoteMaker = Callable[[Ticker, Instrument, datetime, str], Quote]


def to_quote(ticker: Ticker, instrument: Instrument, time: datetime, source: str) -> Quote:
    """The ticker's present state; every sentinel is None (fault D06), the data type is what was delivered (D10)."""
    draft = _Draft()
    draft.instrument, draft.time, draft.source = instrument, time, source
    draft.suspect, draft.polled = None, False
    # to_market_price and to_market_size written out: twelve calls would cost more than all the rest
    value = ticker.bid
    draft.bid = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.ask
    draft.ask = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.last
    draft.last = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.open
    draft.open = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.high
    draft.high = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.low
    draft.low = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.close
    draft.close = value if value is not None and 0 < value < UNSET_DOUBLE else None
    value = ticker.bidSize
    draft.bid_size = value if value is not None and 0 <= value < UNSET_DOUBLE and value != UNSET_INTEGER else None
    value = ticker.askSize
    draft.ask_size = value if value is not None and 0 <= value < UNSET_DOUBLE and value != UNSET_INTEGER else None
    value = ticker.lastSize
    draft.last_size = value if value is not None and 0 <= value < UNSET_DOUBLE and value != UNSET_INTEGER else None
    value = ticker.volume
    draft.volume = value if value is not None and 0 <= value < UNSET_DOUBLE and value != UNSET_INTEGER else None
    value = ticker.halted
    # NaN, the only value that differs from itself, is what nearly every ticker has
    draft.halted = to_halted(value) if value == value else None
    draft.data_type = DATA_TYPES.get(ticker.marketDataType, DataType.LIVE)
    draft.__class__ = Quote  # type: ignore[assignment]
    return cast(Quote, draft)


def to_depth(ticker: Ticker, instrument: Instrument, time: datetime, source: str = "") -> Depth:
    return Depth(
        instrument,
        time,
        _levels(ticker.domBids, best_is_high=True),
        _levels(ticker.domAsks, best_is_high=False),
        source,
    )


def _levels(told: Sequence[DOMLevel], *, best_is_high: bool) -> tuple[DepthLevel, ...]:
    """By price: ib_async keeps rows as they came, so that one out of its place would stand before a better one
    (fault D11)."""
    levels = [
        DepthLevel(row.price, row.size, row.marketMaker) for row in told if to_market_price(row.price) is not None
    ]
    levels.sort(key=lambda level: level.price, reverse=best_is_high)
    return tuple(levels)
