"""The endpoints of the portal door: one table, assembled from the modules of this folder.

A path that could be two routes is the one with fewer captured parts.
"""

from __future__ import annotations

from ..oauth_door import ROUTES as OAUTH
from ..routes import Route
from .accounts import ROUTES as ACCOUNTS
from .alerts import ROUTES as ALERTS
from .contracts import ROUTES as CONTRACTS
from .fyi import ROUTES as FYI
from .history import ROUTES as HISTORY
from .orders import ROUTES as ORDERS
from .portfolio import ROUTES as PORTFOLIO
from .replies import ROUTES as REPLIES
from .scanner import ROUTES as SCANNER
from .session import ROUTES as SESSION
from .snapshot import ROUTES as SNAPSHOT
from .trades import ROUTES as TRADES

ROUTES: tuple[Route, ...] = tuple(
    sorted(
        (
            *SESSION,
            *ACCOUNTS,
            *PORTFOLIO,
            *ORDERS,
            *REPLIES,
            *TRADES,
            *OAUTH,
            *CONTRACTS,
            *SNAPSHOT,
            *HISTORY,
            *SCANNER,
            *ALERTS,
            *FYI,
        ),
        key=lambda route: route.path.count("{"),
    )
)
