"""Trading processes over the portal that end themselves with SIGKILL at one named step; run by `portal_kill_rig`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from moondev_ibkr.brokers.domain.clock import MarketClock
from moondev_ibkr.brokers.interactive_brokers.config.ib_config import PortalSettings
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.interactive_brokers.ib_data_manager import DataPolicy
from moondev_ibkr.brokers.interactive_brokers.ib_portal_broker import PortalBroker
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client import IbPortalClient
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.tls import TlsPolicy
from moondev_ibkr.brokers.journal import Journal

from .adapter_world import WIDE
from .kill_driver import PLENTY, SETTINGS, STORIES, CutJournal, Knife, play, serve, story_limit
from .portal_kill_wire import CutWire

POLICY = replace(WIDE, max_position_value=PLENTY, max_exposure=PLENTY)
DATA = DataPolicy(quote_deadline=5.0, freshen_deadline=2.0)
#: Waits shrunk; deadlines stay wide for a machine that is busy.
QUICK = PortalSettings(status_again=0.02, first_wait=0.05, longest_wait=0.2, idle_before_probe=30.0)
#: "asked" is "limit" where the broker's questions were not suppressed.
PORTAL_STORIES = {**STORIES, "asked": story_limit}


def portal_settings(url: str, ca_file: str, client_id: int) -> PortalSettings:
    return replace(QUICK, url=url, ca_file=Path(ca_file), client_id=client_id)


def cut_portal(settings: PortalSettings, clock: MarketClock, knife: Knife, *, asks: bool = False) -> IbPortalClient:
    """The door's own limits are off in these stories, and so are the client's."""
    wire = CutWire(TlsPolicy(settings.url, settings.ca_file), knife, asks=asks)
    return IbPortalClient(settings, clock=clock, wire=wire, limits=())


def make_portal_adapter(
    url: str, ca_file: str, journal: str, client_id: int, knife: Knife | None = None, *, asks: bool = False
) -> IBAdapter:
    """As `kill_driver.make_adapter`, over the portal."""
    clock = MarketClock(rate=0.0)
    settings = portal_settings(url, ca_file, client_id)
    if knife is None:
        client, book = IbPortalClient(settings, clock=clock, limits=()), Journal(journal, now=clock.now)
    else:
        client, book = cut_portal(settings, clock, knife, asks=asks), CutJournal(journal, knife, now=clock.now)
    return PortalBroker(client, journal=book, policy=POLICY, clock=clock, data=DATA, orders=SETTINGS)


async def tell(job: dict[str, Any]) -> dict[str, Any]:
    knife = Knife(job["step"], job["key"])
    adapter = make_portal_adapter(
        job["url"], job["ca_file"], job["journal"], job["client_id"], knife, asks=job["story"] == "asked"
    )
    return await play(job, adapter, knife, PORTAL_STORIES)


if __name__ == "__main__":
    serve(tell)
