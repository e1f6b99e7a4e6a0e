"""Clients of every kind at the door: each on its own, and none harmed by another."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.order import Side
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.tickets import OrderTicket
from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.codec import pack, unpack
from moondev_ibkr.brokers.simulation.tws.handlers import HANDLERS
from moondev_ibkr.brokers.simulation.tws.session import Session

from .orders import order
from .rig import AAPL, AAPL_ID, RawClient, joined, running


@pytest.mark.parametrize(("offer", "agreed"), [(157, 157), (158, 157), (163, 163), (176, 176), (178, 178), (225, 178)])
async def test_each_connection_negotiates_its_own_version(offer: int, agreed: int) -> None:
    async with running() as gateway:
        client = await RawClient.join(gateway.tws_port, version=offer)
        assert client.version == agreed
        client.send(r.ReqContractDetails(reqId=3, contract=AAPL, includeExpired=False, secIdType="", secId=""))
        assert (await client.until("contractDetails"))["conId"] == AAPL_ID
        await client.close()


async def test_greeting_is_what_tws_says_and_nothing_before_start_api() -> None:
    async with running() as gateway:
        client = await RawClient.open(gateway.tws_port)
        await client.greet()
        assert unpack(bytes(client.raw[4:]))[1] == "20260415 11:00:00 EDT"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.frame()
        client.send(r.StartApi(clientId=1))
        await client.error(2158)
        assert client.names() == ["managedAccounts", "nextValidId", "error", "error", "error"]
        assert client.seen[0][1] == {"accountsList": "DU0000001"}
        await client.close()


async def test_a_second_client_with_the_same_id_is_told_326_and_dropped() -> None:
    async with running() as gateway, joined(gateway, 7) as first:
        second = await RawClient.open(gateway.tws_port)
        await second.greet()
        second.send(r.StartApi(clientId=7))
        error = await second.error(326)
        assert error["reqId"] == -1
        assert await second.ended()
        assert await first.quiet() == []


async def test_the_id_is_free_again_when_its_client_has_left() -> None:
    async with running() as gateway:
        first = await RawClient.join(gateway.tws_port, 7)
        await first.close()
        while gateway.door.sessions:
            await asyncio.sleep(0)
        second = await RawClient.join(gateway.tws_port, 7)
        await second.close()


async def test_a_slow_handshake_is_dropped() -> None:
    async with running(tws={"handshake_seconds": 0.05}) as gateway:
        silent = await RawClient.open(gateway.tws_port)
        half = await RawClient.open(gateway.tws_port)
        half.writer.write(b"API\0\0\0")
        unstarted = await RawClient.open(gateway.tws_port)
        await unstarted.greet()
        for client in (silent, half, unstarted):
            assert await client.ended()


async def test_a_peer_outside_the_list_is_turned_away() -> None:
    async with running(tws={"allowed": ("10.0.0.0/8",)}) as gateway:
        client = await RawClient.open(gateway.tws_port)
        assert await client.ended()
    async with running(tws={"allowed": ("127.0.0.0/8",)}) as gateway, joined(gateway):
        assert len(gateway.door.sessions) == 1


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 24])
async def test_a_hostile_length_is_refused_clearly_and_costs_its_own_connection_only(length: int) -> None:
    async with running() as gateway, joined(gateway, 1) as good:
        bad = await RawClient.join(gateway.tws_port, 2)
        bad.writer.write(struct.pack(">I", length))
        error = await bad.error(507)
        assert str(length) in error["errorString"]
        assert await bad.ended()
        assert await good.quiet() == []


async def test_an_unknown_or_malformed_request_is_answered_and_the_session_goes_on() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send_fields(4711, 1, 2)
        assert "4711" in (await client.error(320))["errorString"]
        client.send_fields(94, "xyz", "DU0000001", "", 265598)
        error = await client.error(320)
        assert "reqPnLSingle.reqId" in error["errorString"]
        client.send_fields(94, 12, "DU0000001", "", "many")
        error = await client.error(320)
        assert (error["reqId"], "conId" in error["errorString"]) == (12, True)
        client.send_fields(49)
        await client.error(320)
        assert await client.quiet() == []


async def test_refused_requests_get_ibs_own_error() -> None:
    async with running() as gateway, joined(gateway) as client:
        client.send_fields(18, 1, 1)
        assert (await client.error(321))["errorString"].endswith("ignored for non FA customers.")
        client.send_fields(100, 78)
        assert (await client.error(10276))["reqId"] == 78


async def test_start_api_twice_ends_the_connection() -> None:
    async with running() as gateway:
        client = await RawClient.join(gateway.tws_port)
        client.send(r.StartApi(clientId=1))
        assert await client.ended()
        assert not gateway.door.sessions


async def test_requests_split_at_every_byte_and_coalesced_are_served_alike() -> None:
    async with running() as gateway, joined(gateway) as client:
        request = pack(["49", "1"])
        for byte in request:
            client.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await client.until("currentTime")
        client.writer.write(request * 50)
        for _ in range(50):
            await client.until("currentTime")


async def test_a_thousand_connections_at_once() -> None:
    async with running() as gateway, joined(gateway, 5000) as witness:
        clients = []
        for start in range(0, 1000, 100):
            clients += await asyncio.gather(*(RawClient.join(gateway.tws_port, n) for n in range(start, start + 100)))
        assert len(gateway.door.sessions) == 1001
        witness.send(order(1, "BUY", 1))
        await witness.until("execDetails")
        for client in clients:
            client.writer.close()


async def test_fifty_messages_a_second_then_100_and_at_the_third_strike_the_end() -> None:
    clock = [0.0]
    async with running(tws={"message_rate": 50}, monotonic=lambda: clock[0]) as gateway:
        client = await RawClient.join(gateway.tws_port)
        for strike in (1, 2, 3):
            clock[0] += 10
            client.writer.write(pack(["49", "1"]) * 60)
            error = await client.error(100)
            assert f"({strike})" in error["errorString"]
        assert await client.ended()


async def test_a_gateway_that_is_slow_to_answer_strikes_nobody_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, spent = [0.0], [0.02]
    serve = HANDLERS[r.ReqCurrentTime]

    def slow(session: Session, request: r.ReqCurrentTime) -> None:
        clock[0] += spent[0]
        serve(session, request)

    monkeypatch.setitem(HANDLERS, r.ReqCurrentTime, slow)
    async with running(tws={"message_rate": 50}, monotonic=lambda: clock[0]) as gateway:
        client = await RawClient.join(gateway.tws_port)
        for arrival, seconds_each in ((10.0, 0.02), (11.05, 0.0)):
            clock[0], spent[0] = arrival, seconds_each
            client.writer.write(pack(["49", "1"]) * 40)
            for _ in range(40):
                await client.until("currentTime")
        assert not any(name == "error" and values["errorCode"] == 100 for name, values in client.seen)
        await client.close()


async def test_a_client_that_asked_to_be_paced_is_never_struck() -> None:
    async with running(tws={"message_rate": 40}) as gateway:
        client = await RawClient.join(gateway.tws_port, options="+PACEAPI")
        client.writer.write(pack(["49", "1"]) * 60)
        for _ in range(60):
            await client.until("currentTime")
        assert not any(name == "error" and values["errorCode"] == 100 for name, values in client.seen)
        await client.close()


def stop_reading(gateway: Gateway, client: RawClient, client_id: int) -> None:
    """The client's socket fills up, and soon: both buffers are small."""
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    ends = [one.transport for one in gateway.server.connections if one.session and one.session.client_id == client_id]
    for transport in (client.writer.transport, *ends):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 8192)


