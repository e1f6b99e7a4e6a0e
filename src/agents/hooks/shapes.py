"""What the host's helpers answer: dictionaries and frames with the host's own key and column names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from ...brokers.domain.order import Order
from .desk import Holding


class PositionDict(dict[str, Any]):
    """A position with the keys of every host module. True only while there is a position, so that both kinds of
    callers, `if position` and `position["has_position"]`, read it right."""

    def __bool__(self) -> bool:
        return bool(self["has_position"])


def position_dict(symbol: str, held: Holding | None) -> PositionDict:
    """Quantities are signed shares, money is USD, percentages are in percent. Flat: zeros, and `has_position` False."""
    quantity = float(held.quantity) if held is not None else 0.0
    cost = float(held.average_cost) if held is not None else 0.0
    price = held.price if held is not None else 0.0
    pnl = held.pnl if held is not None else 0.0
    percent = held.pnl_percent if held is not None else 0.0
    value = held.value if held is not None else 0.0
    return PositionDict(
        has_position=held is not None,
        symbol=symbol,
        # exchange manager
        size=quantity,
        entry_price=cost,
        pnl_percent=percent,
        is_long=held.is_long if held is not None else True,
        raw_data=held,
        # robinhood
        quantity=quantity,
        avg_cost=cost,
        current_price=price,
        market_value=value,
        unrealized_pnl=pnl,
        unrealized_pnl_pct=percent,
        # aster
        position_amount=quantity,
        mark_price=price,
        pnl=pnl,
        pnl_percentage=percent,
        leverage=1,
        margin=abs(value),
    )


def order_dict(order: Order) -> dict[str, Any]:
    """An order as the host's adapters answer one; `success` means that something filled or waits for the open."""
    return {
        "success": True,
        "order_id": order.key,
        "orderId": order.key,
        "perm_id": order.perm_id,
        "symbol": order.instrument.symbol,
        "side": order.intent.side.value,
        "type": order.intent.type.value,
        "quantity": float(order.intent.quantity),
        "filled": float(order.filled),
        "average_price": None if order.average_price is None else float(order.average_price),
        "status": order.state.value,
        "raw_response": order,
    }


def wallet_frame(held: Iterable[Holding]) -> pd.DataFrame:
    """Columns 'Mint Address' (the ticker), 'Amount' (shares) and 'USD Value', as the host's wallet reader has them."""
    rows = [(row.symbol, float(row.quantity), row.value) for row in held]
    return pd.DataFrame(rows, columns=["Mint Address", "Amount", "USD Value"])


def adapter_frame(held: Iterable[Holding]) -> pd.DataFrame:
    """The columns of the host's adapter classes; `created_at` is not known to IB's position messages."""
    columns = [
        *("symbol", "quantity", "avg_cost", "current_price", "type", "created_at"),
        *("market_value", "cost_basis", "unrealized_pnl", "unrealized_pnl_pct"),
    ]
    rows = [
        (
            row.symbol,
            float(row.quantity),
            float(row.average_cost),
            row.price,
            "stock",
            None,
            row.value,
            float(row.average_cost * row.quantity),
            row.pnl,
            row.pnl_percent,
        )
        for row in held
    ]
    return pd.DataFrame(rows, columns=columns)
