"""Builders of the messages that echo an order or describe a contract.

    open_order(sv, order, state, clientId=, permId=, contract=None, **changes) -> bytes
    completed_order(sv, order, state, permId=, filledQuantity=, contract=None, **changes) -> bytes
    contract_details(sv, reqId, contract, **details) -> bytes          bond_details(...) likewise
    OrderState        status, margins and commission as openOrder reports them

`order` is the client's own PlaceOrderRequest; `contract` the resolved one, `changes` whatever the exchange knows
better (a trailed stop, a remaining quantity), by row name. execDetails is flat: `encode(sv, "execDetails", ...)`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from decimal import Decimal
from operator import attrgetter
from typing import Any

from .contract import Contract
from .messages_out import RESPONSES, encode
from .orders_in import PlaceOrderRequest


@dataclass(frozen=True, slots=True)
class OrderState:
    """Margins and commissions in the account's currency; None: not computed (all but what-if orders)."""

    #: IB's order status, e.g. "PreSubmitted", "Submitted", "Filled"
    status: str
    initMarginBefore: Decimal | None = None
    maintMarginBefore: Decimal | None = None
    equityWithLoanBefore: Decimal | None = None
    initMarginChange: Decimal | None = None
    maintMarginChange: Decimal | None = None
    equityWithLoanChange: Decimal | None = None
    initMarginAfter: Decimal | None = None
    maintMarginAfter: Decimal | None = None
    equityWithLoanAfter: Decimal | None = None
    commission: Decimal | None = None
    minCommission: Decimal | None = None
    maxCommission: Decimal | None = None
    commissionCurrency: str = ""
    warningText: str = ""
    #: "YYYYMMDD HH:MM:SS zone"; completed orders only
    completedTime: str = ""
    #: e.g. "Filled Size: 100", "Cancelled by Trader"; completed orders only
    completedStatus: str = ""


#: What TWS fills in for fields that the client left empty.
TWS_DEFAULTS: dict[str, Any] = {
    "tif": "DAY",
    "ocaType": 3,
    "clearingIntent": "IB",
    "deltaNeutralOpenClose": "?",
    "dontUseAutoPriceForHedge": True,
}


class _Echo:
    """Picks what a message repeats of an order and of its state, in one pass each."""

    def __init__(self, name: str) -> None:
        rows = {row.name for row in RESPONSES[name].layout.rows if row.name}
        self.name = name
        self._order = sorted(rows & {field.name for field in fields(PlaceOrderRequest)} - {"contract"})
        self._state = sorted(rows & {field.name for field in fields(OrderState)})
        self._order_values = attrgetter(*self._order)
        self._state_values = attrgetter(*self._state)
        self._defaults = {key: value for key, value in TWS_DEFAULTS.items() if key in rows}

    def values(self, order: PlaceOrderRequest, state: OrderState, contract: Contract | None) -> dict[str, Any]:
        values = dict(zip(self._order, self._order_values(order), strict=True))
        values.update(zip(self._state, self._state_values(state), strict=True))
        for key, filled_in in self._defaults.items():
            values[key] = values[key] or filled_in
        contract = order.contract if contract is None else contract
        if contract.secType == "STK" and not contract.right:
            contract = replace(contract, right="?")
        values["contract"] = contract
        return values


_OPEN = _Echo("openOrder")
_COMPLETED = _Echo("completedOrder")


def open_order(
    server_version: int,
    order: PlaceOrderRequest,
    state: OrderState,
    *,
    clientId: int,
    permId: int,
    contract: Contract | None = None,
    **changes: Any,
) -> bytes:
    """openOrder as TWS words it. Raises ValueError for a what-if answer without margins: clients would wait forever."""
    if order.whatIf and state.initMarginChange is None:
        raise ValueError("openOrder.initMarginChange: a what-if answer needs numbers; compute the margins first")
    values = _OPEN.values(order, state, contract)
    values.update(changes, clientId=clientId, permId=permId)
    return encode(server_version, "openOrder", **values)


def completed_order(
    server_version: int,
    order: PlaceOrderRequest,
    state: OrderState,
    *,
    permId: int,
    filledQuantity: Decimal,
    contract: Contract | None = None,
    **changes: Any,
) -> bytes:
    """completedOrder; it names no orderId and no clientId, only `permId`."""
    values = _COMPLETED.values(order, state, contract)
    values.update(changes, permId=permId, filledQuantity=filledQuantity)
    return encode(server_version, "completedOrder", **values)


def _describe(server_version: int, name: str, reqId: int, contract: Contract, details: dict[str, Any]) -> bytes:
    rows = {row.name for row in RESPONSES[name].layout.rows}
    own = {field.name: getattr(contract, field.name) for field in fields(contract) if field.name in rows}
    return encode(server_version, name, **{**own, **details, "reqId": reqId})


def contract_details(server_version: int, reqId: int, contract: Contract, **details: Any) -> bytes:
    """contractDetails; `details` are the rows of `details_rows.CONTRACT_DETAILS_ROWS` that the contract lacks."""
    return _describe(server_version, "contractDetails", reqId, contract, details)


def bond_details(server_version: int, reqId: int, contract: Contract, **details: Any) -> bytes:
    """bondContractDetails; `details` are the rows of `details_rows.BOND_DETAILS_ROWS` that the contract lacks."""
    return _describe(server_version, "bondContractDetails", reqId, contract, details)
