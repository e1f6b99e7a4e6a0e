"""Answers to the questions and prompts that an order earns, and which of them are not asked any more."""

from __future__ import annotations

from collections.abc import Mapping

from ..orders import OrderDesk
from ..request import Answer, PortalRefusal, PortalRequest
from ..routes import Route, Tier
from ..session import PortalSession


def reply(session: PortalSession, request: PortalRequest) -> Answer:
    if not request.text("confirmed"):
        raise PortalRefusal("Bad Request: confirmed is missing")
    return session.brokerage(OrderDesk).reply(request.parts["question"], request.flag("confirmed"))


def notification(session: PortalSession, request: PortalRequest) -> Answer:
    """The answer to a prompt: its reqId, and the text of the option chosen."""
    return session.brokerage(OrderDesk).prompted(request.text("reqId"), request.text("text"))


def suppress(session: PortalSession, request: PortalRequest) -> Answer:
    ids = request.body.get("messageIds") if isinstance(request.body, Mapping) else None
    if not isinstance(ids, list) or not all(isinstance(message_id, str) for message_id in ids):
        raise PortalRefusal("Bad Request: messageIds is missing")
    session.brokerage(OrderDesk).suppress(ids)
    return Answer({"status": "submitted"})


def ask_again(session: PortalSession, request: PortalRequest) -> Answer:
    session.brokerage(OrderDesk).suppressed.clear()
    return Answer({"status": "submitted"})


ROUTES: tuple[Route, ...] = (
    Route(("POST",), "/iserver/reply/{question}", reply, Tier.BROKERAGE, "Answers a question about an order."),
    Route(("POST",), "/iserver/notification", notification, Tier.BROKERAGE, "Answers a prompt about an order."),
    Route(("POST",), "/iserver/questions/suppress", suppress, Tier.BROKERAGE, "Questions not to ask in this session."),
    Route(("POST",), "/iserver/questions/suppress/reset", ask_again, Tier.BROKERAGE, "Ask every question again."),
)
