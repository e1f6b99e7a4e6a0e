"""What each handled request does: one table from the request's class to its function `(session, request)`.

A handler answers through the session, or raises `Refusal`. A test proves that the table serves exactly the requests
that `messages_in.REQUESTS` calls handled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..request import Request
from .accounts import HANDLERS as ACCOUNTS
from .bars import HANDLERS as BARS
from .connection import HANDLERS as CONNECTION
from .contracts import HANDLERS as CONTRACTS
from .depth import HANDLERS as DEPTH
from .fundamentals import HANDLERS as FUNDAMENTALS
from .history import HANDLERS as HISTORY
from .news import HANDLERS as NEWS
from .option_values import HANDLERS as OPTION_VALUES
from .orders import HANDLERS as ORDERS
from .quotes import HANDLERS as QUOTES
from .scanner import HANDLERS as SCANNER
from .tick_by_tick import HANDLERS as TICK_BY_TICK

HANDLERS: dict[type[Request], Callable[..., Any]] = {
    **CONNECTION,
    **ACCOUNTS,
    **CONTRACTS,
    **QUOTES,
    **TICK_BY_TICK,
    **DEPTH,
    **BARS,
    **HISTORY,
    **NEWS,
    **OPTION_VALUES,
    **ORDERS,
    **SCANNER,
    **FUNDAMENTALS,
}
