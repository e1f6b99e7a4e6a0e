"""A signed request may wait for a token on its way; the one after it must not arrive too early for that."""

from __future__ import annotations

import asyncio
from typing import Any

from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.limits import Lanes, PortalLimit
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import HttpCall, HttpReply

SECONDS = 0.05


class SlowAtFirst:
    """Its first request takes almost a whole interval to arrive, as with an OAuth exchange in front of it."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []

    async def exchange(self, call: HttpCall) -> HttpReply:
        loop = asyncio.get_running_loop()
        if not self.arrivals:
            await asyncio.sleep(SECONDS * 0.9)
        self.arrivals.append(loop.time())
        return HttpReply(200)

    async def open(self, *arguments: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing is open."""


async def test_one_a_second_is_kept_where_requests_arrive() -> None:
    wire = SlowAtFirst()
    lanes = Lanes(wire, [PortalLimit("tickle", r"/tickle", 1, SECONDS, "P 4")])
    for _ in range(3):
        await lanes.call(HttpCall("POST", "/tickle"))
    first, second, third = wire.arrivals
    assert second - first >= SECONDS
    assert third - second >= SECONDS
