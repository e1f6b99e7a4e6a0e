"""The portal on its real TLS port, seen by three clients that this project did not write, and by hostile ones."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import ssl
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
import websocket
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.brokers.simulation.control import obey
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.portal.backlog import Backlog, Overflow

from ..tws.orders import order
from ..tws.rig import joined, running
from .rig import AAPL_ID, ACCOUNT
from .sockets import Client, client_of, frame, serving, trust, until


def url_of(gateway: Gateway) -> str:
    assert gateway.doors.portal is not None
    return gateway.doors.portal.url


# clients that this project did not write


async def test_requests_logs_on_by_the_written_authority_trades_and_logs_out(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"

    def trade(url: str) -> dict[str, Any]:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(authority)
            assert session.post(f"{url}/iserver/auth/status", timeout=5).json()["authenticated"] is True
            session.get(f"{url}/iserver/accounts", timeout=5)
            ticket = {"conid": AAPL_ID, "orderType": "MKT", "side": "BUY", "quantity": 3, "tif": "DAY", "cOID": "key-1"}
            found = session.post(f"{url}/iserver/account/{ACCOUNT}/orders", json={"orders": [ticket]}, timeout=5).json()
            while "id" in found[0]:
                found = session.post(
                    f"{url}/iserver/reply/{found[0]['id']}", json={"confirmed": True}, timeout=5
                ).json()
            assert session.post(f"{url}/logout", timeout=5).json() == {"status": True}
            assert session.get(f"{url}/iserver/accounts", timeout=5).text == "Access Denied"
            return dict(found[0])

    async with serving(ca_file=authority) as gateway:
        found = await asyncio.to_thread(trade, url_of(gateway))
        assert found["order_status"] == "Filled"
        assert gateway.exchange.positions()[0].quantity == 3
        assert gateway.exchange.executions()[0].order_ref == "key-1"
    assert authority.exists()


async def test_requests_refuses_the_portal_without_its_authority() -> None:
    def look(url: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.get(f"{url}/iserver/auth/status", timeout=5)

    async with serving() as gateway:
        with pytest.raises(requests.exceptions.SSLError):
            await asyncio.to_thread(look, url_of(gateway))


async def test_websocket_client_streams_in_binary_frames(tmp_path: Path) -> None:
    def stream(url: str, session_id: str) -> list[Any]:
        address = url.replace("https", "wss") + "/ws"
        options = {"ca_certs": str(tmp_path / "ca.pem")}
        with closing(
            websocket.create_connection(address, timeout=5, sslopt=options, cookie=f'api={{"session":"{session_id}"}}')
        ) as connection:
            raw = [connection.recv() for _ in range(3)]
            connection.send("tic")
            raw.append(connection.recv())
            return raw

    async with serving(ca_file=tmp_path / "ca.pem") as gateway:
        raw = await asyncio.to_thread(stream, url_of(gateway), gateway.portal.session.session_id)
        assert all(isinstance(one, bytes) for one in raw)
        assert [json.loads(one)["topic"] for one in raw] == ["system", "act", "sts", "tic"]
    assert gateway.portal.streams == []


async def test_frames_are_text_where_a_setting_says_so() -> None:
    async with serving(binary_frames=False) as gateway, client_of(gateway) as client:
        stream = await client.stream()
        assert (await stream.receive()).type is aiohttp.WSMsgType.TEXT
        await stream.close()


async def test_aiohttp_sees_orders_of_the_tws_door_and_quotes_as_market_time_moves() -> None:
    async with serving() as gateway, client_of(gateway) as client, joined(gateway) as tws:
        stream = await client.stream()
        await until(stream, "sts")
        await stream.send_str(f'smd+{AAPL_ID}+{{"fields":["31","87"]}}')
        first = await until(stream, f"smd+{AAPL_ID}")
        assert first["conid"] == AAPL_ID
        await gateway.advance_to(gateway.now + timedelta(minutes=2))
        assert (await until(stream, f"smd+{AAPL_ID}"))["_updated"] > first["_updated"]

        await stream.send_str("sor+{}")
        tws.send(order(1, "BUY", 10, "LMT", limit=100))
        found = await until(stream, "sor")
        while not found["args"]:
            found = await until(stream, "sor")
        assert (found["args"][0]["acct"], found["args"][0]["conid"]) == (ACCOUNT, AAPL_ID)
        await stream.close()


async def test_a_stream_may_be_told_its_session_by_text() -> None:
    async with serving() as gateway, client_of(gateway) as client:
        stream = await client.stream(None)
        assert await frame(stream) == {"message": "waiting for session"}
        await stream.send_bytes(json.dumps({"session": gateway.portal.session.session_id}).encode())
        assert (await frame(stream))["topic"] == "system"
        await stream.close()


async def test_paths_work_with_and_without_their_base_and_with_trailing_slashes() -> None:
    async with serving() as gateway, client_of(gateway) as client:
        root = client.url.removesuffix("/v1/api")
        for url in (
            f"{root}/iserver/auth/status",
            f"{root}/v1/api/iserver/auth/status/",
            f"{root}//v1/api//iserver/auth/status",
        ):
            async with client.http.post(url) as answer:
                assert (answer.status, (await answer.json())["authenticated"]) == (200, True)
        async with client.http.post(f"{root}/sso/Login", data={"user_name": "paperportal"}) as answer:
            assert await answer.text() == "Client login succeeds"


async def test_an_answer_may_be_late_and_the_clock_of_alarms_runs_by_itself() -> None:
    async with serving(idle_seconds=0.05) as gateway, client_of(gateway) as client:
        stream = await client.stream()
        while (await until(stream, "sts"))["args"] != {"authenticated": False}:
            continue
        gateway.faults.arm("portal-delay", "0.05", "/tickle")
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await client.post("/tickle"))[1]["iserver"]["authStatus"]["authenticated"] is False
        assert loop.time() - began >= 0.05
        await stream.close()


# hostile ones


async def send_raw(gateway: Gateway, data: bytes) -> bytes:
    """What comes back until the server ends the connection, or nothing more comes."""
    assert gateway.doors.portal is not None
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", gateway.doors.portal.port, ssl=trust(gateway), server_hostname="localhost"
    )
    writer.write(data)
    try:
        async with asyncio.timeout(1.0):
            return await reader.read(1 << 16)
    except (TimeoutError, ConnectionError):
        return b""
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\x03 nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/api/tickle HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/api/tickle HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/api/tickle HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/api/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b'GET /v1/api/%ff%00/../../etc HTTP/1.1\r\nHost: x\r\nCookie: api={"session\r\n\r\n',
    ],
    ids=["noise", "version", "header", "target", "length", "chunks", "websocket", "path"],
)
async def test_hostile_bytes_cost_their_own_connection_and_nobody_elses(data: bytes) -> None:
    async with serving() as gateway, client_of(gateway) as client:
        stream = await client.stream()
        await until(stream, "sts")
        answer = await send_raw(gateway, data)
        assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
        await stream.send_str("tic")
        await until(stream, "tic")
        assert (await client.post("/tickle"))[0] == 200
        await stream.close()


@pytest.mark.parametrize(
    "body", [b"{not json", b"[" * 100_000, b'{"publish": NaN}', b"\xff\xfe\x00", b'"text"', b"null", b"17"]
)
async def test_a_body_that_is_no_json_or_no_object_is_answered(body: bytes) -> None:
    async with serving() as gateway, client_of(gateway) as client:
        async with client.http.post(client.url + "/iserver/auth/ssodh/init", data=body) as answer:
            assert answer.status in (400, 500)
            assert "error" in await answer.json()
        assert (await client.post("/tickle"))[0] == 200


async def test_a_body_beyond_the_limit_is_refused() -> None:
    async with serving() as gateway, client_of(gateway) as client:
        async with client.http.post(
            client.url + "/iserver/auth/ssodh/init", data=io.BytesIO(b"x" * (2 << 20))
        ) as answer:
            assert answer.status == 413
        assert (await client.post("/tickle"))[0] == 200


async def test_a_peer_that_is_no_tls_client_costs_nothing() -> None:
    async with serving() as gateway, client_of(gateway) as client:
        assert gateway.doors.portal is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.doors.portal.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert not (await reader.read(100)).startswith(b"HTTP")
        writer.close()
        assert (await client.post("/tickle"))[0] == 200


async def test_a_message_beyond_the_limit_ends_its_stream_only() -> None:
    async with serving() as gateway, client_of(gateway) as client:
        stream, other = await client.stream(), await client.stream()
        await until(stream, "sts")
        await stream.send_str("smd+" + "1" * (1 << 17))
        while isinstance(found := await frame(stream), dict):
            continue
        assert found.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        await until(other, "sts")
        await other.send_str("tic")
        await until(other, "tic")
        await other.close()


async def test_only_allowed_networks_are_served() -> None:
    async with serving(allowed=("10.0.0.0/8",)) as gateway, client_of(gateway) as client:
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get("/iserver/auth/status")
    async with serving(allowed=("127.0.0.0/8",)) as gateway, client_of(gateway) as client:
        assert (await client.get("/iserver/auth/status"))[0] == 200


async def test_a_connection_that_asks_for_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    from moondev_ibkr.brokers.simulation.portal import server

    monkeypatch.setattr(server, "PATIENCE", 0.05)
    async with serving() as gateway:
        assert gateway.doors.portal is not None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", gateway.doors.portal.port, ssl=trust(gateway), server_hostname="localhost"
        )
        async with asyncio.timeout(5.0):
            assert await reader.read() == b""
        writer.close()


# files and ports


async def test_the_ready_file_names_both_doors_and_the_authority_goes_with_it(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    async with serving(gateway={"ready_file": ready}) as gateway:
        content = json.loads(ready.read_text())
        assert content["tws"]["port"] == gateway.tws_port
        assert content["portal"]["url"] == url_of(gateway)
        ssl.create_default_context(cafile=content["portal"]["ca_file"])
        assert gateway.status()["portal"]["authenticated"] is True
    assert not ready.exists()
    assert not ready.with_name("ready-ca.pem").exists()


async def test_a_port_that_is_taken_is_a_clear_error_and_closes_the_other_door() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}.*--portal-port"):
            async with serving(port=port):
                pytest.fail("it listened")


async def test_an_authority_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="ca_file"):
        async with serving(ca_file=tmp_path / "file" / "ca.pem"):
            pytest.fail("it listened")


# the control channel


async def test_control_lines_log_in_and_out_and_let_tws_reclaim_its_session() -> None:
    async with serving(user="same", tws_user="same", logged_in=False) as gateway, client_of(gateway) as client:
        assert (await client.post("/tickle"))[0] == 401
        found = await obey(gateway, '{"login": true}')
        assert (found["user"], found["logged_in"], found["authenticated"]) == ("same", True, False)
        await client.post("/iserver/auth/ssodh/init", {"publish": True, "compete": True})
        async with joined(gateway) as tws:
            assert "error" in tws.names()
            assert await obey(gateway, '{"reclaim": true}') == {"reclaimed": True, "holder": "tws"}
            await tws.error(1102)
        assert await obey(gateway, '{"reclaim": true}') == {"reclaimed": False, "holder": "tws"}
        assert (await obey(gateway, '{"status": true}'))["portal"]["authenticated"] is False
        assert (await obey(gateway, '{"login": false}'))["logged_in"] is False
        assert (await client.post("/tickle"))[0] == 401
        assert "must be true or false" in (await obey(gateway, '{"login": 5}'))["error"]


async def test_a_closed_portal_is_no_part_of_the_gateway() -> None:
    async with running() as gateway:
        assert gateway.status()["portal"] is None
        for line in ('{"login": true}', '{"reclaim": true}'):
            assert "--portal-port" in (await obey(gateway, line))["error"]


def test_a_gateway_without_the_portal_does_not_pay_for_it() -> None:
    heavy = "aiohttp trustme cryptography moondev_ibkr.brokers.simulation.portal.door"
    probe = (
        "import asyncio, sys\n"
        "import moondev_ibkr.cli.gateway_command\n"
        "from moondev_ibkr.brokers.simulation.gateway import Gateway\n"
        "from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings\n"
        "from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings\n"
        "async def serve():\n"
        "    async with Gateway(GatewaySettings(tws=TwsSettings(port=0), clock=ClockMode.CONTROL)):\n"
        "        pass\n"
        "asyncio.run(serve())\n"
        f"print([name for name in {heavy.split()} if name in sys.modules])\n"
    )
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "[]"


# slow readers


def test_a_slow_reader_gets_every_order_and_only_the_newest_quote() -> None:
    backlog = Backlog(conflate_above=2, limit=5)
    for number in range(4):
        backlog.put({"topic": "smd+1", "31": str(number), f"only{number}": "x"})
        backlog.put({"topic": "sor", "args": [number]})
    frames = []
    while (found := backlog.take()) is not None:
        frames.append(found)
    assert [found["args"] for found in frames if found["topic"] == "sor"] == [[0], [1], [2], [3]]
    assert frames[0] == {"topic": "smd+1", "31": "3", "only0": "x", "only1": "x", "only2": "x", "only3": "x"}
    assert backlog.conflated == 3


def test_a_ladder_is_replaced_whole_and_what_was_taken_is_not_changed_any_more() -> None:
    backlog = Backlog(conflate_above=1)
    backlog.put({"topic": "sbd+1", "data": [1], "old": True})
    taken = backlog.take()
    for number in (2, 3):
        backlog.put({"topic": "sbd+1", "data": [number]})
    assert taken == {"topic": "sbd+1", "data": [1], "old": True}
    assert backlog.take() == {"topic": "sbd+1", "data": [3]}
    assert backlog.take() is None


def test_a_reader_that_is_too_slow_even_for_its_orders_is_given_up() -> None:
    backlog = Backlog(limit=3)
    for number in range(3):
        backlog.put({"topic": "sor", "args": [number]})
    with pytest.raises(Overflow):
        backlog.put({"topic": "sor", "args": [3]})


async def test_a_client_that_does_not_read_holds_nobody_up_and_misses_no_order() -> None:
    async with serving(gateway={"stall_seconds": 0.1}) as gateway, client_of(gateway) as client:
        assert gateway.doors.portal is not None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", gateway.doors.portal.port, ssl=trust(gateway), server_hostname="localhost", limit=1024
        )
        cookie = f"Cookie: api={gateway.portal.session.session_id}"
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
        writer.write(f"GET /v1/api/ws HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n{key}\r\n{cookie}\r\n\r\n".encode())
        other = await client.stream()
        await until(other, "sts")
        assert len(gateway.portal.streams) == 2
        for number in range(3000):
            gateway.portal.session.publish({"topic": "blt", "args": {"number": number, "message": "x" * 4000}})
        await until(other, "blt")
        loop = asyncio.get_running_loop()
        began = loop.time()
        await gateway.advance_to(gateway.now + timedelta(seconds=1))
        assert loop.time() - began < 5.0
        began = loop.time()
        for _ in range(20):
            await gateway.advance_to(gateway.now + timedelta(seconds=1))
        assert loop.time() - began < 1.0
        assert (await client.post("/tickle"))[0] == 200
        await other.close()

        heard, seen = b"", 0
        async with asyncio.timeout(20.0):
            while b'"number":2999,' not in heard:
                heard = heard[-64:] + await reader.read(1 << 16)
                seen += 1
        assert seen > 100
        writer.transport.abort()


async def client_round(client: Client) -> int:
    return (await client.get("/iserver/auth/status"))[0]


async def test_many_clients_at_once_are_all_served() -> None:
    async with serving() as gateway, client_of(gateway) as client:
        assert set(await asyncio.gather(*(client_round(client) for _ in range(50)))) == {200}
