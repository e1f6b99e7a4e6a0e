"""IB counts requests by address: the next process knows what the one before it asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from moondev_ibkr.brokers.errors import ConnectFailed, PacingViolation
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.limits import Lanes
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.pace_file import PaceFile
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import HttpCall, HttpReply
from moondev_ibkr.brokers.interactive_brokers.ib_transport import LinkState

from tests.sim.loop import VirtualLoop

from .rig import PortalWorld, virtually

HERE, THERE = "https://127.0.0.1:5000", "https://127.0.0.1:15000"
ORDERS = HttpCall("GET", "/iserver/account/orders")


class Wire:
    """Answers at once, and notes when it was asked."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.asked: list[float] = []

    async def exchange(self, call: HttpCall) -> HttpReply:
        self.asked.append(asyncio.get_running_loop().time())
        return HttpReply(self.status, "{}")


def at(loop: VirtualLoop, path: Path, address: str = HERE) -> PaceFile:
    """The wall's clock is the loop's."""
    return PaceFile(path, address, lambda: 1_000_000 + loop.time())


def run(story) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(story(loop))
    finally:
        loop.close()


def test_the_next_process_waits_for_what_the_one_before_it_asked(tmp_path: Path) -> None:
    async def story(loop: VirtualLoop) -> None:
        path, wire = tmp_path / "pace.json", Wire()
        for _ in range(3):
            lanes = Lanes(wire, memory=at(loop, path))
            lanes.recall()
            await lanes.call(ORDERS)
            await asyncio.sleep(1)
        first, second, third = wire.asked
        assert second - first >= 5
        assert third - second >= 5

    run(story)


def test_another_address_has_limits_of_its_own(tmp_path: Path) -> None:
    async def story(loop: VirtualLoop) -> None:
        path, wire = tmp_path / "pace.json", Wire()
        for address in (HERE, THERE):
            lanes = Lanes(wire, memory=at(loop, path, address))
            lanes.recall()
            await lanes.call(ORDERS)
        assert wire.asked[0] == wire.asked[1]

    run(story)


def test_p10_the_next_process_leaves_a_gateway_alone_that_answered_429(tmp_path: Path) -> None:
    async def story(loop: VirtualLoop) -> None:
        path, wire = tmp_path / "pace.json", Wire(429)
        await Lanes(wire, memory=at(loop, path)).call(ORDERS)
        lanes = Lanes(wire, memory=at(loop, path))
        lanes.recall()
        with pytest.raises(PacingViolation, match="left alone for 6 s"):
            await lanes.call(HttpCall("GET", "/iserver/accounts"))
        assert len(wire.asked) == 1

    run(story)


@pytest.mark.parametrize("content", ["", "[]", '{"x": 1}', f'{{"{HERE}": {{"rows": [], "closed_until": "soon"}}}}'])
def test_a_file_that_says_nothing_holds_nobody_back(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pace.json"
    path.write_text(content)
    assert PaceFile(path, HERE).recall() == ({}, 0.0)


def test_a_clock_that_went_back_holds_nobody_back(tmp_path: Path) -> None:
    path, now = tmp_path / "pace.json", [1000.0]
    memory = PaceFile(path, HERE, lambda: now[0])
    memory.note("live orders")
    memory.close(600)
    now[0] = 0.0
    assert memory.recall() == ({}, 0.0)


def test_a_state_folder_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    """Found with `doctor` on a new machine: nothing was remembered, and its second run was answered 429."""
    path = tmp_path / "state" / "paper" / "pace.json"
    PaceFile(path, HERE).note("accounts")
    assert "accounts" in PaceFile(path, HERE).recall()[0]


def test_a_folder_that_cannot_be_written_costs_the_memory_alone(tmp_path: Path, caplog) -> None:
    (tmp_path / "file").write_text("no folder")
    memory = PaceFile(tmp_path / "file" / "pace.json", HERE)
    memory.note("live orders")
    memory.note("trades")
    assert memory.recall() == ({}, 0.0)
    assert caplog.text.count("not remembered") == 1


def test_p10_a_session_begun_right_after_another_programs_waits_out_the_429_once() -> None:
    async def story() -> None:
        async with PortalWorld(paced=True) as first:
            begun = asyncio.get_running_loop().time()
            async with PortalWorld(paced=True, gateway=first.gateway) as second:
                assert second.client.state is LinkState.READY
            refused = second.client._lanes.answers[429]
            assert refused == 1
            assert 6 <= asyncio.get_running_loop().time() - begun <= 30

    virtually(story())


def test_p10_a_start_gives_up_at_once_where_the_pause_is_long() -> None:
    async def story() -> None:
        world = PortalWorld(client={"penalty": 5.0, "connect_deadline": 4.0})
        world.arm("penalty", "600")
        with pytest.raises((ConnectFailed, PacingViolation), match="429"):
            await world.client.connect()
        assert world.client.state is LinkState.DOWN
        await world.client.disconnect()

    virtually(story())
