"""Alerts at the portal door wait for the market, fire, and are told; and the notices that they leave."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from moondev_ibkr.brokers.simulation.portal.market_faults import MarketFaults

from ..tws.rig import moving
from .rig import AAPL_ID, ACCOUNT, Rig

ALERT = f"/iserver/account/{ACCOUNT}/alert"


@pytest.fixture
def market() -> Iterator[Rig]:
    """A market that moves, 10:00 in New York."""
    made = Rig(source=moving())
    yield made
    made.check()


def price(value: float, operator: str = ">=", **more: Any) -> dict[str, Any]:
    condition = {"type": 1, "conidex": f"{AAPL_ID}@SMART", "operator": operator, "triggerMethod": "0"}
    return condition | {"value": f"{value}", "logicBind": "n"} | more


def body(*conditions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "alertName": "watch",
        "alertMessage": "look at AAPL",
        "alertRepeatable": 0,
        "outsideRth": 0,
        "tif": "GTC",
        "conditions": list(conditions),
    } | more


def last(rig: Rig) -> float:
    return float(rig.exchange.market(AAPL_ID).last or 0)


def create(rig: Rig, *conditions: dict[str, Any], **more: Any) -> int:
    answer = rig.post(ALERT, body(*conditions, **more))
    assert answer.status == 200, answer.body
    assert answer.body["success"] is True
    return int(answer.body["order_id"])


def state(rig: Rig, number: int) -> tuple[int, bool]:
    """(active, triggered)"""
    rows = rig.get(f"/iserver/account/{ACCOUNT}/alerts").body
    (row,) = [row for row in rows if row["order_id"] == number]
    return row["alert_active"], row["alert_triggered"]


def until_moved(rig: Rig, up: bool, by: float) -> None:
    """Lets the market run until AAPL has moved so far."""
    begin = last(rig)
    for _ in range(600):
        rig.advance(30)
        if (last(rig) - begin >= by) if up else (begin - last(rig) >= by):
            return
    raise AssertionError("AAPL did not move")


def test_an_alert_fires_when_the_price_is_there_and_is_told(market: Rig) -> None:
    stream = market.stream()
    level = round(last(market) + 0.2, 2)
    number = create(market, price(level))
    assert state(market, number) == (1, False)
    until_moved(market, up=True, by=0.25)
    assert state(market, number) == (0, True)
    (frame,) = stream.of("ntf")
    assert frame["args"][0]["title"] == "Alert watch"
    assert frame["args"][0]["text"] == "look at AAPL"
    assert market.get("/fyi/unreadnumber").body == {"BN": 1}


def test_an_alert_waits_for_all_of_its_conditions(market: Rig) -> None:
    later = market.gateway.now + timedelta(hours=1)
    moment = {"type": 3, "operator": ">=", "value": f"{later:%Y%m%d-%H:%M:%S}", "timeZone": "UTC", "logicBind": "n"}
    number = create(market, price(0.01, logicBind="a"), moment)
    market.advance(3599)
    assert state(market, number) == (1, False)
    market.advance(1)
    assert state(market, number) == (0, True)


def test_either_condition_is_enough_with_or(market: Rig) -> None:
    number = create(market, price(1e9, logicBind="o"), price(0.01))
    assert state(market, number) == (0, True)


def test_a_volume_alert_counts_todays_shares(market: Rig) -> None:
    volume = int(market.exchange.market(AAPL_ID).volume)
    condition = price(volume + 1) | {"type": 6}
    number = create(market, condition)
    assert state(market, number) == (1, False)
    market.advance(600)
    assert state(market, number) == (0, True)


def test_a_repeatable_alert_fires_anew_each_time(market: Rig) -> None:
    level = last(market)
    number = create(market, price(level), alertRepeatable=1)
    for _ in range(300):
        market.advance(30)
    told = market.get("/fyi/unreadnumber").body["BN"]
    assert told >= 2
    assert state(market, number) == (1, True)


def test_outside_regular_hours_only_those_fire_that_say_so(market: Rig) -> None:
    market.advance(timedelta(hours=7).total_seconds())
    quiet, loud = create(market, price(0.01)), create(market, price(0.01), outsideRth=1)
    assert (state(market, quiet), state(market, loud)) == ((1, False), (0, True))
    market.advance(timedelta(hours=17).total_seconds())
    assert state(market, quiet) == (0, True)


def test_a_dormant_alert_is_silent_until_it_is_activated(market: Rig) -> None:
    number = create(market, price(1e9))
    off = market.post(f"{ALERT}/activate", {"alertId": number, "alertActive": 0})
    assert (off.body["success"], off.body["order_id"]) == (True, number)
    changed = market.post(ALERT, body(price(0.01), orderId=number))
    assert changed.body["order_id"] == number
    assert state(market, number) == (0, True)
    market.post(f"{ALERT}/activate", {"alertId": number, "alertActive": 0})
    market.post(f"{ALERT}/activate", {"alertId": number, "alertActive": 1})
    assert market.get("/fyi/unreadnumber").body == {"BN": 2}


def test_an_alert_until_a_date_ends_then(market: Rig) -> None:
    expires = market.gateway.now + timedelta(hours=1)
    number = create(market, price(1e9), tif="GTD", expireTime=f"{expires:%Y%m%d-%H:%M:%S}")
    market.advance(3600)
    assert state(market, number) == (0, False)
    shown = market.get(f"/iserver/account/alert/{number}", type="Q").body
    assert (shown["order_status"], shown["tif"]) == ("Inactive", "GTD")


def test_one_alert_shows_all_that_was_sent(market: Rig) -> None:
    number = create(market, price(1e9), showPopup=1)
    shown = market.get(f"/iserver/account/alert/{number}", type="Q").body
    assert (shown["alert_name"], shown["alert_message"], shown["alert_show_popup"]) == ("watch", "look at AAPL", 1)
    assert shown["condition_size"] == 1
    (condition,) = shown["conditions"]
    assert (condition["condition_operator"], condition["contract_description_1"]) == (">=", "AAPL")
    assert market.get(f"/iserver/account/alert/{number}").status == 400
    assert market.get("/iserver/account/mta").body["alert_name"] == "MTA"


def test_a_deleted_alert_is_gone_and_zero_deletes_all(market: Rig) -> None:
    first, second = create(market, price(1e9)), create(market, price(1e9))
    assert market.delete(f"{ALERT}/{first}").body["success"] is True
    assert market.delete(f"{ALERT}/{first}").status == 500
    assert [row["order_id"] for row in market.get(f"/iserver/account/{ACCOUNT}/alerts").body] == [second]
    market.delete(f"{ALERT}/0")
    assert market.get(f"/iserver/account/{ACCOUNT}/alerts").body == []


def test_alerts_outlive_the_brokerage_session(market: Rig) -> None:
    number = create(market, price(1e9))
    market.session.begin_brokerage(compete=True)
    market.warm()
    assert state(market, number) == (1, False)


def test_a_paper_account_may_be_refused_alerts(rig: Rig) -> None:
    rig.door.state(MarketFaults).alerts_refused = True
    assert rig.post(ALERT, body(price(300))).status == 403
    assert rig.get(f"/iserver/account/{ACCOUNT}/alerts").body == []


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        (body(), 400),
        (body(price(300), alertName=""), 400),
        (body(price(300), tif="DAY"), 400),
        (body(price(300), tif="GTD"), 400),
        (body(price(300, operator="==")), 400),
        (body(price(300) | {"value": "high"}), 400),
        (body(price(300) | {"value": "NaN"}), 400),
        (body(price(300) | {"conidex": "1@SMART"}), 500),
        (body(price(300) | {"type": 4}), 500),
        (body(price(300) | {"triggerMethod": "8"}), 500),
        (body(price(300), orderId=99), 500),
        (body({"type": 3, "operator": ">=", "value": "20260416-10:00:00", "timeZone": "Mars"}), 400),
    ],
)
def test_what_cannot_be_kept_is_refused(rig: Rig, wrong: dict[str, Any], status: int) -> None:
    answer = rig.post(ALERT, wrong)
    assert answer.status == status, answer.body
    assert rig.get(f"/iserver/account/{ACCOUNT}/alerts").body == []


def test_another_account_is_not_ours(rig: Rig) -> None:
    assert rig.get("/iserver/account/DU0009999/alerts").status == 500


def test_notices_are_read_and_paged(rig: Rig) -> None:
    for number in range(12):
        create(rig, price(0.01), alertName=f"n{number}")
    newest = rig.get("/fyi/notifications").body
    assert [row["MS"] for row in newest] == [f"Alert n{number}" for number in range(11, 1, -1)]
    older = rig.get("/fyi/notifications/more", id=newest[-1]["ID"]).body
    assert [row["MS"] for row in older] == ["Alert n1", "Alert n0"]
    assert len(rig.get("/fyi/notifications", max=3).body) == 3
    done = rig.put(f"/fyi/notifications/{newest[0]['ID']}")
    assert done.body["P"] == {"R": 1, "ID": newest[0]["ID"]}
    assert rig.get("/fyi/unreadnumber").body == {"BN": 11}
    assert rig.put("/fyi/notifications/999").status == 500


def test_notices_can_be_switched_off(rig: Rig) -> None:
    assert rig.post("/fyi/settings/UA", {"enabled": False}).body["V"] == 1
    create(rig, price(0.01))
    assert rig.get("/fyi/notifications").body == []
    assert rig.get("/fyi/settings").body[0]["A"] == 0
    assert rig.post("/fyi/settings/XX", {"enabled": False}).status == 500


def test_delivery_is_kept_as_set(rig: Rig) -> None:
    rig.put("/fyi/deliveryoptions/email", enabled="true")
    rig.post("/fyi/deliveryoptions/device", {"deviceId": "d1", "deviceName": "phone", "uiName": "app", "enabled": True})
    assert rig.get("/fyi/deliveryoptions").body == {"E": [{"NM": "phone", "I": "d1", "UI": "app", "A": 1}], "M": 1}
    rig.delete("/fyi/deliveryoptions/d1")
    assert rig.get("/fyi/deliveryoptions").body == {"E": [], "M": 1}
    assert rig.delete("/fyi/deliveryoptions/d1").status == 500
    assert rig.get("/fyi/disclaimer/UA").body["FC"] == "UA"
    assert rig.put("/fyi/disclaimer/UA").body["V"] == 1
    assert rig.get("/fyi/settings").body[0]["H"] == 1
