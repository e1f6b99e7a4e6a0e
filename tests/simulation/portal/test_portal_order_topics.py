"""The account and order topics of the WebSocket: first what there is, then what changes, until unsubscribed."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from moondev_ibkr.brokers.simulation.events import StatusChanged
from moondev_ibkr.brokers.simulation.portal.settings import SorFrames

from .orders import placed, ticket
from .rig import ACCOUNT, FakeStream, Rig


def rows(stream: FakeStream, topic: str) -> list[Any]:
    return [row for frame in stream.of(topic) for row in frame["args"]]


# sor


def test_orders_come_at_first_and_then_each_change(rig: Rig) -> None:
    number = int(placed(rig, ticket(cOID="key-1")))
    stream = rig.stream()
    (frame,) = stream.say("sor+{}")
    assert frame["topic"] == "sor"
    assert [(row["orderId"], row["status"], row["order_ref"]) for row in frame["args"]] == [
        (number, "Submitted", "key-1")
    ]
    rig.delete(f"/iserver/account/{ACCOUNT}/order/{number}")
    changes = rows(stream, "sor")[1:]
    assert [change["status"] for change in changes] == ["PendingCancel", "Cancelled"]
    assert all(set(change) < set(frame["args"][0]) for change in changes)


def test_a_change_carries_the_whole_row_when_the_settings_say_so() -> None:
    rig = Rig(sor_frames=SorFrames.FULL)
    number = placed(rig, ticket(cOID="key-1"))
    stream = rig.stream()
    (frame,) = stream.say("sor+{}")
    rig.delete(f"/iserver/account/{ACCOUNT}/order/{number}")
    assert all(set(change) == set(frame["args"][0]) for change in rows(stream, "sor")[1:])
    assert rows(stream, "sor")[-1]["remainingQuantity"] == 5.0


def test_merged_changes_are_the_row_of_the_list(rig: Rig) -> None:
    stream = rig.stream()
    assert stream.say("sor+{}") == [{"topic": "sor", "args": []}]
    number = placed(rig, ticket(cOID="key-1"))
    rig.post(f"/iserver/account/{ACCOUNT}/order/{number}", ticket("MKT", quantity=7))
    merged: dict[str, Any] = {}
    for change in rows(stream, "sor"):
        merged |= change
    (row,) = rig.get("/iserver/account/orders").body["orders"]
    assert {key: merged[key] for key in row} == row
    assert (row["status"], row["filledQuantity"]) == ("Filled", 7.0)


def test_a_stream_may_ask_for_changes_only(rig: Rig) -> None:
    placed(rig)
    stream = rig.stream()
    assert stream.say('sor+{"realtimeUpdatesOnly":true}') == []
    placed(rig)
    assert len({row["orderId"] for row in rows(stream, "sor")}) == 1


def test_a_filter_bends_the_stream_and_the_list_until_it_is_forced_off(rig: Rig) -> None:
    stream = rig.stream()
    stream.say('sor+{"filters":["Filled"]}')
    placed(rig)
    placed(rig, ticket("MKT"))
    assert {row["status"] for row in rows(stream, "sor")} == {"Filled"}
    assert [row["status"] for row in rig.get("/iserver/account/orders").body["orders"]] == ["Filled"]
    rig.get("/iserver/account/orders", force="true")
    placed(rig)
    assert rows(stream, "sor")[-1]["status"] == "Submitted"


def test_an_unsubscribed_stream_hears_nothing_more(rig: Rig) -> None:
    stream = rig.stream()
    stream.say("sor+{}")
    assert stream.say("uor+{}") == []
    begin = len(stream.frames)
    placed(rig)
    assert len(stream.frames) == begin


def test_subscribing_twice_tells_once(rig: Rig) -> None:
    stream = rig.stream()
    stream.say("sor+{}")
    stream.say("sor+{}")
    placed(rig)
    assert len([row for row in rows(stream, "sor") if row["status"] == "Submitted"]) == 1


def test_orders_end_with_the_brokerage_session(rig: Rig) -> None:
    stream = rig.stream()
    stream.say("sor+{}")
    rig.post("/iserver/auth/ssodh/init", {"publish": True, "compete": True})
    rig.warm()
    begin = len(stream.of("sor"))
    placed(rig)
    assert len(stream.of("sor")) == begin


def test_a_repeated_status_says_nothing_new(rig: Rig) -> None:
    stream = rig.stream()
    stream.say("sor+{}")
    placed(rig)
    before = len(stream.of("sor"))
    rig.exchange.inject(StatusChanged(rig.exchange.now, rig.exchange.open_orders()[0]))
    assert len(stream.of("sor")) == before


# str


def test_executions_come_as_they_happen_without_a_commission(rig: Rig) -> None:
    placed(rig, ticket("MKT", cOID="key-1"))
    stream = rig.stream()
    (frame,) = stream.say('str+{"realtimeUpdatesOnly":false,"days":1}')
    assert [row["order_ref"] for row in frame["args"]] == ["key-1"]
    placed(rig, ticket("MKT", "SELL"))
    assert [(row["side"], row["size"]) for row in rows(stream, "str")] == [("B", 5.0), ("S", 5.0)]
    assert all("commission" not in row for row in rows(stream, "str"))
    ids = [execution.exec_id for execution in rig.exchange.executions()]
    assert [row["execution_id"] for row in rows(stream, "str")] == ids
    assert stream.say("utr") == []
    placed(rig, ticket("MKT"))
    assert len(rows(stream, "str")) == 2


def test_only_what_happens_from_now_on_can_be_asked_for(rig: Rig) -> None:
    placed(rig, ticket("MKT"))
    stream = rig.stream()
    assert stream.say('str+{"realtimeUpdatesOnly":true}') == []
    rig.exchange.correct_execution(rig.exchange.executions()[0].exec_id, quantity=Decimal(3))
    (row,) = rows(stream, "str")
    assert (row["size"], row["execution_id"][-2:]) == (3.0, "02")


def test_days_that_cannot_be_are_refused(rig: Rig) -> None:
    assert rig.stream().say('str+{"days":9}')[0]["code"] == 400


# spl


def test_profit_comes_at_first_after_a_fill_and_when_it_changed(rig: Rig) -> None:
    stream = rig.stream()
    (frame,) = stream.say("spl+{}")
    assert frame["args"][f"{ACCOUNT}.Core"]["dpl"] == 0.0
    placed(rig, ticket("MKT"))
    assert stream.of("spl")[-1]["args"][f"{ACCOUNT}.Core"]["dpl"] == float(rig.exchange.pnl(ACCOUNT).daily or 0)
    told = len(stream.of("spl"))
    assert told == 2
    rig.advance(60)
    changed = [frame["args"] for frame in stream.of("spl")]
    assert all(before != after for before, after in pairwise(changed))
    assert stream.say("upl+{}") == []
    placed(rig, ticket("MKT", quantity=50))
    assert len(stream.of("spl")) == len(changed)


def test_profit_needs_no_brokerage_session() -> None:
    rig = Rig(brokerage_at_login=False)
    stream = rig.stream()
    assert stream.say("spl+{}")[0]["topic"] == "spl"
    assert "error" in stream.say("sor+{}")[0]
    assert "error" in stream.say("str+{}")[0]


# ssd and sld


def test_balances_come_whole_and_then_what_changed(rig: Rig) -> None:
    stream = rig.stream()
    (frame,) = stream.say(f"ssd+{ACCOUNT}+{{}}")
    assert frame["topic"] == f"ssd+{ACCOUNT}"
    figures = {row["key"]: row.get("monetaryValue", row.get("value")) for row in frame["result"]}
    assert figures["NetLiquidation"] == 100_000.0
    assert figures["AccountCode"] == ACCOUNT
    placed(rig, ticket("MKT"))
    changed = {row["key"]: row.get("monetaryValue", row.get("value")) for row in stream.of("ssd")[-1]["result"]}
    assert changed["TotalCashValue"] == float(rig.exchange.summary(ACCOUNT).total_cash or 0)
    assert changed["AccountCode"] == ACCOUNT
    assert "AccountType" not in changed
    assert stream.say(f"usd+{ACCOUNT}+{{}}") == [{"result": "unsubscribed from summary"}]
    begin = len(stream.frames)
    placed(rig, ticket("MKT"))
    assert len(stream.frames) == begin


def test_keys_and_fields_can_be_chosen(rig: Rig) -> None:
    stream = rig.stream()
    keys = '{"keys":["NetLiquidation-S","TotalCashValue"],"fields":["monetaryValue"]}'
    (frame,) = stream.say(f"ssd+{ACCOUNT}+{keys}")
    assert {row["key"] for row in frame["result"]} == {"NetLiquidation", "TotalCashValue"}
    assert all(set(row) == {"key", "timestamp", "monetaryValue"} for row in frame["result"])
    (frame,) = stream.say(f'sld+{ACCOUNT}+{{"keys":["LedgerListUSD"],"fields":["cashBalance"]}}')
    assert [set(row) for row in frame["result"]] == [{"key", "timestamp", "cashbalance"}]


def test_the_ledger_comes_every_ten_seconds_blank_where_nothing_changed(rig: Rig) -> None:
    stream = rig.stream()
    (frame,) = stream.say(f"sld+{ACCOUNT}+{{}}")
    assert [row["key"] for row in frame["result"]] == ["LedgerListUSD", "LedgerListBASE"]
    assert frame["result"][0]["acctCode"] == ACCOUNT
    rig.advance(10)
    assert [set(row) for row in stream.of("sld")[-1]["result"]] == [{"key", "timestamp"}] * 2
    placed(rig, ticket("MKT"))
    rig.advance(10)
    row = stream.of("sld")[-1]["result"][0]
    assert row["cashbalance"] == float(rig.exchange.summary(ACCOUNT).total_cash or 0)
    assert len(stream.of("sld")) == 3
    assert stream.say(f"uld+{ACCOUNT}+{{}}") == [{"result": "unsubscribed from ledger"}]
    rig.advance(20)
    assert len(stream.of("sld")) == 3


@pytest.mark.parametrize("text", ["ssd+{}", "sld+DU0000009+{}", "usd+{}"])
def test_a_topic_names_an_account_that_there_is(rig: Rig, text: str) -> None:
    assert rig.stream().say(text)[0]["code"] == 400


def test_a_stream_that_leaves_hears_nothing_more(rig: Rig) -> None:
    stream = rig.stream()
    for text in ("sor+{}", "str+{}", "spl+{}", f"ssd+{ACCOUNT}+{{}}", f"sld+{ACCOUNT}+{{}}"):
        stream.say(text)
    stream.stream.leave()
    begin = len(stream.frames)
    placed(rig, ticket("MKT"))
    rig.advance(30)
    assert len(stream.frames) == begin
    assert rig.gateway.timers.next_time() is None