#: More quotes than the small socket buffers of the test hold.
FLOOD = 25_000


async def test_a_reader_that_stops_reading_gets_its_orders_and_the_newest_quotes() -> None:
    async with running(stall_seconds=0.01) as gateway:
        client = await RawClient.join(gateway.tws_port)
        client.send(r.ReqMktData(reqId=9, contract=AAPL, genericTickList="", snapshot=False, regulatorySnapshot=False))
        await client.until("tickGeneric", tickType=49)
        session = gateway.door.sessions[1]
        stop_reading(gateway, client, 1)
        for n in range(FLOOD):
            session.quote((9, 1), pack(["1", "6", "9", "1", f"{n}.5", "100", "1"]))
            if n % 1000 == 0:
                gateway.door.flush()
                await asyncio.sleep(0)
        assert session.outbox.paused
        assert session.outbox.waiting < 10_000
        gateway.exchange.place(OrderTicket(client_id=1, order_id=1, con_id=AAPL_ID, side=Side.BUY, quantity=Decimal(1)))
        gateway.server.settle()
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await client.until("commissionReport")
        last = await client.until("tickPrice", price=FLOOD - 0.5)
        assert last["tickType"] == 1
        assert session.outbox.conflated > FLOOD // 4
        await client.close()


async def test_market_time_waits_once_for_a_client_that_does_not_read_and_then_goes_on() -> None:
    async with running(stall_seconds=0.2) as gateway, joined(gateway, 1) as good:
        bad = await RawClient.join(gateway.tws_port, 2)
        stop_reading(gateway, bad, 2)
        session = gateway.door.sessions[2]
        for number in range(15_000):
            session.quote((1, number), pack(["1", "6", "9", "1", f"{number}.5", "100", "1"]))
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await gateway.advance_to(gateway.now + timedelta(minutes=30))
        assert answer["stalled"] == [2]
        assert loop.time() - began >= 0.2
        assert await good.quiet() == []
        bad.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await bad.quiet()
        assert (await gateway.advance_to(gateway.now + timedelta(minutes=1)))["stalled"] == []
        await bad.close()


