"""Questions: which orders earn them, how a chain is answered, what ends one, and what is not asked again."""

from __future__ import annotations

from typing import Any

import pytest
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.brokers.simulation.portal.order_words import filter_word
from moondev_ibkr.brokers.simulation.portal.questions import QUESTIONS
from moondev_ibkr.brokers.simulation.portal.request import Answer
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings

from .orders import ORDERS, place, placed, ticket
from .rig import ACCOUNT, Rig


def asked(answer: Answer) -> tuple[str, str]:
    """(message id, reply id) of a question."""
    (row,) = answer.body
    assert set(row) == {"id", "message", "isSuppressed", "messageIds", "messageOptions"}
    assert row["isSuppressed"] is False
    return row["messageIds"][0], row["id"]


def reply(rig: Rig, reply_id: str, confirmed: Any = True) -> Answer:
    return rig.post(f"/iserver/reply/{reply_id}", {"confirmed": confirmed})


@pytest.mark.parametrize(
    ("body", "message_id", "words"),
    [
        (ticket(price=280), "o163", "Percentage constraint of 3%"),
        (ticket("LMT", "SELL", price=250), "o163", "Percentage constraint of 3%"),
        (ticket(quantity=501, price=100), "o383", "Size Limit of 500"),
        (ticket(quantity=400, price=260), "o451", "104,000.00 USD exceeds \nthe Total Value Limit of 100,000 USD"),
        (ticket("STP", "SELL", price=250), "o10331", "You are about to submit a stop order"),
        (ticket("STP", "SELL", price=266), "o403", "trigger and fill immediately"),
    ],
)
def test_an_order_earns_its_question_and_waits_for_the_answer(
    rig: Rig, body: dict[str, Any], message_id: str, words: str
) -> None:
    answer = place(rig, body)
    assert asked(answer)[0] == message_id
    assert words in answer.body[0]["message"][0]
    assert not rig.exchange.open_orders()


@pytest.mark.parametrize("setting", ["no_data", "not_subscribed"])
def test_an_order_without_market_data_is_asked_about(setting: str) -> None:
    rig = Rig(**{setting: frozenset({"AAPL"})})
    message_id, reply_id = asked(place(rig, ticket(cOID="key-1")))
    assert message_id == "o354"
    assert "order_id" in reply(rig, reply_id).body[0]


def test_the_limits_are_settings() -> None:
    rig = Rig(size_limit=10, price_percent=50)
    placed(rig, ticket(price=280))
    assert asked(place(rig, ticket(quantity=11)))[0] == "o383"


def test_a_chain_of_questions_is_answered_one_after_the_other() -> None:
    rig = Rig(questions=("o10151", "o10164"))
    ids = []
    answer = place(rig, ticket(quantity=600, price=280, cOID="key-1"))
    while "id" in answer.body[0]:
        message_id, reply_id = asked(answer)
        ids.append(message_id)
        assert not rig.exchange.open_orders()
        answer = reply(rig, reply_id)
    assert ids == ["o10151", "o10164", "o163", "o383", "o451"]
    assert "order_id" in answer.body[0]
    rig.check()


def test_no_ends_the_order(rig: Rig) -> None:
    _, reply_id = asked(place(rig, ticket("STP", "SELL", price=250, cOID="key-1")))
    assert reply(rig, reply_id, False).body == {"error": "Order not confirmed "}
    assert reply(rig, reply_id).status == 400
    assert not rig.exchange.open_orders()


@pytest.mark.parametrize("confirmed", [True, "true", "True", 1])
def test_yes_is_taken_in_every_spelling(rig: Rig, confirmed: Any) -> None:
    _, reply_id = asked(place(rig, ticket("STP", "SELL", price=250)))
    assert "order_id" in reply(rig, reply_id, confirmed).body[0]


def test_a_reply_without_its_word_changes_nothing(rig: Rig) -> None:
    _, reply_id = asked(place(rig, ticket("STP", "SELL", price=250)))
    assert rig.post(f"/iserver/reply/{reply_id}", {}).status == 400
    assert "order_id" in reply(rig, reply_id).body[0]


def test_any_other_order_request_ends_a_question(rig: Rig) -> None:
    number = placed(rig)
    disturbances = {
        "another order": lambda: placed(rig),
        "an order that cannot be read": lambda: place(rig, {}),
        "a what-if": lambda: rig.post(f"{ORDERS}/whatif", {"orders": [ticket()]}),
        "a change": lambda: rig.post(f"/iserver/account/{ACCOUNT}/order/{number}", ticket(price=259)),
        "a cancel": lambda: rig.delete(f"/iserver/account/{ACCOUNT}/order/{number}"),
    }
    for name, disturb in disturbances.items():
        _, reply_id = asked(place(rig, ticket("STP", "SELL", price=250)))
        disturb()
        answer = reply(rig, reply_id)
        assert (answer.status, answer.body) == (400, {"error": f"reply id not found: '{reply_id}'"}), name
    assert not [view for view in rig.exchange.open_orders() if view.ticket.stop_price]


def test_a_look_at_the_books_does_not_end_a_question(rig: Rig) -> None:
    _, reply_id = asked(place(rig, ticket("STP", "SELL", price=250)))
    rig.get("/iserver/account/orders")
    assert "order_id" in reply(rig, reply_id).body[0]


def test_a_question_that_waited_too_long_is_a_503(rig: Rig) -> None:
    _, reply_id = asked(place(rig, ticket("STP", "SELL", price=250)))
    rig.wait(61)
    answer = reply(rig, reply_id)
    assert (answer.status, answer.body) == (503, None)
    assert not rig.exchange.open_orders()


