"""Executions at the portal door: warm-up, days, commission, corrections, and whose they are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.order import Side
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings

from .orders import placed, ticket
from .rig import AAPL_ID, ACCOUNT, Rig

PATH = "/iserver/account/trades"


def trades(rig: Rig, **query: Any) -> list[dict[str, Any]]:
    """Warmed up."""
    rig.get(PATH)
    return list(rig.get(PATH, **query).body)


def test_the_first_request_only_warms_up(rig: Rig) -> None:
    placed(rig, ticket("MKT"))
    assert rig.get(PATH).body == []
    assert len(rig.get(PATH).body) == 1


def test_a_trade_tells_the_execution_with_its_commission(rig: Rig) -> None:
    number = placed(rig, ticket("MKT", cOID="key-1"))
    (row,), (execution,) = trades(rig), rig.exchange.executions()
    wanted = {
        "execution_id": execution.exec_id,
        "symbol": "AAPL",
        "side": "B",
        "trade_time": "20260415-15:00:00",
        "trade_time_r": 1776265200000,
        "size": 5.0,
        "order_ref": "key-1",
        "order_id": int(number),
        "account": ACCOUNT,
        "conid": AAPL_ID,
        "sec_type": "STK",
        "submitter": "paperportal",
    }
    assert {name: row[name] for name in wanted} == wanted
    assert Decimal(row["price"]) == execution.price
    assert Decimal(row["commission"]) == execution.commission
    assert row["net_amount"] == float(execution.quantity * execution.price)
    assert row["order_description"].startswith("Bot 5 @ ")


def test_a_trade_without_a_coid_has_no_reference(rig: Rig) -> None:
    placed(rig, ticket("MKT", "SELL"))
    (row,) = trades(rig)
    assert row["side"] == "S"
    assert "order_ref" not in row


def test_trades_of_earlier_days_are_told_when_asked_for(rig: Rig) -> None:
    placed(rig, ticket("MKT"))
    rig.advance(2 * 86_400)
    placed(rig, ticket("MKT", "SELL"))
    assert rig.exchange.now.day == 17
    assert [row["side"] for row in trades(rig)] == ["S"]
    assert [row["side"] for row in trades(rig, days=7)] == ["B", "S"]


def test_trades_older_than_a_week_are_forgotten(rig: Rig) -> None:
    placed(rig, ticket("MKT"))
    rig.advance(7 * 86_400 + 3600)
    placed(rig, ticket("MKT", "SELL"))
    assert [row["side"] for row in trades(rig, days=7)] == ["S"]


@pytest.mark.parametrize("days", ["0", "8", "x", "-1"])
def test_days_are_one_to_seven(rig: Rig, days: str) -> None:
    assert rig.get(PATH, days=days).status == 400


def test_o13_a_correction_takes_the_place_of_what_it_corrects(rig: Rig) -> None:
    placed(rig, ticket("MKT"))
    (before,) = trades(rig)
    rig.exchange.correct_execution(before["execution_id"], quantity=Decimal(3))
    (after,) = trades(rig)
    assert (before["execution_id"][-2:], after["execution_id"][-2:]) == ("01", "02")
    assert after["size"] == 3.0


def test_trades_of_one_account_can_be_asked_for() -> None:
    accounts = (AccountSettings(), AccountSettings("DU0000002"))
    rig = Rig(gateway={"exchange": ExchangeSettings(accounts=accounts)})
    placed(rig, ticket("MKT"))
    rig.post("/iserver/account/DU0000002/orders", {"orders": [ticket("MKT", "SELL")]})
    assert [row["account"] for row in trades(rig)] == [ACCOUNT, "DU0000002"]
    assert [row["side"] for row in trades(rig, accountId="DU0000002")] == ["S"]
    assert rig.get(PATH, accountId="DU0000009").status == 400


def test_a_forced_closing_is_marked(rig: Rig) -> None:
    placed(rig, ticket("MKT"))
    rig.exchange.liquidate(ACCOUNT, AAPL_ID)
    assert [row["liquidation_trade"] for row in trades(rig)] == ["0", "1"]
    assert rig.exchange.executions()[-1].side is Side.SELL