#: What a hostile or broken peer may send: at the handshake, instead of a frame, inside one.
GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=60).map(lambda data: b"API\0" + data),
    st.binary(max_size=60).map(lambda data: b"API\0" + struct.pack(">I", 9) + b"v157..178" + data),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=12).map(
        lambda fields: (
            b"API\0"
            + struct.pack(">I", 9)
            + b"v157..178"
            + pack(["71", "2", "99", ""])
            + pack([field.replace("\0", "") for field in fields])
        )
    ),
    st.tuples(st.integers(0, 110), st.lists(st.integers(-5, 300), max_size=14)).map(
        lambda pair: (
            b"API\0"
            + struct.pack(">I", 9)
            + b"v157..178"
            + pack(["71", "2", "99", ""])
            + pack([str(pair[0]), *map(str, pair[1])])
        )
    ),
)


async def _throw(gateway: Gateway, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.tws_port)
    writer.write(data)
    writer.write_eof()
    try:
        async with asyncio.timeout(2):
            while await reader.read(1 << 16):
                pass
    except ConnectionError:
        return
    finally:
        writer.close()


@pytest.mark.parametrize("turns", range(6))
async def test_who_connects_while_the_gateway_closes_is_hung_up_on(turns: int) -> None:
    async with running() as gateway:
        late = socket.create_connection(("127.0.0.1", gateway.tws_port))
        for _ in range(turns):
            await asyncio.sleep(0)
    for _ in range(4):
        await asyncio.sleep(0)
    with late:
        late.settimeout(0)
        try:
            assert late.recv(1) == b""
        except ConnectionResetError:
            return


def test_garbage_leaves_another_clients_session_working() -> None:
    with asyncio.Runner() as runner:
        stage = runner.run(_enter())

        @settings(
            max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(st.lists(GARBAGE, min_size=1, max_size=3))
        def fuzz(attacks: list[bytes]) -> None:
            async def act() -> None:
                await asyncio.gather(*(_throw(stage[1], data) for data in attacks))
                assert await stage[2].quiet() == []
                assert not stage[1].door.failures

            runner.run(act())

        fuzz()
        runner.run(stage[2].close())
        runner.run(stage[0].__aexit__(None, None, None))


async def _enter() -> tuple[object, Gateway, RawClient]:
    context = running()
    gateway = await context.__aenter__()
    client = await RawClient.join(gateway.tws_port, 1)
    await client.quiet()
    return context, gateway, client
