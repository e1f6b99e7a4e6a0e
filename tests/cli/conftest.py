"""Commands as a user gives them, in this process, over a paper gateway that runs in a thread of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import GatewaySettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings
from moondev_ibkr.cli import main, order_commands


@dataclass(frozen=True)
class Told:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Told]


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class GatewayThread:
    """A gateway on a loop of its own; `ready_file` leads commands to it."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="gateway", daemon=True)
        self.gateway: Gateway | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        async with Gateway(self._settings) as self.gateway:
            self._ready.set()
            await self.gateway.run()

    def __enter__(self) -> GatewayThread:
        self._thread.start()
        assert self._ready.wait(30), "the gateway did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self.loop is not None
        assert self.gateway is not None
        self.loop.call_soon_threadsafe(self.gateway.stop)
        self._thread.join(10)

    def fault(self, name: str, *arguments: str) -> None:
        """Arm a fault, and wait until that is done."""
        assert self.loop is not None
        assert self.gateway is not None
        gateway = self.gateway

        async def arm() -> None:
            gateway.faults.arm(name, *arguments)

        asyncio.run_coroutine_threadsafe(arm(), self.loop).result(5)

    @property
    def port(self) -> int:
        assert self.gateway is not None
        return self.gateway.tws_port


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayThread]:
    """One gateway over the shipped bars for all tests of a module."""
    ready_file = tmp_path_factory.mktemp("gateway") / "gateway.json"
    settings = GatewaySettings(
        tws=TwsSettings(port=0, message_rate=0), settle=timedelta(minutes=1), ready_file=ready_file
    )
    with GatewayThread(settings) as running:
        yield running


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state folder that the commands use."""
    folder = tmp_path / "state"
    monkeypatch.setenv("IB_STATE_DIR", str(folder))
    return folder


@pytest.fixture
def command(state: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Give a command; nothing has to run for it."""
    monkeypatch.setattr(order_commands, "FILL_WAIT", 0.3)

    def give(*arguments: str) -> Told:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capfd.readouterr()
        return Told(int(ended.value.code or 0), out, err)

    return give


@pytest.fixture
def on_market(command: Command, market: GatewayThread, state: Path) -> Command:
    """Give a command that joins the module's gateway, with a journal of the test's own."""
    ready_file = market.gateway.settings.ready_file if market.gateway is not None else None
    assert ready_file is not None
    folder = state / "simulation"
    folder.mkdir(parents=True)
    shutil.copy(ready_file, folder / "gateway.json")
    return command
