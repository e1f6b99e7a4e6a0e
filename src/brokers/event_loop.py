"""The event loop that the command line and the synchronous façade run on: uvloop's where it is installed."""

from __future__ import annotations

import asyncio
import gc
import logging
import time

from ..config.profiles import Profile

log = logging.getLogger(__name__)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A fresh loop, not yet anybody's. Windows, where there is no uvloop, keeps asyncio's own."""
    try:
        import uvloop
    except ImportError:
        log.debug("uvloop is not installed (the extra `fast`); the standard event loop is used")
        return asyncio.new_event_loop()

    class Loop(uvloop.Loop):  # type: ignore[misc]  # it has no types
        def time(self) -> float:
            # uvloop's own counts the same seconds in steps of a millisecond, too coarse for a latency
            return time.monotonic()

    loop: asyncio.AbstractEventLoop = Loop()
    return loop


def quiet_collector(profile: Profile) -> None:
    """Take what start-up made out of the collector's sight, where the profile wants it: it lives as long as the
    process, and no collection needs to look at it again."""
    if profile.gc_freeze:
        gc.collect()
        gc.freeze()
