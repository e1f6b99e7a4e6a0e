"""Bad input of every kind: one clear line that says what to do, the right exit code, nothing sent and nothing lost."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from .conftest import Command, GatewayThread

FAILED, USAGE = 1, 2

#: Command line -> exit code, words of the line. None of these gets as far as a gateway.
BEFORE_ANYTHING: tuple[tuple[str, int, str], ...] = (
    ("nonsense", USAGE, "No such command"),
    ("quote", USAGE, "Missing argument"),
    ("quote AAPL --frash", USAGE, "No such option"),
    ("quote AAPL --broker other", USAGE, "is not one of"),
    ("doors", USAGE, "IB_FAILOVER"),
    ("demo other", USAGE, "is not"),
    ("buy AAPL", USAGE, "Missing argument"),
    ("buy AAPL 0", USAGE, "quantity"),
    ("buy AAPL -- -1", USAGE, "quantity"),
    ("buy AAPL abc", USAGE, "is not a number"),
    ("buy AAPL NaN", USAGE, "quantity"),
    ("buy AAPL Infinity", USAGE, "quantity"),
    ("buy AAPL 1e99", USAGE, "beyond every amount"),
    ("buy AA$PL 1", USAGE, "AA$PL"),
    ("buy  1", USAGE, "Missing argument"),
    ("buy AAPL 1 --limit -5", USAGE, "price"),
    ("buy AAPL 1 --limit 0", USAGE, "price"),
    ("buy AAPL 1 --limit ten", USAGE, "is not a number"),
    ("buy AAPL 1 --type FOO", USAGE, "is not one of"),
    ("buy AAPL 1 --tif SOON", USAGE, "is not one of"),
    ("buy AAPL 1 --type LMT", USAGE, "limit"),
    ("buy AAPL 1 --type MKT --limit 5", USAGE, "limit"),
    ("buy AAPL 1 --market --limit 5", USAGE, "leave one of them out"),
    ("buy AAPL 1 --type STP", USAGE, "stop"),
    ("buy AAPL 1 --type TRAIL", USAGE, "trail"),
    ("buy AAPL 1 --type TRAIL --trail x%", USAGE, "is not a number"),
    ("buy AAPL 1 --limit 5 --tif GTD", USAGE, "good_till"),
    ("buy AAPL 1 --limit 5 --tif GTD --good-till tomorrow", USAGE, "write YYYY-MM-DD"),
    ("buy AAPL 1 --limit 5 --tif GTD --good-till 2008-09-20", USAGE, "closed that day"),
    ("buy AAPL 1 --target 200", USAGE, "--protect"),
    ("buy AAPL 1 --limit 100 --protect 120", USAGE, "stop"),
    ("buy AAPL 1 --key not/a/key", USAGE, "key"),
    ("bars AAPL --size 7q", USAGE, "7q"),
    ("costs AAPL --commissions much", USAGE, "is not a number"),
    ("run --cycles 0", USAGE, "at least one session"),
    ("run --cycles -1", USAGE, "at least one session"),
    ("run --cycles many", USAGE, "valid integer"),
    ("run --symbols A$", USAGE, "A$"),
    ("run --start tomorrow", USAGE, "YYYY-MM-DD"),
    ("run --start 2012-02-30", USAGE, "YYYY-MM-DD"),
    ("run --broker ib --bars .", USAGE, "paper market"),
    ("run --bars /no/such/folder", USAGE, "no such file or folder"),
    ("run --config /no/such.toml", USAGE, "no such file"),
    ("gateway --tws-port 70000", USAGE, "no port"),
    ("gateway --speed -1", USAGE, "between 0"),
    ("gateway --cash none", USAGE, "is not a number"),
    ("gateway --cash -1", USAGE, "above zero"),
    ("gateway --control pipe", USAGE, "stdio"),
    ("gateway --allow everybody --tws-port 0", USAGE, "everybody"),
    ("gateway --fault nonsense --tws-port 0", USAGE, "nonsense"),
    ("gateway --bars /no/such.csv --tws-port 0", USAGE, "no such file or folder"),
    ("gateway --start 1999-01-04 --tws-port 0", USAGE, "the bars reach"),
    ("gateway --symbols ZZZZ --tws-port 0", USAGE, "ZZZZ"),
    ("gateway --clock wall --start 2012-01-03", USAGE, "replay"),
)
#: Command line -> exit code, words. These are refused by the broker's answer, a rule, or the contract.
AT_THE_BROKER: tuple[tuple[str, int, str], ...] = (
    ("bars ZZZZ", USAGE, "ZZZZ"),
    ("bars AAPL --count 0", USAGE, "count"),
    ("bars AAPL --count -5", USAGE, "count"),
    ("buy ZZZZ 1", USAGE, "ZZZZ"),
    ("buy AAPL 1.5", FAILED, "1.5"),
    ("buy AAPL 1 --limit 100.001", FAILED, "100.001"),
    ("buy AAPL 500", FAILED, "order_value"),
    ("buy AAPL 1 --limit 500", FAILED, "collar"),
    ("buy AAPL 1 --account U1234567", USAGE, "U1234567"),
    ("sell AAPL 1", FAILED, "long_only"),
    ("cancel no-such-key", USAGE, "no-such-key"),
    ("account --fresh", USAGE, "running already"),
    ("account --seed 4", USAGE, "running already"),
)


def one_line(text: str) -> bool:
    return text.count("\n") == 1 and "Traceback" not in text and text.startswith("moondev-ibkr: ")


def check(command: Command, line: str, code: int, words: str) -> None:
    arguments = line.split(" ")
    told = command(*[argument for argument in arguments if argument])
    assert told.code == code, told.err or told.out
    assert words in told.err
    assert one_line(told.err), told.err
    assert told.out == ""
    position = arguments.index("--") if "--" in arguments else len(arguments)
    arguments.insert(position, "--json")
    as_data = command(*[argument for argument in arguments if argument])
    assert as_data.code == code
    error = json.loads(as_data.out)["error"]
    assert error["kind"]
    assert words in " ".join(str(error[name]) for name in ("what", "why", "next")) or words in str(error)


@pytest.mark.parametrize(("line", "code", "words"), BEFORE_ANYTHING, ids=[row[0] for row in BEFORE_ANYTHING])
def test_what_nobody_else_needs_to_be_asked_about(command: Command, line: str, code: int, words: str) -> None:
    check(command, line, code, words)


@pytest.mark.parametrize(("line", "code", "words"), AT_THE_BROKER, ids=[row[0] for row in AT_THE_BROKER])
def test_what_the_broker_or_a_rule_refuses(on_market: Command, line: str, code: int, words: str) -> None:
    check(on_market, line, code, words)
    assert on_market("orders", "--json").data["orders"] == []


#: Environment -> words. A setting that is wrong or misspelt is never passed over.
SETTINGS: tuple[tuple[dict[str, str], str], ...] = (
    ({"IB_PORT": "high"}, "IB_PORT"),
    ({"IB_PORT": "99999"}, "IB_PORT"),
    ({"IB_PORT": "4001", "IB_ENVIRONMENT": "paper"}, "port 4001"),
    ({"IB_CLIENT_ID": "-1"}, "IB_CLIENT_ID"),
    ({"IB_ENVIRONMENT": "real"}, "IB_ENVIRONMENT"),
    ({"IB_READONLY": "true"}, "did you mean IB_READ_ONLY"),
    ({"IB_PROFILE": "fastest"}, "IB_PROFILE"),
    ({"IB_RISK__MAX_POSITION_VALUE": "lots"}, "max_position_value"),
    ({"IB_RISK__MAX_POSITON_VALUE": "5"}, "max_positon_value"),
    ({"IB_ALLOWED_CLIENTS": "everybody"}, "everybody"),
    ({"IB_REQUEST_TIMEOUT": "0"}, "IB_REQUEST_TIMEOUT"),
)


@pytest.mark.parametrize(("variables", "words"), SETTINGS, ids=[" ".join(row[0]) for row in SETTINGS])
def test_wrong_settings(
    on_market: Command, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    told = on_market(
        "account", "--broker", "ib" if "IB_ENVIRONMENT" in variables or "IB_PORT" in variables else "paper"
    )
    assert told.code == USAGE
    assert words in told.err
    assert one_line(told.err), told.err


@pytest.mark.parametrize(
    ("content", "words"),
    [("environment = ", "TOML"), ("enviroment = 'paper'", "did you mean environment"), ("[risk\n", "TOML")],
    ids=["half a line", "misspelt", "half a table"],
)
def test_wrong_settings_files(command: Command, tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(content)
    told = command("account", "--config", str(path))
    assert told.code == USAGE
    assert words in told.err
    assert one_line(told.err), told.err


def test_live_takes_two_steps(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_ENVIRONMENT", "live")
    told = command("account", "--broker", "ib")
    assert told.code == USAGE
    assert "--i-understand-live" in told.err


HEAD = "Date,Open,High,Low,Close,Volume\n"
#: Content of a bar file -> words of the refusal.
BAR_FILES: tuple[tuple[str, bytes, str], ...] = (
    ("empty", b"", "empty"),
    ("header alone", HEAD.encode(), "no"),
    ("binary", bytes(range(256)), "UTF-8"),
    ("wrong columns", b"a,b,c\n1,2,3\n", "open"),
    ("high below low", f"{HEAD}2024-01-02,10,9,11,10,100\n".encode(), "row 2"),
    ("no number", f"{HEAD}2024-01-02,10,x,9,10,100\n".encode(), "row 2"),
    ("no date", f"{HEAD}someday,10,11,9,10,100\n".encode(), "row 2"),
    ("a closed day", f"{HEAD}2024-01-05,10,11,9,10,100\n2024-01-06,10,11,9,10,100\n".encode(), "closed"),
)


@pytest.mark.parametrize(("content", "words"), [row[1:] for row in BAR_FILES], ids=[row[0] for row in BAR_FILES])
def test_bar_files_that_cannot_be(command: Command, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "KO.csv"
    path.write_bytes(content)
    told = command("gateway", "--tws-port", "0", "--ready-file", str(tmp_path / "r"), "--bars", str(path))
    assert told.code == USAGE
    assert "KO.csv" in told.err
    assert words in told.err
    assert one_line(told.err), told.err


def test_a_bad_bar_file_reads_the_same_from_a_child_gateway(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "KO.csv"
    path.write_bytes(BAR_FILES[4][1])
    told = command("run", "--bars", str(path))
    assert told.code == USAGE
    assert "KO.csv, row 2" in told.err
    assert one_line(told.err), told.err


def test_a_taken_port_is_named(command: Command, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = command("gateway", "--tws-port", str(port), "--ready-file", str(tmp_path / "r"))
    assert told.code == USAGE
    assert str(port) in told.err
    assert "another --tws-port" in told.err


@pytest.mark.parametrize("given", ["account", "run"])
def test_a_state_folder_that_cannot_be_made(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("IB_STATE_DIR", str(blocked))
    told = command(given)
    assert told.code == USAGE
    assert "IB_STATE_DIR" in told.err
    assert one_line(told.err), told.err


def test_stale_and_strange_ready_files_are_passed_over(on_market: Command, market: GatewayThread, state: Path) -> None:
    import asyncio

    from moondev_ibkr.cli.gateway_process import running_gateway

    ready = state / "simulation" / "gateway.json"
    assert asyncio.run(running_gateway(ready)) is not None
    content = json.loads(ready.read_text())
    for wrong in ("", "[]", "{}", json.dumps(content | {"pid": 2**22 + 1}), json.dumps(content | {"tws": {}})):
        ready.write_text(wrong)
        assert asyncio.run(running_gateway(ready)) is None
