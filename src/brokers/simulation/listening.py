"""The end of a listening socket."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def stop_listening(server: asyncio.Server) -> None:
    """Let in nobody any more, and close once whoever was accepted in this moment has a transport.

    asyncio's accept takes a turn of the loop until the transport is there; a server that is closed in between makes
    it fail, and leaves the socket open with nobody to close it (`Server._attach`).
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        # a proactor has no readers, and uvloop's are its own
        with suppress(NotImplementedError, RuntimeError):
            loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    server.close()
