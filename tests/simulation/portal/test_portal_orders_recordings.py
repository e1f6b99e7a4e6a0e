"""Accounts, portfolios, orders and trades have the shape of what IB's own servers sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from moondev_ibkr.brokers.simulation.portal.request import Answer

from .orders import ORDERS, place, placed, ticket
from .recordings import assert_like, names, needs_recordings
from .rig import ACCOUNT, Rig


def _live_orders(rig: Rig) -> Answer:
    placed(rig, ticket("MKT", quantity=1))
    rig.get("/iserver/account/orders")
    return rig.get("/iserver/account/orders")


def _reply(rig: Rig) -> Answer:
    asked = place(rig, ticket("STP", "SELL", price=250))
    return rig.post(f"/iserver/reply/{asked.body[0]['id']}", {"confirmed": True})


def _change(rig: Rig) -> Answer:
    return rig.post(f"/iserver/account/{ACCOUNT}/order/{placed(rig)}", ticket(price=261))


def _positions(rig: Rig) -> Answer:
    placed(rig, ticket("MKT", quantity=3))
    return rig.get(f"/portfolio/{ACCOUNT}/positions/0")


ASKED: dict[str, Callable[[Rig], Answer]] = {
    "Accounts_GET-account-summary": lambda rig: rig.get(f"/iserver/account/{ACCOUNT}/summary"),
    "Accounts_GET-iserver-accounts": lambda rig: rig.get("/iserver/accounts"),
    "Accounts_POST-switch-account": lambda rig: rig.post("/iserver/account", {"acctId": ACCOUNT}),
    "Orders_DELETE-cancel-order": lambda rig: rig.delete(f"/iserver/account/{ACCOUNT}/order/{placed(rig)}"),
    "Orders_GET-live-orders": _live_orders,
    "Orders_GET-live-orders-empty": lambda rig: rig.get("/iserver/account/orders"),
    "Orders_GET-trades-empty": lambda rig: rig.get("/iserver/account/trades"),
    "Orders_POST-modify-order-submitted": _change,
    "Orders_POST-place-order-confirmation": lambda rig: place(rig, ticket("STP", "SELL", price=250)),
    "Orders_POST-place-order-submitted": lambda rig: place(rig, ticket()),
    "Orders_POST-reply-submitted": _reply,
    "Portfolio_GET-portfolio-accounts": lambda rig: rig.get("/portfolio/accounts"),
    "Portfolio_GET-portfolio-ledger": lambda rig: rig.get(f"/portfolio/{ACCOUNT}/ledger"),
    "Portfolio_GET-portfolio-positions-empty": lambda rig: rig.get(f"/portfolio/{ACCOUNT}/positions/999"),
    "Portfolio_GET-portfolio-positions-page0": _positions,
    "Portfolio_GET-portfolio-summary": lambda rig: rig.get(f"/portfolio/{ACCOUNT}/summary"),
    "Portfolio_POST-portfolio-invalidate": lambda rig: rig.post(f"/portfolio/{ACCOUNT}/positions/invalidate"),
}


@needs_recordings
@pytest.mark.parametrize("name", sorted(ASKED))
def test_an_answer_has_the_shape_of_ibs_own(rig: Rig, name: str) -> None:
    assert_like(name, ASKED[name](rig))


@needs_recordings
def test_every_recording_of_accounts_orders_and_portfolios_is_compared() -> None:
    mine = [name for name in names() if name.split("_")[0] in ("Accounts", "Orders", "Portfolio")]
    assert sorted(ASKED) == mine


def test_a_question_and_its_reply_travel_the_same_endpoint(rig: Rig) -> None:
    assert rig.post(ORDERS, {"orders": [ticket("STP", "SELL", price=250)]}).body[0]["messageIds"] == ["o10331"]
