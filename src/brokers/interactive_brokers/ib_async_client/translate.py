"""Orders, executions and account values between ib_async's objects and this package's. No state, no talk."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import cast

from ib_async.contract import Contract
from ib_async.objects import CommissionReport as IbCommission
from ib_async.objects import Execution
from ib_async.order import Order as IbOrder
from ib_async.order import OrderState as IbOrderState

from ...domain.account import AccountSummary, Position
from ...domain.order import Fill, PriceField, WhatIf
from ...domain.reports import BrokerOrder, BrokerStatus, CommissionReport, WireOrder
from ...errors import InvalidData
from ..ib_vocabulary import (
    ORDER_TYPE_WORDS,
    ORDER_TYPES,
    SIDE_WORDS,
    SIDES,
    STATUS_WORDS,
    TIF_WORDS,
    TIFS,
    PriceSlot,
    ib_time,
    intent_prices,
    order_prices,
    to_decimal,
)
from .contracts import to_held, to_instrument
from .timestamps import parse_ib_time

#: OCA type 1: a fill of one cancels the others, with block (no over-fill). IB's default for a group is 3.
OCA_CANCEL_WITH_BLOCK = 1


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
