"""The adapter scans over a running gateway: nothing stays subscribed, and a limit is never taken for "nothing"."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.scan import ScanRequest
from moondev_ibkr.brokers.errors import PacingViolation
from moondev_ibkr.brokers.interactive_brokers.ib_error_codes import RequestEffect, request_effect
from moondev_ibkr.brokers.simulation.tws.handlers import HANDLERS
from moondev_ibkr.brokers.simulation.tws.handlers import scanner as door_scanner
from moondev_ibkr.brokers.simulation.tws.requests import ReqScannerSubscription

from ..wire_interop.test_ib_async_interop import eventually
from .adapter_world import AdapterWorld, adapter_world

GAINERS = ScanRequest("TOP_PERC_GAIN")


def open_scans(world: AdapterWorld) -> int:
    (session,) = world.gateway.door.sessions.values()
    return session.count(door_scanner.FAMILY)


async def test_a_scan_is_cancelled_when_it_is_answered_and_twenty_fit_side_by_side():
    async with adapter_world() as world:
        answers = await asyncio.gather(*(world.adapter.scan(GAINERS) for _ in range(20)))
        assert all(answer == answers[0] for answer in answers)
        assert answers[0]
        await eventually(lambda: open_scans(world) == 0)


async def test_a_scan_that_is_given_up_is_cancelled_too(monkeypatch: pytest.MonkeyPatch):
    async with adapter_world() as world:
        asked = asyncio.Event()

        def silent(session: Any, request: ReqScannerSubscription) -> None:
            """Subscribed, and never answered."""

            class Nothing:
                def close(self) -> None: ...

            session.subscribe(door_scanner.FAMILY, request.reqId, Nothing(), AssertionError())
            asked.set()

        monkeypatch.setitem(HANDLERS, ReqScannerSubscription, silent)
        scanning = asyncio.ensure_future(world.adapter.scan(GAINERS))
        await asyncio.wait_for(asked.wait(), 5)
        assert open_scans(world) == 1
        scanning.cancel()
        await asyncio.gather(scanning, return_exceptions=True)
        await eventually(lambda: open_scans(world) == 0)


async def test_too_many_scans_are_a_limit_and_no_empty_market(monkeypatch: pytest.MonkeyPatch):
    async with adapter_world() as world:
        monkeypatch.setattr(door_scanner, "MOST_SCANS", 0)
        with pytest.raises(PacingViolation, match="simultaneous API scanner"):
            await world.adapter.scan(GAINERS)


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        ("Historical Market Data Service query message:no items retrieved", RequestEffect.EMPTY_RESULT),
        ("Only 10 simultaneous API scanner subscriptions are allowed.", RequestEffect.FAILS),
    ],
)
def test_code_165_is_empty_only_where_its_text_says_so(text: str, effect: RequestEffect):
    assert request_effect(165, text) is effect