def test_a_question_does_not_outlive_its_session(rig: Rig) -> None:
    _, reply_id = asked(place(rig, ticket("STP", "SELL", price=250)))
    rig.post("/iserver/auth/ssodh/init", {"publish": True, "compete": True})
    assert reply(rig, reply_id).status == 400


def test_a_coid_is_not_registered_before_its_chain_ends(rig: Rig) -> None:
    asked(place(rig, ticket("STP", "SELL", price=250, cOID="key-1")))
    _, reply_id = asked(place(rig, ticket("STP", "SELL", price=250, cOID="key-1")))
    assert "order_id" in reply(rig, reply_id).body[0]
    assert "already registered" in place(rig, ticket("STP", "SELL", price=250, cOID="key-1")).body["error"]
    assert len(rig.exchange.open_orders()) == 1


def test_a_change_is_asked_about_too(rig: Rig) -> None:
    number = placed(rig)
    message_id, reply_id = asked(rig.post(f"/iserver/account/{ACCOUNT}/order/{number}", ticket(price=280)))
    assert message_id == "o163"
    assert rig.exchange.open_orders()[0].ticket.limit_price == 260
    assert reply(rig, reply_id).body[0]["order_id"] == number


def test_an_order_that_is_refused_after_its_questions_says_why(rig: Rig) -> None:
    _, first = asked(place(rig, ticket(quantity=2000)))
    _, second = asked(reply(rig, first))
    assert "YOUR ORDER IS NOT ACCEPTED" in reply(rig, second).body["error"]


# suppression


def test_a_suppressed_question_is_not_asked_until_it_is_reset(rig: Rig) -> None:
    stop = ticket("STP", "SELL", price=250)
    assert rig.post("/iserver/questions/suppress", {"messageIds": ["o10331"]}).body == {"status": "submitted"}
    placed(rig, stop)
    assert rig.post("/iserver/questions/suppress/reset").body == {"status": "submitted"}
    assert asked(place(rig, stop))[0] == "o10331"


def test_a_suppression_ends_with_the_brokerage_session(rig: Rig) -> None:
    rig.post("/iserver/questions/suppress", {"messageIds": ["o10331"]})
    rig.post("/iserver/auth/ssodh/init", {"publish": True, "compete": True})
    rig.warm()
    assert asked(place(rig, ticket("STP", "SELL", price=250)))[0] == "o10331"


@pytest.mark.parametrize("ids", [["o1"], ["o163", "x"], ["o163"] * 52, "o163", None, [163]])
def test_what_cannot_be_suppressed_is_refused(rig: Rig, ids: Any) -> None:
    assert rig.post("/iserver/questions/suppress", {"messageIds": ids}).status == 400
    assert asked(place(rig, ticket(price=280)))[0] == "o163"


def test_ibs_own_list_can_be_suppressed_in_one_request(rig: Rig) -> None:
    words = "o163 o354 o382 o383 o403 o451 o2136 o2137 o2165 o10082 o10138 o10151 o10152 o10153 o10164 o10223 o10288"
    ids = [*words.split(), *(f"o{number}" for number in range(10331, 10337)), "p6", "p12"]
    assert set(ids) == set(QUESTIONS)
    assert rig.post("/iserver/questions/suppress", {"messageIds": ids}).body == {"status": "submitted"}


def test_an_unknown_question_in_the_settings_is_a_mistake_of_whoever_wrote_them() -> None:
    with pytest.raises(ConfigurationError, match="o99"):
        PortalSettings(questions=("o163", "o99"))


# prompts


def test_a_prompt_comes_as_an_answer_and_over_the_stream_and_is_answered_by_a_notification() -> None:
    rig = Rig(questions=("p12",))
    stream = rig.stream()
    prompt = place(rig, ticket(cOID="key-1")).body
    assert (prompt["prompt"], prompt["messageId"], prompt["options"]) == (True, "p12", ["Submit", "Cancel"])
    assert isinstance(prompt["orderId"], int)
    assert stream.of("ntf") == [{"topic": "ntf", "args": [prompt]}]
    assert reply(rig, prompt["reqId"]).status == 400
    answer = {"orderId": prompt["orderId"], "reqId": prompt["reqId"], "text": "Submit"}
    assert "order_id" in rig.post("/iserver/notification", answer).body[0]
    assert rig.exchange.open_orders()[0].ticket.order_ref == "key-1"
    rig.check()


def test_a_prompt_can_be_declined_and_takes_no_other_word() -> None:
    rig = Rig(questions=("p6",))
    prompt = place(rig).body
    answer = {"orderId": prompt["orderId"], "reqId": prompt["reqId"]}
    assert rig.post("/iserver/notification", {**answer, "text": "Perhaps"}).status == 400
    assert rig.post("/iserver/notification", {**answer, "text": "Cancel"}).body == {"error": "Order not confirmed "}
    assert rig.post("/iserver/notification", {**answer, "text": "Submit"}).status == 400
    assert not rig.exchange.open_orders()


def test_reply_ids_are_the_same_in_every_run() -> None:
    first, second = (asked(place(Rig(), ticket("STP", "SELL", price=250)))[1] for _ in range(2))
    assert first == second


def test_filters_have_one_spelling_inside() -> None:
    assert filter_word("Pre_Submitted") == filter_word("presubmitted") == "presubmitted"
