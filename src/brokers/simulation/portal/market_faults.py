"""What can be wrong with the portal's market data; nothing at first. Reached by `door.state(MarketFaults)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .door import PortalDoor


@dataclass(eq=False)
class MarketFaults:
    """Flags, read where they bite."""

    door: PortalDoor
    #: Lines stay open, and nothing new comes on them.
    silent_feed: bool = False
    #: No contract has any data.
    no_data: bool = False
    #: The first chart of each brokerage session fails (client-portal.md section 2.2).
    cold_charts: bool = False
    #: Alerts cannot be created on this paper account (403, section 2.6).
    alerts_refused: bool = False
