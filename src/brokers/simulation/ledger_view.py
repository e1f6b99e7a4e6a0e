"""The exchange's own books as data: the truth that whoever trades here can be compared with."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .tickets import OrderView

if TYPE_CHECKING:
    from .exchange import Exchange


def ledger_view(exchange: Exchange) -> dict[str, Any]:
    """Accounts with cash and positions by symbol (signed, text), every order that is kept, and today's executions.

    Orders are those that work and the last that ended, oldest first; `parent_perm_id` 0 for one that has no parent, a
    price None where the type has none.
    """
    return {
        "now": exchange.now.isoformat(),
        "accounts": {
            account: {
                "cash": _text(exchange.summary(account).total_cash),
                "positions": {
                    row.instrument.symbol: _text(row.quantity) for row in exchange.positions(account) if row.quantity
                },
            }
            for account in exchange.accounts
        },
        "orders": [_order(view) for view in (*exchange.completed_orders(), *exchange.open_orders())],
        "executions": [
            {
                "exec_id": row.exec_id,
                "order_ref": row.order_ref,
                "perm_id": row.perm_id,
                "symbol": row.instrument.symbol,
                "side": row.side.value,
                "quantity": _text(row.quantity),
                "price": _text(row.price),
            }
            for row in exchange.executions()
        ],
    }


def _order(view: OrderView) -> dict[str, Any]:
    ticket = view.ticket
    return {
        "order_ref": ticket.order_ref,
        "perm_id": view.perm_id,
        "parent_perm_id": view.parent_perm_id,
        "client_id": view.client_id,
        "symbol": view.instrument.symbol,
        "side": ticket.side.value,
        "type": ticket.type.value if ticket.type is not None else ticket.type_text,
        "quantity": _text(ticket.quantity),
        "limit_price": _price(ticket.limit_price),
        "stop_price": _price(ticket.stop_price),
        "status": view.status.value,
        "filled": _text(view.filled),
    }


def _price(price: Decimal | None) -> str | None:
    return None if price is None else str(price)


def _text(amount: object) -> str:
    return str(amount)
