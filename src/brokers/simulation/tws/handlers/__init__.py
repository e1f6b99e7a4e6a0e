"""What each handled request does: one table from the request's class to its function `(session, request)`.

A handler answers through the session, or raises `Refusal`. A test proves that the table serves exactly the requests
that `messages_in.REQUESTS` calls handled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..request import Request
from . import accounts, bars, connection, contracts, depth, history, orders, quotes, tick_by_tick

HANDLERS: dict[type[Request], Callable[..., Any]] = {
    **connection.HANDLERS,
    **accounts.HANDLERS,
    **contracts.HANDLERS,
    **quotes.HANDLERS,
    **tick_by_tick.HANDLERS,
    **depth.HANDLERS,
    **bars.HANDLERS,
    **history.HANDLERS,
    **orders.HANDLERS,
}
