"""Market scans of one IB session: a few at once, and what can be asked kept for the session."""

from __future__ import annotations

import asyncio

from ..domain.instrument import Instrument
from ..domain.scan import ScanParameters, ScanRequest
from .ib_pacing import LIMITS
from .ib_transport import IbTransport, LinkEvent, LinkEventKind

#: Half of what IB allows a login: its other programs scan too.
AT_ONCE = LIMITS["scanners"].value // 2


class IBScanner:
    """See `BaseBroker.scan` and `scan_parameters`."""

    def __init__(self, transport: IbTransport) -> None:
        self._transport = transport
        self._places = asyncio.Semaphore(AT_ONCE)
        self._parameters: ScanParameters | None = None
        transport.add_link_listener(self._on_link)

    def _on_link(self, event: LinkEvent) -> None:
        if event.kind is LinkEventKind.LOST:
            self._parameters = None

    async def scan(self, request: ScanRequest) -> list[Instrument]:
        async with self._places:
            return list(await self._transport.scan(request))[: request.rows]

    async def parameters(self) -> ScanParameters:
        if self._parameters is None:
            self._parameters = await self._transport.scan_parameters()
        return self._parameters
