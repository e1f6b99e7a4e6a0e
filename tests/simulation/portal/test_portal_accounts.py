"""Accounts of the brokerage session: what comes first, which is chosen, balances and P&L equal to the ledger."""

from __future__ import annotations

import pytest
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings

from .orders import ORDERS, place, placed, ticket
from .rig import ACCOUNT, Rig

SECOND = "DU0000002"


@pytest.fixture
def two() -> Rig:
    accounts = (AccountSettings(), AccountSettings(SECOND))
    return Rig(gateway={"exchange": ExchangeSettings(accounts=accounts)})


def test_orders_wait_until_the_accounts_were_asked_for() -> None:
    rig = Rig(warm=False)
    paths = [ORDERS, f"{ORDERS}/whatif"]
    for answer in (
        *(rig.post(path, {"orders": [ticket()]}) for path in paths),
        rig.get("/iserver/account/orders"),
        rig.get("/iserver/account/trades"),
        rig.delete(f"/iserver/account/{ACCOUNT}/order/1"),
    ):
        assert answer.body == {"error": "Please query /accounts first"}
    accounts = rig.get("/iserver/accounts").body
    assert (accounts["accounts"], accounts["selectedAccount"], accounts["isPaper"]) == ([ACCOUNT], ACCOUNT, True)
    assert accounts["sessionId"] == rig.session.session_id
    placed(rig)


def test_the_accounts_are_to_be_asked_for_again_in_a_new_session(rig: Rig) -> None:
    rig.get("/iserver/accounts")
    rig.post("/iserver/auth/ssodh/init", {"publish": True, "compete": True})
    assert place(rig).body == {"error": "Please query /accounts first"}


def test_an_account_is_chosen_for_the_session(two: Rig) -> None:
    assert two.post("/iserver/account", {"acctId": ACCOUNT}).body == {"success": "Account already set"}
    assert two.post("/iserver/account", {"acctId": SECOND}).body == {"set": True, "acctId": SECOND}
    assert two.get("/iserver/accounts").body["selectedAccount"] == SECOND
    assert two.post("/iserver/account", {"acctId": "DU0000009"}).status == 400
    assert two.get("/iserver/accounts").body["selectedAccount"] == SECOND


def test_balances_are_the_ledgers(rig: Rig) -> None:
    placed(rig, ticket("MKT", quantity=10))
    summary = rig.exchange.summary(ACCOUNT)
    body = rig.get(f"/iserver/account/{ACCOUNT}/summary").body
    wanted = {
        "netLiquidationValue": summary.net_liquidation,
        "totalCashValue": summary.total_cash,
        "buyingPower": summary.buying_power,
        "availableFunds": summary.available_funds,
        "excessLiquidity": summary.excess_liquidity,
        "initialMargin": summary.initial_margin,
        "maintenanceMargin": summary.maintenance_margin,
    }
    assert {name: body[name] for name in wanted} == {name: float(value or 0) for name, value in wanted.items()}
    assert body["cashBalances"] == [
        {"currency": "USD", "balance": float(summary.total_cash or 0), "settledCash": float(summary.settled_cash or 0)}
    ]
    assert rig.get("/iserver/account/DU0000009/summary").status == 400


def test_profit_by_partition_is_empty_at_first_and_then_the_ledgers(rig: Rig) -> None:
    placed(rig, ticket("MKT", quantity=10))
    assert rig.get("/iserver/account/pnl/partitioned").body == {"upnl": {}}
    row = rig.get("/iserver/account/pnl/partitioned").body["upnl"][f"{ACCOUNT}.Core"]
    pnl, summary = rig.exchange.pnl(ACCOUNT), rig.exchange.summary(ACCOUNT)
    assert pnl.daily
    assert (row["dpl"], row["upl"]) == (float(pnl.daily), float(pnl.unrealized or 0))
    assert (row["nl"], row["mv"]) == (float(summary.net_liquidation or 0), float(summary.gross_position_value or 0))


def test_caches_are_cold_again_after_a_fault(rig: Rig) -> None:
    placed(rig)
    for path in ("/iserver/account/pnl/partitioned", "/iserver/account/orders", "/iserver/account/trades"):
        rig.get(path)
    rig.session.cool()
    assert rig.get("/iserver/account/pnl/partitioned").body == {"upnl": {}}
    assert rig.get("/iserver/account/orders").body["orders"] == []
    assert rig.get("/iserver/account/trades").body == []
