"""Whatever a client can send to any route or topic is answered, and nothing of ours fails over it."""

from __future__ import annotations

from typing import Any

import pytest
from moondev_ibkr.brokers.simulation.portal.handlers import ROUTES
from moondev_ibkr.brokers.simulation.portal.routes import Route
from moondev_ibkr.brokers.simulation.portal.topics import TOPICS

from .rig import AAPL_ID, ACCOUNT, Rig

BODIES: tuple[Any, ...] = (
    None,
    [],
    [None],
    17,
    "text",
    {"orders": 5},
    {"orders": [None]},
    {"orders": [{}]},
    {"orders": [{"conid": "x", "side": [], "quantity": {}, "orderType": 7, "tif": None}]},
    {
        "orders": [
            {"conid": AAPL_ID, "side": "BUY", "quantity": 1e400, "orderType": "LMT", "price": "NaN", "tif": "DAY"}
        ]
    },
    {"orders": [{"conid": 10**30, "side": "BUY", "quantity": -1, "orderType": "MKT", "tif": "DAY"}]},
    {"conid": AAPL_ID, "side": "BUY", "quantity": "Infinity", "orderType": "MKT", "tif": "DAY"},
    {"conid": [], "symbol": {}, "acctId": 5, "messageIds": 3, "confirmed": "maybe", "publish": [], "filter": "x"},
    {"alertName": 5, "conditions": 3, "alertId": "x", "orderId": "x", "reqId": [], "text": {}},
    {"conditions": [5], "instrument": [], "type": {}, "location": 7, "isBuy": "x"},
)
VALUES = ("", "x", "-1", "0", "9" * 40, "265598,x,,", "\x00", "1e999", "nan", "²", "true")
NAMES = (
    "conid", "conids", "fields", "symbol", "symbols", "period", "bar", "startTime", "days", "filters", "force", "month",
    "strike", "right", "sectype", "secType", "accountId", "isBuy", "currency", "source", "target", "type", "max",
    "outsideRth", "exchange", "instrument", "page", "name",
)  # fmt: skip

SUBJECTS = ("", "+", "+x", "+-1", f"+{AAPL_ID}", f"+{'9' * 40}", f"+{ACCOUNT}", f"+{ACCOUNT}+{AAPL_ID}+X", "+1;;;c/1")
ARGUMENTS = (
    "",
    "{}",
    '{"fields":5,"keys":{}}',
    '{"fields":[5,{}],"keys":[null]}',
    '{"filters":1,"days":"x"}',
    '{"filters":["x",[]],"realtimeUpdatesOnly":7}',
    '{"period":[],"bar":7,"source":{}}',
)


def path_of(route: Route, part: str) -> str:
    account = ACCOUNT if part == "good" else part
    path = route.path
    for name in route.pattern.groupindex:
        path = path.replace("{" + name + "}", account if name == "account" else part.replace("good", str(AAPL_ID)))
    return path


def ids(route: Route) -> str:
    return f"{route.methods[0]} {route.path}"


@pytest.mark.parametrize("route", ROUTES, ids=ids)
def test_no_request_makes_a_route_fail(route: Route) -> None:
    rig = Rig()
    tried = 0
    for method in route.methods:
        for part in ("good", "x", "-1", "9" * 40):
            for body in BODIES:
                assert rig.ask(method, path_of(route, part), body).status < 600
                tried += 1
                revive(rig)
        for value in VALUES:
            assert rig.ask(method, path_of(route, "good"), None, **dict.fromkeys(NAMES, value)).status < 600
            revive(rig)
    assert tried
    rig.check()


def revive(rig: Rig) -> None:
    if not rig.session.authenticated:
        rig.session.log_in(brokerage=True)
    rig.warm()


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_no_message_makes_a_topic_fail(topic: Any) -> None:
    rig = Rig()
    stream = rig.stream()
    for word in (topic.name, topic.end, *topic.also):
        for subject in SUBJECTS:
            for arguments in ARGUMENTS:
                stream.say(f"{word}{subject}+{arguments}")
                stream.say(f"{word}{subject}{arguments}")
    rig.advance(120.0)
    rig.wait(30.0)
    assert stream.closed is None
    rig.check()
