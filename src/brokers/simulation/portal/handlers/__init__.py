"""The endpoints of the portal door: one table, assembled from the modules of this folder.

A path that could be two routes is the one with fewer captured parts.
"""

from __future__ import annotations

from ..routes import Route
from .session import ROUTES as SESSION

ROUTES: tuple[Route, ...] = tuple(
    sorted(
        (*SESSION,),
        key=lambda route: route.path.count("{"),
    )
)
