from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .gateway_world import GatewayWorld
from .portal_world import PortalWorld
from .world import WORLDS, World

WORLDS.setdefault("ib", GatewayWorld)
WORLDS.setdefault("portal", PortalWorld)


@pytest.fixture(params=sorted(WORLDS))
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = WORLDS[request.param]()
    await made.open()
    try:
        yield made
    finally:
        await made.close()
