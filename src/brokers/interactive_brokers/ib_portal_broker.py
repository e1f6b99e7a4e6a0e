"""The broker "portal": IBAdapter over the Client Portal alone."""

from __future__ import annotations

from ...config.settings import Settings
from ..domain.clock import MarketClock
from ..journal import Journal
from ..orders import OrderSettings
from .ib_adapter import IBAdapter
from .ib_second_source import QuoteSource
from .ib_sessions import PORTAL


class PortalBroker(IBAdapter):
    """Order types and data that the portal lacks are refused here, never translated (fault O48)."""

    name = "portal"

    @classmethod
    def from_settings(
        cls,
        settings: Settings | None = None,
        *,
        journal: Journal | None = None,
        clock: MarketClock | None = None,
        second_source: QuoteSource | None = None,
        orders: OrderSettings | None = None,
        door: str = PORTAL,
    ) -> IBAdapter:
        """As `IBAdapter.from_settings`, with `door` "portal"."""
        return super().from_settings(
            settings, journal=journal, clock=clock, second_source=second_source, orders=orders, door=door
        )
