"""A login by OAuth with stock, unmodified ibind: a client that this project did not write."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import GatewaySettings
from moondev_ibkr.brokers.simulation.portal.oauth_consumers import write_consumer
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings
from moondev_ibkr.brokers.simulation.tws.settings import TwsSettings

SESSION = Path(__file__).parent / "foreign" / "ibind_oauth_session.py"
DEADLINE = 60.0


def free_port() -> int:
    """ibind names another host than it asks, so that the door must know its own port beforehand."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_ibind_logs_in_by_oauth_sees_trades_and_leaves(tmp_path: Path) -> None:
    if find_spec("Crypto") is None:
        pytest.skip("ibind signs with pycryptodome: pip install 'ibind[oauth]'")
    write_consumer(tmp_path / "keys", "paperportal")
    authority = tmp_path / "ca.pem"
    portal = PortalSettings(
        port=free_port(), logged_in=False, ca_file=authority, oauth_consumers=(str(tmp_path / "keys"),)
    )
    async with Gateway(GatewaySettings(tws=TwsSettings(port=0), portal=portal)) as gateway:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(SESSION),
            str(tmp_path / "keys"),
            str(portal.port),
            env=os.environ | {"REQUESTS_CA_BUNDLE": str(authority)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, errors = await asyncio.wait_for(process.communicate(), DEADLINE)
        assert process.returncode == 0, errors.decode()
        assert json.loads(said) == {
            "tickle": True,
            "quote": [265598, True],
            "placed": "Submitted",
            "cancel": "Request was submitted",
            "account": "DU0000001",
            "logout": {"status": True},
        }
        assert not gateway.portal.failures
