"""Every one-shot command, as data and for eyes, over a gateway that runs already."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.cli import commands

from .conftest import Command, GatewayThread, free_port


def test_quotes_come_in_one_round_and_a_missing_symbol_is_named(on_market: Command) -> None:
    told = on_market("quote", "AAPL", "ZZZZ", "--json")
    assert told.code == 1
    quote = told.data["quotes"]["AAPL"]
    assert quote["bid"] < quote["ask"]
    assert quote["time"].startswith("2008-09-19")
    assert "ZZZZ" in told.data["errors"]


def test_quotes_for_eyes(on_market: Command) -> None:
    told = on_market("quote", "AAPL", "MSFT")
    assert told.code == 0
    assert "AAPL" in told.out
    assert "MSFT" in told.out
    assert told.err == ""


def test_bars_end_with_the_running_one(on_market: Command) -> None:
    told = on_market("bars", "IBM", "--count", "3", "--json")
    bars = told.data["bars"]
    assert [bar["complete"] for bar in bars] == [True, True, False]
    assert all(bar["low"] <= bar["open"] <= bar["high"] for bar in bars)
    assert "2008-09-18" in on_market("bars", "IBM", "--size", "1D").out


def test_account_positions_and_orders_of_nobody(on_market: Command) -> None:
    account = on_market("account", "--json").data["accounts"][0]
    assert account["account"] == "DU0000001"
    assert "net liquidation" in on_market("account").out
    assert on_market("orders", "--json").data == {"orders": [], "fills": []}
    assert "no orders" in on_market("orders").out


def test_a_purchase_is_filled_sold_and_remembered(on_market: Command) -> None:
    bought = on_market("buy", "MSFT", "7", "--json").data["orders"][0]
    assert (bought["state"], bought["type"], bought["filled"]) == ("FILLED", "LMT", "7")
    assert [row["quantity"] for row in on_market("positions", "--json").data["positions"]] == ["7"]
    assert "MSFT" in on_market("positions").out
    sold = on_market("sell", "MSFT", "7", "--type", "MKT")
    assert sold.code == 0
    assert sold.out.startswith("FILLED SELL 7 MSFT MKT DAY")
    history = on_market("orders", "--all", "--json").data
    assert [order["state"] for order in history["orders"]] == ["FILLED", "FILLED"]
    assert len(history["fills"]) == 2
    assert "no positions" in on_market("positions").out


def test_the_same_key_is_placed_once(on_market: Command) -> None:
    first = on_market("buy", "MSFT", "1", "--limit", "20", "--key", "mine-1", "--json").data["orders"][0]
    again = on_market("buy", "MSFT", "1", "--limit", "20", "--key", "mine-1", "--json").data["orders"][0]
    assert first["perm_id"] == again["perm_id"]
    other = on_market("buy", "MSFT", "2", "--limit", "20", "--key", "mine-1")
    assert other.code == 2
    assert "names another order" in other.err
    assert on_market("cancel", "mine-1").out.startswith("CANCELLED")


#: Options of a buy of IBM near 119.6 -> how the order stands afterwards.
ORDER_TYPES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("--limit", "100"), "WORKING"),
    (("--market",), "FILLED"),
    (("--type", "STP", "--stop", "130"), "PRE_SUBMITTED"),
    (("--type", "STP_LMT", "--stop", "130", "--limit", "131"), "PRE_SUBMITTED"),
    (("--type", "TRAIL", "--trail", "5"), "PRE_SUBMITTED"),
    (("--type", "TRAIL", "--trail", "4%"), "PRE_SUBMITTED"),
    (("--type", "MOC"), "PRE_SUBMITTED"),
    (("--type", "LOC", "--limit", "120"), "PRE_SUBMITTED"),
    (("--type", "MIDPRICE"), "FILLED"),
    (("--limit", "100", "--tif", "IOC"), "CANCELLED"),
    (("--limit", "100", "--tif", "GTC", "--outside-rth"), "WORKING"),
    (("--limit", "100", "--tif", "GTD", "--good-till", "2008-09-22"), "WORKING"),
)


@pytest.mark.parametrize(("options", "stands"), ORDER_TYPES, ids=[" ".join(row[0]) for row in ORDER_TYPES])
def test_every_order_type(on_market: Command, options: tuple[str, ...], stands: str) -> None:
    told = on_market("buy", "IBM", "1", *options, "--json")
    assert told.data["orders"][0]["state"] == stands
    assert on_market("cancel", "all").code == 0


def test_a_bracket_enters_at_the_touch_and_shows_its_legs(on_market: Command) -> None:
    entry, stop, target = on_market("buy", "GOOG", "1", "--protect", "300", "--target", "600", "--json").data["orders"]
    assert (entry["type"], entry["state"]) == ("LMT", "FILLED")
    assert (stop["type"], stop["stop_price"], stop["tif"]) == ("STP", "300", "GTC")
    assert (target["type"], target["limit_price"], target["tif"]) == ("LMT", "600", "GTC")
    resting = on_market("orders")
    assert "SELL 1 GOOG STP stop 300 GTC" in resting.out
    flat = on_market("flatten", "GOOG", "--json")
    assert flat.code == 0
    assert [order["side"] for order in flat.data["orders"]] == ["SELL"]
    assert on_market("orders", "--json").data["orders"] == []


def test_the_emergency_stop_outlives_the_command_and_is_lifted(on_market: Command) -> None:
    on_market("buy", "IBM", "1", "--market")
    on_market("buy", "IBM", "1", "--limit", "100")
    stopped = on_market("kill", "--reason", "drill", "--json")
    assert stopped.code == 0
    assert len(stopped.data["cancelled"]) == 1
    assert len(stopped.data["closing"]) == 1
    assert stopped.data["not_flat"] == []
    assert stopped.data["refused_after_seconds"] < 0.05
    refused = on_market("buy", "IBM", "1")
    assert refused.code == 1
    assert "kill switch is on: drill" in refused.err
    assert on_market("resume", "--json").data == {"halted": False}
    assert on_market("buy", "IBM", "2", "--market").code == 0
    assert "verified flat" in on_market("kill").out


def test_the_emergency_stop_without_a_broker_still_refuses_orders(
    command: Command, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill` reaches nothing, but no process of this journal trades on."""
    monkeypatch.setenv("IB_PORT", str(free_port()))
    told = command("kill", "--broker", "ib", "--reason", "fire", "--json")
    assert told.code == 1
    assert told.data["error"]["halted"] is True
    assert "run kill again" in told.data["error"]["next"]
    with contextlib.closing(Journal(state / "paper" / "journal.sqlite")) as journal:
        assert journal.halted == "fire"


def test_asking_twice_before_everything_is_sold(on_market: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\nn\n"))
    told = on_market("kill", "--everything")
    assert told.code == 1
    assert "nothing was done" in told.err


def test_foreign_orders_are_seen_and_left_alone_until_adopted(on_market: Command, market: GatewayThread) -> None:
    market.fault("manual-order", "AAPL", "3")
    refused = on_market("sell", "AAPL", "3", "--market")
    assert refused.code == 1
    assert on_market("adopt", "AAPL").code == 0
    sold = on_market("sell", "AAPL", "3", "--market")
    assert sold.code == 0, sold.err


def test_costs_need_no_gateway(command: Command) -> None:
    told = command("costs", "AAPL", "--commissions", "40", "--json")
    assert told.code == 0
    assert float(told.data["monthly"]) >= 0
    assert "USD a month" in command("costs", "AAPL", "IBM", "--professional").out


def test_help_lists_every_command_and_each_has_its_own(command: Command) -> None:
    told = command("--help")
    assert told.code == 0
    for name in commands.COMMANDS:
        assert name in told.out
        page = command(name, "--help")
        assert page.code == 0
        assert "--json" in page.out
