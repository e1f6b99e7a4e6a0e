"""Bytes of the portal's paths, bodies and frames, counted in both directions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.metered_wire import MeteredWire
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import Ambiguous, HttpCall, HttpReply


class FakeWire:
    def __init__(self) -> None:
        self.sent: list[str] = []
        self.fails = False
        self.on_frame: Callable[[str], None] = lambda text: None

    async def exchange(self, call: HttpCall) -> HttpReply:
        if self.fails:
            raise Ambiguous("reset")
        return HttpReply(200, "x" * 500, {}, 0.01)

    async def open(self, cookie, on_frame, on_closed, deadline, suffix=""):
        self.on_frame = on_frame
        return self

    def send(self, text: str) -> None:
        self.sent.append(text)

    async def close(self) -> None:
        return None


async def test_exchanges_and_frames_are_counted_and_passed_on() -> None:
    wire = FakeWire()
    metered = MeteredWire(wire)
    reply = await metered.exchange(HttpCall("POST", "/iserver/account/x/orders", body={"a": 1}, deadline=1.0))
    assert reply.text == "x" * 500
    assert (metered.received, metered.sent) == (500, len("/iserver/account/x/orders") + len('{"a": 1}'))
    heard: list[str] = []
    sender = await metered.open("cookie", heard.append, lambda why: None, 1.0)
    wire.on_frame("Zürich")
    sender.send("tic")
    assert heard == ["Zürich"]
    assert wire.sent == ["tic"]
    assert (metered.received, metered.sent) == (507, 36)


async def test_what_left_counts_though_no_answer_came() -> None:
    wire = FakeWire()
    wire.fails = True
    metered = MeteredWire(wire)
    with pytest.raises(Ambiguous):
        await metered.exchange(HttpCall("GET", "/tickle", deadline=1.0))
    assert (metered.received, metered.sent) == (0, len("/tickle"))
