"""Orders: place, estimate, change, cancel, list, look up. Source: client-portal.md section 2.5."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from ....domain.order import WhatIf
from ...tickets import OrderTicket
from ..chosen_account import Chosen
from ..order_rows import live_row, status_row
from ..order_sight import LiveOrders, view_of
from ..order_tickets import PORTAL_CLIENT_ID, Draft, read_change, read_tickets
from ..order_words import plain
from ..orders import UPSTREAM_SECONDS, Ids, OrderDesk
from ..request import Answer, PortalRefusal, PortalRequest
from ..routes import Route, Tier
from ..session import PortalSession
from .accounts import known_account


def _desk(session: PortalSession, request: PortalRequest) -> tuple[OrderDesk, str]:
    """The desk and the account of the path. A question that waits there is gone, whatever becomes of this request."""
    account = known_account(session, request.parts["account"])
    desk = session.brokerage(OrderDesk)
    desk.disturb(account)
    return desk, account


def _drafts(session: PortalSession, request: PortalRequest, account: str) -> list[Draft]:
    """The tickets of the body: {"orders": [...]}, or the bare list that old clients send."""
    rows = request.body.get("orders") if isinstance(request.body, Mapping) else request.body
    if not isinstance(rows, list) or not rows:
        raise PortalRefusal("Bad Request: orders is missing")
    group: UUID = session.door.state(Ids).take()
    return read_tickets(session, account, rows, group)


def place(session: PortalSession, request: PortalRequest) -> Answer:
    desk, account = _desk(session, request)
    return desk.submit(account, _drafts(session, request, account))


def what_if(session: PortalSession, request: PortalRequest) -> Answer:
    """Every figure is text; what the exchange cannot tell is "N/A"."""
    desk, account = _desk(session, request)
    ticket, estimate = desk.what_if(_drafts(session, request, account))
    return Answer(_estimate(session, ticket, estimate))


def _estimate(session: PortalSession, ticket: OrderTicket, estimate: WhatIf) -> dict[str, Any]:
    exchange, currency = session.door.exchange, estimate.currency
    market, details = exchange.market(ticket.con_id), exchange.details(ticket.con_id)
    assert details is not None  # the what-if has found it
    held = exchange.pnl_single(ticket.account, ticket.con_id).quantity or Decimal(0)
    change = ticket.quantity * ticket.side.sign
    at = ticket.limit_price or ticket.stop_price or (market.ask if ticket.side.sign > 0 else market.bid)
    amount = None if at is None else at * ticket.quantity * details.instrument.multiplier
    fee = estimate.commission
    total = None if amount is None or fee is None else amount + fee
    return {
        "amount": {
            "amount": f"{_money(amount)} {currency} ({plain(ticket.quantity)} Shares)",
            "commission": f"{_money(fee)} {currency}",
            "total": f"{_money(total)} {currency}",
        },
        "equity": _moved(estimate.equity_after, estimate.equity_change),
        "initial": _moved(estimate.initial_margin_after, estimate.initial_margin_change),
        "maintenance": _moved(estimate.maintenance_margin_after, estimate.maintenance_margin_change),
        "position": {"current": plain(held), "change": plain(change), "after": plain(held + change)},
        "warn": estimate.warning or None,
        "error": None,
    }


def _moved(after: Decimal | None, change: Decimal | None) -> dict[str, str]:
    current = None if after is None or change is None else after - change
    return {"current": _money(current), "change": _money(change), "after": _money(after)}


def _money(amount: Decimal | None) -> str:
    return "N/A" if amount is None else f"{amount:,.2f}"


def change(session: PortalSession, request: PortalRequest) -> Answer:
    """One bare ticket with every attribute, as it is to be."""
    desk, account = _desk(session, request)
    view = desk.reachable(account, request.parts["order"])
    return desk.change(view, read_change(session, view, request.body))


def cancel(session: PortalSession, request: PortalRequest) -> Answer:
    desk, account = _desk(session, request)
    return desk.cancel(account, request.parts["order"])


def live_orders(session: PortalSession, request: PortalRequest) -> Answer:
    orders, account = session.brokerage(LiveOrders), request.text("accountId")
    if account:
        known_account(session, account)
    if not orders.ask(request.text("filters").split(","), force=request.flag("force")):
        return Answer({"orders": [], "snapshot": False})
    rows = [live_row(session.door, view) for view in orders.views(account)]
    return Answer({"orders": rows, "snapshot": True})


def status(session: PortalSession, request: PortalRequest) -> Answer:
    """Only for orders of the chosen account that this session has seen: its own, and all once the live orders were
    asked for (fault P12)."""
    view = view_of(session.door, request.parts["order"])
    own = view is not None and view.client_id == PORTAL_CLIENT_ID and view.created_at >= session.brokerage_at
    cached = own or session.brokerage(LiveOrders).warm
    if view is None or not cached or view.account != session.brokerage(Chosen).account:
        return Answer(None, 503, delay=UPSTREAM_SECONDS)
    return Answer(status_row(session.door, view))


ROUTES: tuple[Route, ...] = (
    Route(("POST",), "/iserver/account/{account}/orders", place, Tier.ACCOUNTS, "Places orders, or asks first."),
    Route(("POST",), "/iserver/account/{account}/orders/whatif", what_if, Tier.ACCOUNTS, "What an order would change."),
    Route(("POST",), "/iserver/account/{account}/order/{order}", change, Tier.ACCOUNTS, "Changes an order."),
    Route(
        ("DELETE",), "/iserver/account/{account}/order/{order}", cancel, Tier.ACCOUNTS, "Cancels an order, or all (-1)."
    ),
    Route(
        ("GET",),
        "/iserver/account/orders",
        live_orders,
        Tier.ACCOUNTS,
        "Working orders and those that ended in this session; empty at first.",
        pace="orders",
    ),
    Route(("GET",), "/iserver/account/order/status/{order}", status, Tier.ACCOUNTS, "One order."),
)
