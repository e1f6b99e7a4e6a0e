"""The portal on its real TLS port, seen by three clients that this project did not write, and by hostile ones."""

from __future__ import annotations

import asyncio
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

from ..tws.orders import order
from ..tws.rig import joined, running
from .rig import AAPL_ID, ACCOUNT
from .sockets import Client, client_of, frame, serving, until


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


async def client_round(client: Client) -> int:
    return (await client.get("/iserver/auth/status"))[0]


async def test_many_clients_at_once_are_all_served() -> None:
    async with serving() as gateway, client_of(gateway) as client:
        assert set(await asyncio.gather(*(client_round(client) for _ in range(50)))) == {200}
