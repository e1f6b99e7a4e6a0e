"""The sockets of one gateway: the TWS door, and the portal where it is open. Both serve the same exchange.

doors = Doors(settings, tws_door, portal, timers, catch_up)
await doors.open()              # both listen, or neither; ConfigurationError for a port that is taken
await doors.drained()           # everything sent so far has left this process
await doors.close()
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .gateway_settings import GatewaySettings
from .timers import MarketTimers
from .tws.door import TwsDoor
from .tws.server import TwsServer

if TYPE_CHECKING:
    from .portal.door import PortalDoor
    from .portal.server import PortalServer


class Doors:
    """`portal` makes the portal door; it is called only when that is to be opened."""

    def __init__(
        self,
        settings: GatewaySettings,
        door: TwsDoor,
        portal: Callable[[], PortalDoor],
        timers: MarketTimers,
        catch_up: Callable[[], None],
    ) -> None:
        self.tws = TwsServer(door, timers, catch_up)
        self.portal: PortalServer | None = None
        self.ca_file: Path | None = None
        self._settings = settings
        self._make_portal = portal
        self._catch_up = catch_up
        self._chores: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Raises ConfigurationError for a port that is taken, or a file that cannot be written."""
        settings = self._settings
        await _listen(self.tws, settings.tws.host, settings.tws.port, "--tws-port")
        if settings.portal.port is None:
            return
        from .portal.server import PortalServer

        portal = PortalServer(self._make_portal(), self._catch_up, self.tws.settle)
        try:
            await _listen(portal, settings.portal.host, settings.portal.port, "--portal-port")
            self.portal = portal
            self._write_authority(portal)
        except ConfigurationError:
            await self.close()
            raise

    async def close(self) -> None:
        for task in tuple(self._chores):
            task.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self.tws.close()
        if self.portal is not None:
            await self.portal.close()
        if self.ca_file is not None and self._settings.portal.ca_file is None:
            self.ca_file.unlink(missing_ok=True)

    # what was sent

    @property
    def is_congested(self) -> bool:
        """Whether a client reads more slowly than it is written to."""
        return self.tws.is_congested or (self.portal is not None and self.portal.is_congested)

    async def drained(self) -> None:
        """Waits for clients that do not read `stall_seconds` at most."""
        await self.tws.drained(self._settings.stall_seconds)
        if self.portal is not None:
            await self.portal.drained(self._settings.stall_seconds)

    # faults of the sockets

    def plan_restart(self, seconds: float) -> None:
        """The TWS door listens to nobody for a while, real time."""
        self._chore(_restart(self.tws, seconds))

    def plan_portal_restart(self, seconds: float) -> None:
        """The portal likewise; nothing where it is closed."""
        if self.portal is not None:
            self._chore(_restart(self.portal, seconds))

    def plan_move(self, port: int) -> None:
        self._chore(self._move(port))

    async def _move(self, port: int) -> None:
        new_port = await self.tws.move(port)
        text = (
            "TWS socket port has been reset and this connection is being dropped. "
            f"Please reconnect on the new port - {new_port}"
        )
        self.tws.faults.tell_everybody(1300, text)
        for session in tuple(self.tws.door.sessions.values()):
            session.hang_up()

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    # files

    def _write_authority(self, portal: PortalServer) -> None:
        """Where the settings say, else beside the ready-file, else nowhere."""
        ready_file = self._settings.ready_file
        path = self._settings.portal.ca_file
        if path is None and ready_file is not None:
            path = ready_file.with_name(ready_file.stem + "-ca.pem")
        if path is None:
            return
        try:
            portal.certificate.write(path)
        except OSError as error:
            raise ConfigurationError(
                f"writing {path}", error.strerror or str(error), "choose another ca_file"
            ) from None
        self.ca_file = path.absolute()

    def write_ready(self, path: Path, accounts: list[str]) -> None:
        """Atomic: whoever sees the file sees all of it."""
        portal = self.portal
        content = {
            "tws": {"host": self.tws.host, "port": self.tws.port},
            "portal": None if portal is None else {"url": portal.url, "ca_file": self.ca_file and str(self.ca_file)},
            "accounts": accounts,
            "pid": os.getpid(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(content))
        os.replace(part, path)


async def _listen(server: TwsServer | PortalServer, host: str, port: int, option: str) -> None:
    try:
        await server.start()
    except OSError as error:
        raise ConfigurationError(
            f"listening on {host}:{port}", error.strerror or str(error), f"choose another {option}, or 0 for a free one"
        ) from None


async def _restart(server: TwsServer | PortalServer, seconds: float) -> None:
    await server.close()
    await asyncio.sleep(seconds)
    await server.start()
