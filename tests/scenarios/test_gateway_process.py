"""The gateway as a process: ready-file, control lines, signals, exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ..simulation.tws.orders import order
from ..simulation.tws.rig import RawClient

START_DEADLINE = 30.0


def environment(tmp_path: Path) -> dict[str, str]:
    """Nothing of the person whose machine this is: the paper account lives in the test's folder."""
    return {**os.environ, "IB_STATE_DIR": str(tmp_path / "state")}


@asynccontextmanager
async def process(tmp_path: Path, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    ready = tmp_path / "ready.json"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "moondev_ibkr", "gateway", "--tws-port", "0", "--ready-file", str(ready)),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(tmp_path),
    )
    try:
        async with asyncio.timeout(START_DEADLINE):
            while not ready.exists():
                assert child.returncode is None, (await child.stderr.read()).decode()  # type: ignore[union-attr]
                await asyncio.sleep(0.02)
        yield child, json.loads(ready.read_text())
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def say(child: asyncio.subprocess.Process, line: str) -> dict[str, Any]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(line.encode() + b"\n")
    async with asyncio.timeout(10):
        answer: dict[str, Any] = json.loads(await child.stdout.readline())
    return answer


async def test_a_controlled_gateway_trades_and_ends_with_its_input(tmp_path: Path) -> None:
    state = tmp_path / "account.json"
    async with process(tmp_path, "--control", "stdio", "--state", str(state)) as (child, ready):
        client = await RawClient.join(ready["tws"]["port"])
        client.send(order(1, "BUY", 10))
        await client.until("commissionReport")
        assert "not JSON" in (await say(child, "what"))["error"]
        session = await say(child, '{"next_session": true}')
        assert (await say(child, json.dumps({"advance_to": session["close"]})))["now"] == session["close"]
        await client.close()
        assert child.stdin is not None
        child.stdin.close()
        async with asyncio.timeout(10):
            assert await child.wait() == 0
    assert json.loads(state.read_text())["exchange"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_end_it_with_zero(tmp_path: Path, number: signal.Signals) -> None:
    async with process(tmp_path, "--prices", "synthetic", "--symbols", "AAPL") as (child, ready):
        client = await RawClient.join(ready["tws"]["port"])
        child.send_signal(number)
        assert await client.ended()
        async with asyncio.timeout(10):
            assert await child.wait() == 0
    assert not (tmp_path / "ready.json").exists()


async def run(tmp_path: Path, *arguments: str) -> tuple[int, str, str]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "moondev_ibkr", "gateway", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(tmp_path),
    )
    out, err = await child.communicate()
    return child.returncode or 0, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tws-port", "70000"), "--tws-port 70000"),
        (("--start", "someday"), "YYYY-MM-DD"),
        (("--bars", "/nowhere/at/all.csv"), "all.csv"),
        (("--cash", "much"), "--cash much"),
        (("--speed", "-3"), "speed -3"),
        (("--control", "telepathy"), "stdio"),
        (("--fault", "gremlin", "--tws-port", "0"), "no such fault"),
        (("--portal-port", "everywhere"), "--portal-port everywhere"),
        (("--portal", "soft_init=maybe"), "fail, take"),
        (("--portal", "gremlin=1"), "settings are"),
        (("--portal", "questions=o1", "--tws-port", "0"), "o1"),
    ],
)
async def test_bad_arguments_are_one_line_and_exit_2(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    code, _, err = await run(tmp_path, *arguments)
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1


async def ask(ready: dict[str, Any], path: str, **body: Any) -> Any:
    """POST to the portal that a ready-file names, trusting the authority that it names."""
    trust = ssl.create_default_context(cafile=ready["portal"]["ca_file"])
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session,
        session.post(ready["portal"]["url"] + path, json=body) as answer,
    ):
        return await answer.json()


async def test_both_doors_of_a_process_serve_one_account_and_compete_by_name(tmp_path: Path) -> None:
    names = ("--portal-user", "me", "--tws-user", "me", "--portal", "tws_return_code=1101")
    async with process(tmp_path, "--control", "stdio", "--prices", "synthetic", *names) as (child, ready):
        client = await RawClient.join(ready["tws"]["port"])
        assert (await ask(ready, "/iserver/auth/status"))["competing"] is True
        assert (await ask(ready, "/iserver/auth/ssodh/init", publish=True, compete=True))["authenticated"] is True
        await client.error(1100)
        assert await say(child, '{"reclaim": true}') == {"reclaimed": True, "holder": "tws"}
        await client.error(1101)
        assert (await say(child, '{"fault": "portal-maintenance"}'))["lasting"] == ["portal-maintenance"]
        await client.close()
        assert child.stdin is not None
        child.stdin.close()
        async with asyncio.timeout(10):
            assert await child.wait() == 0
    assert not (tmp_path / "ready-ca.pem").exists()


async def test_the_portal_may_stay_closed(tmp_path: Path) -> None:
    async with process(tmp_path, "--portal-port", "off", "--control", "stdio") as (_, ready):
        assert ready["portal"] is None


async def test_the_list_of_faults_is_printed(tmp_path: Path) -> None:
    code, out, _ = await run(tmp_path, "--fault", "list")
    assert code == 0
    assert "half-open" in out
    assert "reject-order:CODE[:TEXT]" in out
