from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .world import WORLDS, World


@pytest.fixture(params=sorted(WORLDS))
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = WORLDS[request.param]()
    await made.open()
    try:
        yield made
    finally:
        await made.close()
