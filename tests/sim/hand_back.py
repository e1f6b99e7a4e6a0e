"""What a person does at the end of a failover: log TWS in again, and give the pen back to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from moondev_ibkr.brokers.errors import BrokerError
from moondev_ibkr.brokers.journal import Journal

from .plan import Doors

if TYPE_CHECKING:
    from .world import World

TRIES = 6


async def give_back(world: World) -> None:
    """`moondev-ibkr doors --to tws`, as often as it takes. Processes that cannot connect find the lease changed."""
    for _ in range(TRIES):
        if world.plan.doors is Doors.ONE_USER:
            world.at_portal("portal-tws-reclaim")
        if world.oracle.pen is None or world.oracle.pen.door == "tws":
            return
        process = world.processes[0]
        world.trace("operator", "gives the pen back to tws")
        if process.failover is None or not process.connected:
            _switch(world)
        else:
            work = world.loop.create_task(process.failover.hand_over("tws"), context=process.context)
            try:
                await asyncio.wait_for(asyncio.shield(work), 60)
            except (BrokerError, TimeoutError) as failure:
                world.trace("operator", "failed", failure)
        await asyncio.sleep(10)


def _switch(world: World) -> None:
    """By the command line, with no process that could do it."""
    journal = Journal(world.path, synchronous="NORMAL", now=lambda: world.gateway.now)
    try:
        world.oracle.committed_lease(journal.switch_door("tws"))
    finally:
        journal.close()
