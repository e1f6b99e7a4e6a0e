"""placeOrder messages of the tests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from moondev_ibkr.brokers.simulation.tws.contract import Contract
from moondev_ibkr.brokers.simulation.tws.orders_in import PlaceOrderRequest

from .rig import AAPL


def order(
    order_id: int, action: str, quantity: Any, kind: str = "MKT", contract: Contract = AAPL, **fields: Any
) -> PlaceOrderRequest:
    """`limit` and `aux` as numbers; everything else as the message names it."""
    limit, aux = fields.pop("limit", None), fields.pop("aux", None)
    return PlaceOrderRequest(
        orderId=order_id,
        contract=contract,
        action=action,
        totalQuantity=Decimal(str(quantity)),
        orderType=kind,
        lmtPrice=None if limit is None else Decimal(str(limit)),
        auxPrice=None if aux is None else Decimal(str(aux)),
        tif=fields.pop("tif", "DAY"),
        account=fields.pop("account", "DU0000001"),
        **fields,
    )
