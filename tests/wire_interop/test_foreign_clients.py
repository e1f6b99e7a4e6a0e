"""Whole sessions with clients that this project did not write and does not depend on; skipped where they are absent.

Each runs in an environment of its own, over a real socket, against the gateway as a process of its own:

    MOONDEV_INTEROP_IBAPI       a Python that has `ibapi` (pip install ibapi==9.81.1.post1)
    MOONDEV_INTEROP_IB_INSYNC   a Python that has `ib_insync` (pip install ib_insync==0.9.86), and not ib_async
    MOONDEV_INTEROP_STOQEY      a folder that holds `@stoqey/ib` (the node_modules of npm install @stoqey/ib)
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from .gateway_process import Served, gateway_process
from .test_plain_client import CANCEL, FILL, REST

SESSIONS = Path(__file__).parent / "foreign"
DEADLINE = 120.0

#: name -> (environment variable, how to get the client, command before PORT and CLIENT_ID, server versions it may meet)
CLIENTS: dict[str, tuple[str, str, list[str], set[int]]] = {
    "ibapi": (
        "MOONDEV_INTEROP_IBAPI",
        "a Python with `pip install ibapi==9.81.1.post1`",
        ["{}", str(SESSIONS / "ibapi_session.py")],
        {157, 176, 178},
    ),
    "ib_insync": (
        "MOONDEV_INTEROP_IB_INSYNC",
        "a Python with `pip install ib_insync==0.9.86` and no ib_async",
        ["{}", str(SESSIONS / "ib_insync_session.py")],
        {176},
    ),
    "stoqey": (
        "MOONDEV_INTEROP_STOQEY",
        "the node_modules folder of `npm install @stoqey/ib`",
        ["node", str(SESSIONS / "stoqey_session.js")],
        {178},
    ),
}


def run(name: str, gateway: Served) -> dict[str, Any]:
    """The facts that the client's session reports; what it says of its failure otherwise."""
    place = os.environ[CLIENTS[name][0]]
    process = subprocess.Popen(
        [part.format(place) for part in [*CLIENTS[name][2], str(gateway.port), "7"]],
        env={**os.environ, "NODE_PATH": place},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watch = threading.Timer(DEADLINE, process.kill)
    watch.start()
    facts: dict[str, Any] = {}
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            word, _, rest = line.partition(" ")
            if word == "ADVANCE":
                gateway.advance(float(rest))
                process.stdin.write("done\n")
                process.stdin.flush()
            elif word == "FACTS":
                facts = json.loads(rest)
        assert process.stderr is not None
        assert process.wait() == 0, process.stderr.read()
    finally:
        watch.cancel()
        process.kill()
        process.communicate()
    return facts


def words(moments: list[str]) -> list[str]:
    """`orderStatus Filled` as the plain client's tests say it: `Filled`."""
    return [moment.removeprefix("orderStatus ") for moment in moments]


@pytest.mark.parametrize("name", CLIENTS)
def test_a_whole_session(name: str, tmp_path: Path) -> None:
    if not os.environ.get(CLIENTS[name][0]):
        pytest.skip(f"set {CLIENTS[name][0]} to {CLIENTS[name][1]}")
    with gateway_process(tmp_path) as gateway:
        facts = run(name, gateway)
    assert facts["server_version"] in CLIENTS[name][3]
    assert facts["account"] == "DU0000001"
    assert facts["problems"] == []
    assert facts["details"] == [265598, "AAPL", 0.01, "APPLE INC"]
    assert (facts["unknown_contract"], facts["wrong_tick"], facts["duplicate"]) == (200, 110, 326)
    assert 0 < facts["snapshot"]["bid"] < facts["snapshot"]["ask"]
    assert (facts["bars"], facts["bar"]) == (10, ["20260415", True, True])
    assert facts["live_bar_dates"] >= 2
    assert facts["modified"] is True
    assert facts["what_if"] == [True, 1.0, []]
    assert facts["partial"] == [2000, 2000]
    assert facts["partial_fills"] > 1
    assert facts["executions_agree"] is facts["commissions_agree"] is True
    assert facts["positions"] == facts["portfolio"] == {"AAPL": 2110}
    assert facts["pnl_single_position"] == 2110
    assert facts["summary"] == ["BuyingPower", "NetLiquidation", "TotalCashValue"]
    assert facts["net_liquidation"] == [True]
    assert facts["completed"] == ["Cancelled"] * 4 + ["Filled"] * 3
    assert facts["next_id_grew"] is facts["same_executions"] is facts["same_positions"] is True
    assert [row[1:] for row in facts["reopened"]] == [["resting", "Submitted"]]
    if "market" not in facts:  # ib_insync tells states, not messages
        assert facts["cancel_states"][-2:] == ["PendingCancel", "Cancelled"]
        assert facts["market_states"][-1] == "Filled"
        return
    assert words(facts["cancel"]) == [*REST, *CANCEL]
    assert words(facts["market"]) == ["openOrder", "PreSubmitted", *FILL]
    assert words(facts["stop"]) == ["openOrder", "PreSubmitted", *CANCEL]
    bracket = {name: words(life) for name, life in facts["bracket"].items()}
    assert bracket["parent"] == [*REST, *FILL]
    assert bracket["profit"] == [*REST, *CANCEL]
    assert bracket["loss"] == ["openOrder", "PreSubmitted", *CANCEL]
    assert words(facts["global_cancel"]) == ["Cancelled", "error 202"]
