"""Scans at the portal door rank this exchange's own market."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.simulation.prices import make_prices
from moondev_ibkr.brokers.simulation.scans import FILTERS, SCANS

from .rig import MES_ID, Rig

SYMBOLS = ["AAPL", "MSFT", "IBM", "NVDA", "SPY"]


@pytest.fixture
def market() -> Iterator[Rig]:
    """Five stocks that move, an hour into trading."""
    made = Rig(source=make_prices(calendar_for(), kind="synthetic", symbols=SYMBOLS))
    made.advance(3600)
    yield made
    made.check()


def scan(rig: Rig, code: str, *filters: tuple[str, float], location: str = "STK.US.MAJOR") -> list[dict[str, Any]]:
    body = {
        "instrument": "STK",
        "type": code,
        "location": location,
        "filter": [{"code": name, "value": value} for name, value in filters],
    }
    answer = rig.post("/iserver/scanner/run", body)
    assert answer.status == 200, answer.body
    rows: list[dict[str, Any]] = answer.body["contracts"]
    return rows


def change(rig: Rig, symbol: str) -> float:
    (details,) = rig.gateway.prices.contracts.find(symbol, "STK")
    view = rig.exchange.market(details.instrument.con_id or 0)
    assert view.last is not None
    assert view.close is not None
    return 100 * (float(view.last) / float(view.close) - 1)


def test_gainers_come_first_and_losers_last(market: Rig) -> None:
    gainers, losers = scan(market, "TOP_PERC_GAIN"), scan(market, "TOP_PERC_LOSE")
    expected = sorted(SYMBOLS, key=lambda symbol: -change(market, symbol))
    assert [row["symbol"] for row in gainers] == expected
    assert [row["symbol"] for row in losers] == expected[::-1]
    assert float(gainers[0]["scan_data"]) == pytest.approx(change(market, expected[0]), abs=0.006)
    assert gainers[0]["column_name"] == "Chg %"
    assert all("column_name" not in row for row in gainers[1:])
    assert [row["server_id"] for row in gainers] == ["0", "1", "2", "3", "4"]
    assert gainers[0]["conidex"] == str(gainers[0]["con_id"])


def test_a_location_and_filters_narrow_the_scan(market: Rig) -> None:
    assert {row["symbol"] for row in scan(market, "MOST_ACTIVE", location="STK.NYSE")} == {"IBM"}
    everything = scan(market, "MOST_ACTIVE")
    prices = {row["symbol"]: market.exchange.market(row["con_id"]).last for row in everything}
    middle = sorted(float(price or 0) for price in prices.values())[2]
    dear = scan(market, "MOST_ACTIVE", ("priceAbove", middle))
    cheap = scan(market, "MOST_ACTIVE", ("priceBelow", middle), ("volumeAbove", 1))
    assert (len(dear), len(cheap)) == (3, 3)
    assert scan(market, "MOST_ACTIVE", ("volumeAbove", 1e15)) == []


def test_every_scan_that_is_offered_runs(market: Rig) -> None:
    params = market.get("/iserver/scanner/params").body
    assert [row["code"] for row in params["scan_type_list"]] == list(SCANS)
    assert [row["code"] for row in params["filter_list"]] == list(FILTERS)
    assert params["location_tree"][0]["locations"][0] == {
        "display_name": "US Stocks",
        "type": "STK.US",
        "locations": [],
    }
    for row in params["scan_type_list"]:
        assert row["instruments"] == ["STK"] if SCANS[row["code"]].on_options else ["STK", "FUT.US"]
        found = scan(market, row["code"])
        assert len(found) == len(SYMBOLS), row["code"]


def test_futures_are_scanned_by_their_own_instrument(rig: Rig) -> None:
    body = {"instrument": "FUT.US", "type": "MOST_ACTIVE", "location": "FUT.CME"}
    (row,) = rig.post("/iserver/scanner/run", body).body["contracts"]
    assert (row["con_id"], row["sec_type"], row["contract_description_1"]) == (MES_ID, "FUT", "MES Jun18'26 (5)")


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "BEST_OF_ALL"},
        {"location": "STK.MARS"},
        {"instrument": "BOND"},
        {"filter": [{"code": "luckAbove", "value": 1}]},
        {"filter": [{"code": "priceAbove", "value": "much"}]},
    ],
)
def test_what_is_not_offered_is_refused(rig: Rig, wrong: dict[str, Any]) -> None:
    body = {"instrument": "STK", "type": "MOST_ACTIVE", "location": "STK.US", "filter": []} | wrong
    answer = rig.post("/iserver/scanner/run", body)
    assert answer.status == 400
    assert answer.body["error"].startswith("Bad Request")
