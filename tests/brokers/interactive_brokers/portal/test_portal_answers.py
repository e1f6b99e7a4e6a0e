"""What answers of the portal mean: the error catalogue, the four shapes (P03), and IB's own recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side, TimeInForce
from moondev_ibkr.brokers.domain.reports import BrokerStatus
from moondev_ibkr.brokers.errors import (
    LinkLost,
    NoData,
    NotConnected,
    PacingViolation,
    ProtocolViolation,
    RequestFailed,
)
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.answers import (
    Trouble,
    expect_list,
    expect_object,
    failure,
    judge,
)
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.handshake import is_usable
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.limits import Lanes
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.order_rows import (
    bracket_tickets,
    to_broker_order,
    to_fill,
    to_ticket,
    to_what_if,
)
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.reply_chain import (
    Outcome,
    Question,
    ReplyChain,
    read_shape,
)
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import Ambiguous, HttpCall, HttpReply, NotSent

from .rig import AAPL, ACCOUNT, D, ScriptedWire, limit, virtually, wire_order

CALL = HttpCall("GET", "/somewhere", what="something")
POST = HttpCall("POST", "/orders", what="an order")
RECORDINGS = Path("/work/shared/recordings/portal")


def error(text: str, status: int = 200) -> HttpReply:
    return HttpReply(status, json.dumps({"error": text}))


@pytest.mark.parametrize(
    ("reply", "trouble", "done"),
    [
        (HttpReply(401, ""), Trouble.NO_LOGIN, False),
        (HttpReply(401, "<html>Access Denied</html>"), Trouble.NO_LOGIN, False),
        (HttpReply(400, '{"error":"Bad Request: no bridge","statusCode":400}'), Trouble.NO_BRIDGE, False),
        (error("Init session first", 400), Trouble.NO_BRIDGE, False),
        (error("no session"), Trouble.NO_BRIDGE, False),
        (error("Please query /accounts first", 500), Trouble.ASK_ACCOUNTS, False),
        (error("reply id not found: 'x'", 400), Trouble.REPLY_LOST, None),
        (error("reply id not found: 'x'", 503), Trouble.REPLY_LOST, None),
        (error("reply id not found: 'x'"), Trouble.REPLY_LOST, None),
        (
            error("Order couldn't be submitted: Local order ID=k is already registered."),
            Trouble.DUPLICATE,
            True,
        ),
        (error("Local order ID=k is already registered.", 400), Trouble.DUPLICATE, True),
        (HttpReply(410, "gone"), Trouble.NO_BRIDGE, None),
        (error("limit", 429), Trouble.PACING, False),
        (error("unknown", 500), Trouble.UNAVAILABLE, None),
        (HttpReply(503, ""), Trouble.UNAVAILABLE, None),
        (error("Trading TWS session is connected from a different IP address", 500), Trouble.COMPETING, False),
        (error("OrderID 1 doesn't exist"), Trouble.NO_SUCH_ORDER, False),
        (error("YOUR ORDER IS NOT ACCEPTED"), Trouble.REFUSED, False),
        (error("Bad Request: side is BUY or SELL", 400), Trouble.REFUSED, False),
    ],
)
def test_every_refusal_of_the_catalogue_is_known(reply: HttpReply, trouble: Trouble, done: bool | None) -> None:
    row = judge(reply)
    assert row is not None
    assert (row.trouble, row.done) == (trouble, done)


def test_an_answer_without_an_error_is_none() -> None:
    assert judge(HttpReply(200, "[]")) is None
    assert judge(HttpReply(200, '{"orders":[],"error":null}')) is None


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (HttpReply(401), NotConnected),
        (error("no bridge", 400), NotConnected),
        (error("x", 429), PacingViolation),
        (error("No data.", 500), NoData),
        (HttpReply(503), LinkLost),
        (error("nonsense", 400), RequestFailed),
    ],
)
def test_questions_fail_with_their_own_kind_of_error(reply: HttpReply, kind: type[Exception]) -> None:
    row = judge(reply)
    assert row is not None
    assert type(failure(CALL, reply, row)) is kind


def test_something_else_is_no_empty_list() -> None:
    for body in (None, {}, "x", 3):
        with pytest.raises(ProtocolViolation):
            expect_list(CALL, body)
    with pytest.raises(ProtocolViolation):
        expect_object(CALL, [])


# The four shapes

QUESTION = [{"id": "q1", "message": ["Sure?"], "isSuppressed": False, "messageIds": ["o1"], "messageOptions": ["Yes"]}]
PROMPT = {
    "orderId": 7,
    "reqId": "r1",
    "text": "Really?",
    "options": ["Submit", "Cancel"],
    "messageId": "p1",
    "prompt": True,
}
ACCEPTED = [{"order_id": "1370093239", "order_status": "PreSubmitted", "encrypt_message": "1"}]


def test_p03_the_four_shapes_are_told_apart() -> None:
    assert read_shape(ACCEPTED) == tuple(ACCEPTED)
    question, prompt = read_shape(QUESTION), read_shape(PROMPT)
    assert isinstance(question, Question)
    assert (question.id, question.ids, question.is_prompt) == ("q1", ("o1",), False)
    assert isinstance(prompt, Question)
    assert (prompt.id, prompt.ids, prompt.is_prompt, prompt.order_id) == ("r1", ("p1",), True, 7)
    assert prompt.reply(True, 1.0).body == {"orderId": 7, "reqId": "r1", "text": "Submit"}
    assert prompt.reply(False, 1.0).body == {"orderId": 7, "reqId": "r1", "text": "Cancel"}
    for other in (None, [], {}, [1], "text", {"success": True}):
        assert read_shape(other) is None


async def verdict_of(wire: ScriptedWire, *allowed: str) -> Any:
    return await ReplyChain(Lanes(wire, ()), frozenset(allowed), 5.0).run(POST)


@pytest.mark.parametrize(
    ("replies", "allowed", "outcome"),
    [
        ([ACCEPTED], (), Outcome.ACCEPTED),
        ([{"error": "no money"}], (), Outcome.REFUSED),
        ([HttpReply(503)], (), Outcome.UNKNOWN),
        ([Ambiguous("timeout")], (), Outcome.UNKNOWN),
        ([NotSent("refused")], (), Outcome.NOT_SENT),
        ([error("no bridge", 400)], (), Outcome.NOT_SENT),
        ([HttpReply(401)], (), Outcome.NOT_SENT),
        ([error("x is already registered")], (), Outcome.EXISTS),
        ([HttpReply(200, "<html>")], (), Outcome.UNKNOWN),
        ([QUESTION], (), Outcome.REFUSED),
        ([[{**QUESTION[0], "messageIds": []}]], ("o1",), Outcome.REFUSED),
        ([[{**QUESTION[0], "messageIds": ["o1", "o163"]}]], ("o1",), Outcome.REFUSED),
    ],
)
def test_a_first_answer_is_what_it_is(replies: list[Any], allowed: tuple[str, ...], outcome: Outcome) -> None:
    async def story() -> None:
        wire = ScriptedWire()
        wire.on("POST /orders", *replies)
        wire.on("POST /iserver/reply/q1", {"error": "Order not confirmed "})
        assert (await verdict_of(wire, *allowed)).outcome is outcome
        assert len(wire.sent("/orders")) == 1

    virtually(story())


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (ACCEPTED, Outcome.ACCEPTED),
        ({"error": "no money"}, Outcome.REFUSED),
        (error("reply id not found: 'q1'", 400), Outcome.UNKNOWN),
        (HttpReply(503), Outcome.UNKNOWN),
        (error("Bad Request: no bridge", 400), Outcome.UNKNOWN),
        (Ambiguous("reset"), Outcome.UNKNOWN),
        (NotSent("refused"), Outcome.NOT_SENT),
    ],
)
def test_p02_a_reply_with_yes_may_have_placed_the_order(reply: Any, outcome: Outcome) -> None:
    async def story() -> None:
        wire = ScriptedWire()
        wire.on("POST /orders", QUESTION)
        wire.on("POST /iserver/reply/q1", reply)
        assert (await verdict_of(wire, "o1")).outcome is outcome
        assert wire.sent("/iserver/reply/q1") == [{"confirmed": True}]

    virtually(story())


@pytest.mark.parametrize("reply", [{"error": "Order not confirmed "}, HttpReply(503), Ambiguous("reset")])
def test_q19_a_no_is_a_no_whatever_becomes_of_it(reply: Any) -> None:
    async def story() -> None:
        wire = ScriptedWire()
        wire.on("POST /orders", QUESTION)
        wire.on("POST /iserver/reply/q1", reply)
        verdict = await verdict_of(wire)
        assert (verdict.outcome, verdict.asked) == (Outcome.REFUSED, ("o1",))
        assert "Sure?" in verdict.why
        assert wire.sent("/iserver/reply/q1") == [{"confirmed": False}]

    virtually(story())


def test_a_broker_that_asks_for_ever_is_not_answered_for_ever() -> None:
    async def story() -> None:
        wire = ScriptedWire()
        wire.on("POST /orders", QUESTION)
        wire.on("POST /iserver/reply/q1", QUESTION)
        assert (await verdict_of(wire, "o1")).outcome is Outcome.UNKNOWN
        assert len(wire.calls) < 20

    virtually(story())


# Tickets


def test_tickets_put_each_price_where_its_type_has_it() -> None:
    stop = limit("s").with_key("s")
    ticket = to_ticket(stop, ACCOUNT)
    assert ticket == {
        "acctId": ACCOUNT, "conid": 265598, "orderType": "LMT", "side": "BUY", "quantity": 10, "tif": "DAY",
        "outsideRTH": False, "price": 250, "cOID": "s",
    }  # fmt: skip
    root, child = bracket_tickets([wire_order(1, limit("r")), wire_order(2, limit("r-1", side=Side.SELL), parent_id=1)])
    assert (root["cOID"], "parentId" in root) == ("r", False)
    assert (child["parentId"], "cOID" in child) == ("r", False)


def test_a_stop_limit_has_its_stop_in_aux_price() -> None:
    both = NewOrder(AAPL, Side.SELL, D(1), OrderType.STOP_LIMIT, stop_price=D("99.5"), limit_price=D(99), key="k")
    ticket = to_ticket(both, ACCOUNT)
    assert (ticket["orderType"], ticket["price"], ticket["auxPrice"]) == ("STOP_LIMIT", 99, 99.5)
    alone = NewOrder(AAPL, Side.SELL, D(1), OrderType.STOP, stop_price=D("99.5"), key="k")
    assert (to_ticket(alone, ACCOUNT)["price"], "auxPrice" in to_ticket(alone, ACCOUNT)) == (99.5, False)


def test_an_estimate_that_tells_nothing_is_none_and_not_zero() -> None:
    told = to_what_if({"initial": {"change": "N/A", "after": "1,000.50"}, "amount": {"commission": "1.00 USD"}}, "USD")
    assert (told.initial_margin_change, told.initial_margin_after, told.commission) == (None, D("1000.5"), D(1))
    assert told.excess_liquidity_after is None


# Recordings


def recorded(name: str) -> Any:
    path = RECORDINGS / f"{name}.json"
    if not path.exists():
        pytest.skip("the recordings are not on this machine")
    return json.loads(path.read_text())["Response"]["Body"]


def test_the_recorded_status_passes_the_gate() -> None:
    assert is_usable(recorded("Session_GET-auth-status"))
    assert is_usable(recorded("Session_POST-tickle")["iserver"]["authStatus"])


def test_the_recorded_answers_to_orders_are_read() -> None:
    for name in ("place-order-submitted", "reply-submitted", "modify-order-submitted"):
        shape = read_shape(recorded(f"Orders_POST-{name}"))
        assert isinstance(shape, tuple)
    question = read_shape(recorded("Orders_POST-place-order-confirmation"))
    assert isinstance(question, Question)
    assert question.ids == ("o354",)


def test_the_recorded_live_order_is_read() -> None:
    (row,) = recorded("Orders_GET-live-orders")["orders"]
    told = to_broker_order(row, Instrument("SPY", con_id=756733))
    assert (told.perm_id, told.side, told.quantity, told.type, told.tif) == (
        -473740665, Side.BUY, D(1), OrderType.MARKET, TimeInForce.DAY,
    )  # fmt: skip
    assert (told.status, told.filled, told.key, told.limit_price) == (BrokerStatus.FILLED, D(1), None, None)


def test_an_execution_row_is_read_with_what_it_has() -> None:
    row = {
        "execution_id": "0000e0d5.6576fd38.01.01", "side": "S", "size": 5.0, "price": "192.26", "account": ACCOUNT,
        "trade_time": "20231211-18:00:49", "trade_time_r": 1702317649000, "conid": 265598, "commission": "1.01",
        "order_ref": "k1", "exchange": "IEX",
    }  # fmt: skip
    fill = to_fill(row, AAPL)
    assert (fill.quantity, fill.price, fill.side, fill.commission, fill.order_key) == (
        D(5), D("192.26"), Side.SELL, D("1.01"), "k1",
    )  # fmt: skip
    assert fill.perm_id is None
    del row["commission"], row["trade_time_r"]
    bare = to_fill(row, AAPL)
    assert (bare.commission, bare.time) == (None, fill.time)
