"""Portfolios: positions by page and by contract, balances and ledgers, all equal to the exchange's own books."""

from __future__ import annotations

from typing import Any

import pytest

from .orders import placed, ticket
from .rig import AAPL_ID, ACCOUNT, MES_ID, MSFT_ID, Rig


@pytest.fixture
def held(rig: Rig) -> Rig:
    """Long AAPL, short MSFT, one future."""
    placed(rig, ticket("MKT", quantity=10))
    placed(rig, ticket("MKT", "SELL", quantity=4, conid=MSFT_ID))
    placed(rig, ticket("MKT", quantity=1, conid=MES_ID, manualIndicator=False, extOperator="bot"))
    return rig


def test_portfolio_calls_wait_for_the_portfolios_own_accounts() -> None:
    rig = Rig(warm=False)
    assert rig.get(f"/portfolio/{ACCOUNT}/summary").body == {"error": "Please query /accounts first"}
    (row,) = rig.get("/portfolio/accounts").body
    assert (row["id"], row["type"], row["currency"], row["faclient"]) == (ACCOUNT, "DEMO", "USD", False)
    assert rig.get("/portfolio/subaccounts").body == [row]
    assert rig.get(f"/portfolio/{ACCOUNT}/meta").body == row
    assert rig.get(f"/portfolio/{ACCOUNT}/summary").status == 200
    assert rig.get("/portfolio/DU0000009/summary").status == 400


def test_portfolios_need_no_brokerage_session() -> None:
    rig = Rig(brokerage_at_login=False)
    assert rig.get(f"/portfolio/{ACCOUNT}/positions/0").body == []
    assert rig.get("/iserver/accounts").status == 400


def test_positions_are_the_exchanges(held: Rig) -> None:
    rows = held.get(f"/portfolio/{ACCOUNT}/positions/0").body
    books = held.exchange.positions(ACCOUNT)
    assert [row["position"] for row in rows] == [10.0, -4.0, 1.0]
    for row, book in zip(rows, books, strict=True):
        assert row["conid"] == book.instrument.con_id
        assert row["avgCost"] == float(book.average_cost)
        assert row["avgPrice"] == pytest.approx(float(book.average_cost / book.instrument.multiplier))
        assert (row["mktPrice"], row["mktValue"]) == (float(book.market_price or 0), float(book.market_value or 0))
        assert row["unrealizedPnl"] == float(book.unrealized_pnl or 0)
    stock, _, future = rows
    assert (stock["multiplier"], stock["expiry"], stock["contractDesc"]) == (None, None, "AAPL")
    assert (future["multiplier"], future["expiry"], future["assetClass"]) == (5.0, "20260618", "FUT")


def test_pages_are_kept_until_they_are_invalidated_or_old(held: Rig) -> None:
    def sizes() -> list[float]:
        return [row["position"] for row in held.get(f"/portfolio/{ACCOUNT}/positions/0").body]

    assert sizes() == [10.0, -4.0, 1.0]
    placed(held, ticket("MKT", quantity=5))
    assert sizes() == [10.0, -4.0, 1.0]
    assert held.get(f"/portfolio2/{ACCOUNT}/positions").body[0]["position"] == 15.0
    assert held.post(f"/portfolio/{ACCOUNT}/positions/invalidate").body == {"message": "success"}
    assert sizes() == [15.0, -4.0, 1.0]
    placed(held, ticket("MKT", quantity=5))
    held.wait(301)
    assert sizes() == [20.0, -4.0, 1.0]


def test_a_page_holds_a_hundred() -> None:
    names = [f"{chr(65 + n // 26)}{chr(65 + n % 26)}Q" for n in range(101)]
    rig = Rig(prices=dict.fromkeys(names, 10.0))
    for details in rig.exchange.catalogue():
        placed(rig, ticket("MKT", conid=details.instrument.con_id, quantity=1))
    assert [len(rig.get(f"/portfolio/{ACCOUNT}/positions/{page}").body) for page in range(3)] == [100, 1, 0]
    assert rig.get(f"/portfolio/{ACCOUNT}/positions").body == rig.get(f"/portfolio/{ACCOUNT}/positions/0").body
    assert rig.get(f"/portfolio/{ACCOUNT}/positions/x").status == 400


def test_the_uncached_list_has_other_names_and_conids_as_text(held: Rig) -> None:
    row = held.get(f"/portfolio2/{ACCOUNT}/positions").body[0]
    assert (row["conid"], row["description"], row["secType"]) == (str(AAPL_ID), "AAPL", "STK")
    assert row["marketValue"] == float(held.exchange.positions(ACCOUNT)[0].market_value or 0)


def test_one_position_is_found_by_its_contract(held: Rig) -> None:
    (row,) = held.get(f"/portfolio/{ACCOUNT}/position/{MSFT_ID}").body
    assert row["position"] == -4.0
    assert held.get(f"/portfolio/positions/{MSFT_ID}").body == {ACCOUNT: [row]}
    assert held.get(f"/portfolio/{ACCOUNT}/position/1").body == []
    assert held.get("/portfolio/positions/1").body == {}


def test_the_summary_is_the_ledgers(held: Rig) -> None:
    body, summary = held.get(f"/portfolio/{ACCOUNT}/summary").body, held.exchange.summary(ACCOUNT)
    wanted: dict[str, Any] = {
        "netliquidation": summary.net_liquidation,
        "totalcashvalue": summary.total_cash,
        "buyingpower": summary.buying_power,
        "initmarginreq": summary.initial_margin,
        "maintmarginreq": summary.maintenance_margin,
        "grosspositionvalue": summary.gross_position_value,
    }
    for name, value in wanted.items():
        assert body[name]["amount"] == float(value)
        assert float(body[name]["value"]) == float(value)
        assert (body[name]["currency"], body[name]["isNull"]) == ("USD", False)
    assert body["accountcode"]["value"] == ACCOUNT
    assert body["accountcode"]["currency"] is None
    assert body["netliquidation"]["timestamp"] == int(held.exchange.now.timestamp())


def test_the_ledger_adds_up_to_the_net_liquidation(held: Rig) -> None:
    body, summary = held.get(f"/portfolio/{ACCOUNT}/ledger").body, held.exchange.summary(ACCOUNT)
    assert set(body) == {"USD", "BASE"}
    for name, row in body.items():
        assert (row["currency"], row["secondkey"], row["key"]) == (name, name, "LedgerList")
        assert row["cashbalance"] == float(summary.total_cash or 0)
        assert row["netliquidationvalue"] == float(summary.net_liquidation or 0)
        parts = row["cashbalance"] + row["stockmarketvalue"] + row["futuremarketvalue"]
        assert parts == pytest.approx(row["netliquidationvalue"])
        assert row["realizedpnl"] == float(summary.realized_pnl or 0)


def test_the_allocation_splits_long_from_short(held: Rig) -> None:
    classes = held.get(f"/portfolio/{ACCOUNT}/allocation").body["assetClass"]
    values = {row.instrument.symbol: float(row.market_value or 0) for row in held.exchange.positions(ACCOUNT)}
    assert classes["long"]["STK"] == values["AAPL"]
    assert classes["short"] == {"STK": values["MSFT"]}
    assert classes["long"]["CASH"] == float(held.exchange.summary(ACCOUNT).total_cash or 0)
