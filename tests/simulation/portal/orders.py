"""Order bodies of the portal tests, and what is done with their answers."""

from __future__ import annotations

from typing import Any

from moondev_ibkr.brokers.simulation.portal.request import Answer

from .rig import AAPL_ID, ACCOUNT, Rig

ORDERS = f"/iserver/account/{ACCOUNT}/orders"


def ticket(kind: str = "LMT", side: str = "BUY", quantity: Any = 5, **fields: Any) -> dict[str, Any]:
    """A day order for AAPL; a limit order rests below the market unless `price` says otherwise."""
    body: dict[str, Any] = {
        "conid": AAPL_ID,
        "orderType": kind,
        "side": side,
        "quantity": quantity,
        "tif": "DAY",
        **({"price": 260} if kind == "LMT" else {}),
        **fields,
    }
    return {name: value for name, value in body.items() if value is not None}


def place(rig: Rig, *tickets: dict[str, Any]) -> Answer:
    return rig.post(ORDERS, {"orders": list(tickets or (ticket(),))})


def placed(rig: Rig, *tickets: dict[str, Any]) -> str:
    """The order id of the first ticket, which must be taken without a question."""
    answer = place(rig, *tickets)
    assert answer.status == 200, answer
    assert "order_id" in answer.body[0], answer.body
    return str(answer.body[0]["order_id"])


def live(rig: Rig) -> list[dict[str, Any]]:
    """Live orders, warmed up."""
    rig.get("/iserver/account/orders", force="true")
    return list(rig.get("/iserver/account/orders").body["orders"])


def by_id(rows: list[dict[str, Any]], number: str) -> dict[str, Any]:
    return next(row for row in rows if row["orderId"] == int(number))
