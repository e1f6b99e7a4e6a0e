"""What only shows in a process of its own: signals, closed pipes, full disks, gateways that come and go."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")
#: Real seconds until a process has started, or ended.
DEADLINE = 60.0
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a command in a process of its own, over an empty state folder."""
    running: list[subprocess.Popen[str]] = []

    def go(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "moondev_ibkr", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"IB_STATE_DIR": str(tmp_path)},
            **options,
        )
        running.append(process)
        return process

    yield go
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(condition: Callable[[], Any]) -> Any:
    """What `condition` answers once it is true."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if answer := condition():
            return answer
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


def bought(folder: Path) -> bool:
    """Whether a run's agent has told of a fill."""
    logs = [path.read_text() for path in folder.glob("simulation/runs/*/moondev-ibkr.log")]
    return any("FILL MSFT" in text for text in logs)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_gateway_leaves_with_0(start: Start, tmp_path: Path, number: int) -> None:
    ready = tmp_path / "simulation" / "gateway.json"
    gateway = start("gateway", "--tws-port", "0")
    content = json.loads(until(lambda: ready.exists() and ready.read_text()))
    assert content["pid"] == gateway.pid
    assert content["accounts"] == ["DU0000001"]
    gateway.send_signal(number)
    code, _, err = ended(gateway)
    assert code == 0
    assert "Traceback" not in err
    assert not ready.exists()


def test_the_account_lives_on_with_and_without_a_gateway_until_fresh(start: Start, tmp_path: Path) -> None:
    def told(*arguments: str) -> Any:
        code, out, err = ended(start(*arguments, "--json"))
        assert code == 0, err
        return json.loads(out)

    ready = tmp_path / "simulation" / "gateway.json"
    assert told("buy", "MSFT", "3")["orders"][0]["state"] == "FILLED"
    gateway = start("gateway", "--tws-port", "0")
    until(ready.exists)
    first, second = start("positions", "--json"), start("gateway", "--tws-port", "0")
    assert json.loads(ended(first)[1])["positions"][0]["quantity"] == "3"
    notice = until(second.stderr.readline) if second.stderr else ""
    assert "has one of its own" in notice
    for process in (second, gateway):
        process.terminate()
        assert ended(process)[0] == 0
    fresh = told("account", "--fresh", "--start", "2009-03-02")["accounts"][0]
    assert fresh["net_liquidation"] == "100000"
    assert list((tmp_path / "simulation").glob("journal-until-*.sqlite"))
    later = told("buy", "MSFT", "1")["orders"][0]
    assert later["created_at"].startswith("2009-03-02")
    assert later["order_id"] == 1


def test_a_gateway_with_synthetic_others_says_so_and_takes_more_symbols_later(start: Start, tmp_path: Path) -> None:
    def told(*arguments: str) -> Any:
        code, out, err = ended(start(*arguments, "--json"))
        assert code == 0, err
        return json.loads(out)

    def gateway(symbols: str) -> tuple[subprocess.Popen[str], list[str]]:
        process = start("gateway", "--tws-port", "0", "--others", "synthetic", "--symbols", symbols)
        assert process.stderr is not None
        lines = [process.stderr.readline()]
        while "account DU" not in lines[-1]:
            lines.append(process.stderr.readline())
        return process, lines

    first, lines = gateway("AAPL,GME,SOL-USD,BRK-B")
    notes = [line.strip() for line in lines[:-1] if line.startswith("paper gateway: ")]
    assert notes == [
        "paper gateway: synthetic prices, none of them real (2): GME, BRK B",
        "paper gateway: left out, being no tickers of US stocks: SOL-USD",
    ]
    assert told("buy", "GME", "3")["orders"][0]["state"] == "FILLED"
    assert told("bars", "BRK-B", "--count", "3")["bars"]
    first.terminate()
    assert ended(first)[0] == 0
    second, _ = gateway("RIOT")
    assert [row["symbol"] for row in told("positions")["positions"]] == ["GME"]
    assert told("buy", "RIOT", "1")["orders"][0]["state"] == "FILLED"
    second.terminate()
    assert ended(second)[0] == 0


def test_ctrl_c_reports_what_a_run_has_done(start: Start, tmp_path: Path) -> None:
    run = start("run", "--cycles", "400")
    until(lambda: bought(tmp_path))
    run.send_signal(signal.SIGINT)
    code, out, err = ended(run)
    assert code == 130
    assert "ENTER" in out
    assert "Net liquidation" in out
    assert "interrupted" in err
    assert "Traceback" not in err


def test_a_killed_gateway_ends_the_run_with_what_was_done(start: Start, tmp_path: Path) -> None:
    run = start("run", "--cycles", "400", "--json")
    ready = until(lambda: next(tmp_path.glob("simulation/runs/*/gateway-*.json"), None))
    gateway = json.loads(ready.read_text())["pid"]
    until(lambda: bought(tmp_path))
    os.kill(gateway, signal.SIGKILL)
    code, out, err = ended(run)
    report = json.loads(out)
    assert code == 1
    assert report["fills"]
    assert report["stale"] is True
    assert report["error"]["what"]
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_killed_command_leaves_no_gateway_behind(start: Start, tmp_path: Path) -> None:
    quote = start("quote", "AAPL")
    ready = until(lambda: next(tmp_path.glob("simulation/gateway-*.json"), None))
    gateway = json.loads(ready.read_text())["pid"]
    quote.send_signal(signal.SIGKILL)
    ended(quote)
    until(lambda: not alive(gateway))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie whose parent is gone waits for nobody but init.
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_reader_that_leaves_is_no_traceback(start: Start) -> None:
    listing = start("gateway", "--fault", "list", "--json")
    assert listing.stdout is not None
    listing.stdout.close()
    assert listing.wait(DEADLINE) == 1
    assert listing.stderr is not None
    assert "Traceback" not in listing.stderr.read()


def test_a_full_disk_stops_orders_and_says_so(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal may not grow beyond 64 kB: no order leaves without its durable intent."""
    for name in [name for name in os.environ if name.startswith("COV")]:
        # The limit must bite our files, not those of a coverage measurement.
        monkeypatch.delenv(name)

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, 64 * 1024))

    code, out, err = ended(start("buy", "AAPL", "1", preexec_fn=small_files))
    assert code == 1
    assert out == ""
    assert "journal" in err
    assert "Traceback" not in err
