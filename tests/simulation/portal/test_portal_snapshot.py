"""Snapshots at the portal door: the pre-flight, texts and prefixes, slow fields, availability, limits, and the end."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.order import OrderType, Side
from moondev_ibkr.brokers.simulation.portal.fields import FIELDS
from moondev_ibkr.brokers.simulation.portal.figures import short_text, size_text
from moondev_ibkr.brokers.simulation.portal.market_faults import MarketFaults
from moondev_ibkr.brokers.simulation.tickets import OrderTicket

from ..tws.rig import moving
from .rig import AAPL_ID, MES_ID, MSFT_ID, PRICES, START, Rig

#: Every code of client-portal.md section 2.2.
CODES = [
    "31", "84", "86", "88", "85", "7059", "87", "7762", "70", "71", "82", "83", "7295", "7296", "7741",
    "7635", "55", "58", "6008", "6070", "6119", "6508", "6509", "7057", "7058", "7068", "7219", "7221",
    "7308", "7309", "7310", "7311", "7633", "7283", "7638", "73", "74", "75", "76", "77", "78", "79", "80",
]  # fmt: skip
#: Options' figures: there are no options here to make them of.
WITHOUT_DATA = {"7308", "7309", "7310", "7311", "7633", "7283", "7638"}


def snapshot(rig: Rig, *con_ids: int, fields: str = "31,84,86") -> list[dict[str, Any]]:
    answer = rig.get("/iserver/marketdata/snapshot", conids=",".join(map(str, con_ids)), fields=fields)
    assert answer.status == 200
    rows: list[dict[str, Any]] = answer.body
    return rows


def row(rig: Rig, con_id: int = AAPL_ID, fields: str = "31,84,86", *, slow: bool = False) -> dict[str, Any]:
    """The row after the pre-flight, and with `slow` after the slow fields have come."""
    snapshot(rig, con_id, fields=fields)
    if slow:
        rig.wait(1.0)
    return snapshot(rig, con_id, fields=fields)[0]


def test_the_first_call_only_opens_the_line(rig: Rig) -> None:
    assert snapshot(rig, AAPL_ID) == [{"conid": AAPL_ID, "conidEx": str(AAPL_ID)}]
    (shown,) = snapshot(rig, AAPL_ID)
    assert (shown["31"], shown["84"], shown["86"]) == ("265.00", "264.99", "265.01")
    assert (shown["6509"], shown["6119"], shown["server_id"]) == ("RpB", "q0", "q0")
    assert shown["_updated"] <= int(rig.gateway.now.timestamp() * 1000)
    assert all(isinstance(value, str) for code, value in shown.items() if code.isdigit())


def test_later_calls_need_not_repeat_the_fields(rig: Rig) -> None:
    row(rig, fields="31")
    rig.get("/iserver/marketdata/snapshot", conids=AAPL_ID, fields="84")
    answer = rig.get("/iserver/marketdata/snapshot", conids=AAPL_ID)
    assert {"31", "84"} <= answer.body[0].keys()
    assert "31" not in snapshot(rig, AAPL_ID, fields="84")[0]


def test_sizes_have_commas_and_volume_is_short_and_exact(rig: Rig) -> None:
    shown = row(rig, fields="88,85,7059,87,7762")
    exact = rig.exchange.market(AAPL_ID).volume
    assert Decimal(shown["7762"]) == exact
    assert re.fullmatch(r"\d\.\d\dM", shown["87"])
    assert float(shown["87"][:-1]) == pytest.approx(float(exact) / 1e6, abs=0.005)
    assert shown["7059"] == f"{rig.exchange.market(AAPL_ID).last_size:,.0f}"
    assert size_text(1300) == "1,300"
    assert [short_text(number) for number in (980, 9_999, 24_212_345, 163_773, 1.5e9)] == [
        "980",
        "9,999",
        "24.2M",
        "164K",
        "1.50B",
    ]


def test_every_field_of_the_reference_is_in_the_table() -> None:
    assert set(CODES) <= set(FIELDS)
    assert {code for code, field in FIELDS.items() if field.read is None} == WITHOUT_DATA


def test_every_field_that_this_market_has_is_served_with_a_position() -> None:
    rig = Rig()
    ticket = OrderTicket(7, 1, AAPL_ID, Side.BUY, Decimal(100), OrderType.MARKET)
    rig.exchange.place(ticket)
    rig.advance(60)
    half = len(CODES) // 2
    codes = [*CODES, "7293", "7294", "7282", "7284", "7636"]
    row(rig, fields=",".join(codes[:half]))
    shown = row(rig, fields=",".join(codes[:half]), slow=True) | row(rig, fields=",".join(codes[half:]), slow=True)
    assert set(codes) - shown.keys() == WITHOUT_DATA
    assert (shown["76"], shown["73"], shown["74"]) == ("100", "26,500.00", "265.02")
    assert (shown["58"], shown["7219"], shown["7221"], shown["6070"]) == ("APPLE INC", "AAPL", "NASDAQ", "STK")
    assert shown["6508"].startswith("&serviceID1=122")
    assert {shown["7057"], shown["7058"], shown["7068"]} <= set("NQPZV")
    rig.check()


def test_slow_fields_come_a_second_later(rig: Rig) -> None:
    shown = row(rig, fields="31,7293,7282")
    assert "31" in shown
    assert not {"7293", "7282"} & shown.keys()
    rig.wait(1.0)
    shown = snapshot(rig, AAPL_ID, fields="31,7293,7282")[0]
    assert shown["7293"] == "265.00"
    assert shown["7282"].endswith("M") or shown["7282"].endswith("K")


def test_a_halted_stock_says_so_before_its_price(rig: Rig) -> None:
    row(rig)
    rig.exchange.halt(AAPL_ID)
    rig.advance(1)
    assert snapshot(rig, AAPL_ID)[0]["31"] == "H265.00"


def test_before_the_first_trade_of_a_day_the_last_price_is_the_close_before() -> None:
    rig = Rig()
    rig.advance(timedelta(hours=16).total_seconds())
    assert rig.gateway.now == datetime(2026, 4, 16, 7, 0, tzinfo=UTC)
    shown = row(rig, fields="31,84,7741")
    assert shown["31"] == "C265.00"
    assert shown["7741"] == "265.00"
    assert shown["6509"] == "ZpB"
    rig.check()


def test_values_change_every_half_second_of_market_time() -> None:
    rig = Rig(source=moving())
    row(rig, fields="7762")
    seen = []
    for _ in range(20):
        rig.advance(0.1)
        seen.append(snapshot(rig, AAPL_ID, fields="7762")[0]["7762"])
    assert len(set(seen)) <= 1 + len(seen) * 100 // 500
    rig.advance(300)
    later = snapshot(rig, AAPL_ID, fields="7762")[0]["7762"]
    assert Decimal(later) == rig.exchange.market(AAPL_ID).volume > Decimal(seen[-1])
    rig.check()


def test_without_a_subscription_data_is_fifteen_minutes_old() -> None:
    live = Rig(source=moving())
    late = Rig(source=moving(), not_subscribed=frozenset({"AAPL"}))
    fields = "31,84,86,7762"
    live.advance(600)
    was = row(live, fields=fields)
    late.advance(1500)
    shown = row(late, fields=fields)
    assert (was["6509"], shown["6509"]) == ("RpB", "DpB")
    assert [shown[code] for code in ("31", "84", "86")] == [was[code] for code in ("31", "84", "86")]
    assert shown["_updated"] <= int((late.gateway.now - timedelta(minutes=15)).timestamp() * 1000)
    assert float(shown["7762"]) <= float(was["7762"])
    late.check()


def test_a_symbol_without_data_has_only_its_availability() -> None:
    rig = Rig(no_data=frozenset({"MSFT"}))
    assert row(rig, MSFT_ID) == {"conid": MSFT_ID, "conidEx": str(MSFT_ID), "6509": "N"}
    rig.check()


def test_the_loss_of_all_data_shows_as_availability_and_ends(rig: Rig) -> None:
    row(rig)
    rig.door.state(MarketFaults).no_data = True
    assert snapshot(rig, AAPL_ID)[0].keys() == {"conid", "conidEx", "6509"}
    (refused,) = rig.stream().say(f"smd+{AAPL_ID}+{{}}")
    assert refused["error"] == f"Market data of {AAPL_ID} is not subscribed"
    rig.door.state(MarketFaults).no_data = False
    assert snapshot(rig, AAPL_ID)[0]["31"] == "265.00"


def test_a_futures_data_wants_its_contract_looked_up_first(rig: Rig) -> None:
    assert row(rig, MES_ID) == {"conid": MES_ID, "conidEx": str(MES_ID)}
    rig.get("/trsrv/futures", symbols="MES")
    assert row(rig, MES_ID)["31"] == f"{PRICES['MES']:.2f}"


def test_an_unknown_contract_stays_at_its_pre_flight(rig: Rig) -> None:
    assert row(rig, 1) == {"conid": 1, "conidEx": "1"}


def test_a_contract_keeps_the_exchange_that_it_was_asked_with(rig: Rig) -> None:
    ask = {"conids": f"{AAPL_ID}@NASDAQ", "fields": "31"}
    rig.get("/iserver/marketdata/snapshot", **ask)
    (shown,) = rig.get("/iserver/marketdata/snapshot", **ask).body
    assert (shown["conid"], shown["conidEx"], shown["31"]) == (AAPL_ID, f"{AAPL_ID}@NASDAQ", "265.00")


def test_more_than_a_hundred_contracts_or_fifty_fields_are_refused(rig: Rig) -> None:
    too_many = ",".join(["265598"] * 101)
    assert rig.get("/iserver/marketdata/snapshot", conids=too_many, fields="31").status == 400
    fields = ",".join(str(number) for number in range(51))
    assert rig.get("/iserver/marketdata/snapshot", conids=AAPL_ID, fields=fields).status == 400
    assert rig.get("/iserver/marketdata/snapshot", fields="31").status == 400


def test_accounts_must_have_been_asked_for() -> None:
    rig = Rig(warm=False)
    refused = rig.get("/iserver/marketdata/snapshot", conids=AAPL_ID, fields="31")
    assert (refused.status, refused.body) == (400, {"error": "Please query /accounts first"})


def test_lines_are_limited_and_free_again_once_unsubscribed() -> None:
    rig = Rig(market_data_lines=1)
    row(rig, AAPL_ID)
    assert row(rig, MSFT_ID)["6509"] == "N"
    assert rig.post("/iserver/marketdata/unsubscribe", {"conid": AAPL_ID}).body == {"success": True}
    assert row(rig, MSFT_ID)["31"] == "408.00"
    rig.check()


def test_what_is_not_open_cannot_be_unsubscribed(rig: Rig) -> None:
    refused = rig.post("/iserver/marketdata/unsubscribe", {"conid": AAPL_ID})
    assert (refused.status, refused.body) == (500, {"error": "unknown"})
    row(rig)
    assert rig.get(f"/iserver/marketdata/{AAPL_ID}/unsubscribe").body == {"success": True}
    assert snapshot(rig, AAPL_ID) == [{"conid": AAPL_ID, "conidEx": str(AAPL_ID)}]


def test_unsubscribing_all_ends_every_line_and_works_on_none(rig: Rig) -> None:
    snapshot(rig, AAPL_ID, MSFT_ID)
    assert rig.get("/iserver/marketdata/unsubscribeall").body == {"unsubscribed": True}
    assert [len(shown) for shown in snapshot(rig, AAPL_ID, MSFT_ID)] == [2, 2]
    rig.session.end_brokerage()
    rig.session.begin_brokerage(compete=False)
    assert rig.get("/iserver/marketdata/unsubscribeall").body == {"unsubscribed": True}


def test_a_new_brokerage_session_begins_with_the_pre_flight(rig: Rig) -> None:
    row(rig)
    rig.session.begin_brokerage(compete=True)
    rig.warm()
    assert snapshot(rig, AAPL_ID) == [{"conid": AAPL_ID, "conidEx": str(AAPL_ID)}]


def test_a_silent_feed_keeps_its_last_values() -> None:
    rig = Rig(source=moving())
    before = row(rig, fields="7762")
    rig.door.state(MarketFaults).silent_feed = True
    rig.advance(600)
    assert snapshot(rig, AAPL_ID, fields="7762")[0] == before
    rig.door.state(MarketFaults).silent_feed = False
    assert snapshot(rig, AAPL_ID, fields="7762")[0]["7762"] != before["7762"]
    assert rig.gateway.now == START - timedelta(hours=1) + timedelta(seconds=600)
    rig.check()
