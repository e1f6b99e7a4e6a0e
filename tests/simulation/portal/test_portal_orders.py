"""Orders at the portal door: their shapes, what is refused, changes, cancels, and what the lists say."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.order import OrderType, TimeInForce
from moondev_ibkr.brokers.domain.reports import BrokerStatus
from moondev_ibkr.brokers.simulation.models import AccountSettings, ExchangeSettings, FillModel, LatencyModel
from moondev_ibkr.brokers.simulation.portal import order_sight
from moondev_ibkr.brokers.simulation.portal.order_tickets import PORTAL_CLIENT_ID
from moondev_ibkr.brokers.simulation.portal.settings import OrderIds, Registry

from .orders import ORDERS, by_id, live, place, placed, ticket
from .rig import AAPL_ID, ACCOUNT, MES_ID, Rig

#: Fields of a portal ticket.
KNOWN = [
    "acctId",
    "conid",
    "conidex",
    "secType",
    "cOID",
    "parentId",
    "orderType",
    "price",
    "auxPrice",
    "side",
    "quantity",
    "cashQty",
    "tif",
    "outsideRTH",
    "listingExchange",
    "isSingleGroup",
    "trailingAmt",
    "trailingType",
    "allOrNone",
    "useAdaptive",
    "strategy",
]


def test_a_limit_order_is_taken_and_rests(rig: Rig) -> None:
    answer = place(rig, ticket(cOID="key-1"))
    assert answer.body == [
        {"order_id": answer.body[0]["order_id"], "order_status": "Submitted", "encrypt_message": "1"}
    ]
    view = rig.exchange.open_orders()[0]
    assert (view.client_id, view.ticket.order_ref, view.ticket.limit_price) == (PORTAL_CLIENT_ID, "key-1", 260)
    assert view.order_id < 0


def test_a_market_order_fills_and_the_books_follow(rig: Rig) -> None:
    number = placed(rig, ticket("MKT"))
    row = by_id(live(rig), number)
    assert (row["status"], row["filledQuantity"], row["remainingQuantity"]) == ("Filled", 5.0, 0.0)
    assert rig.exchange.positions(ACCOUNT)[0].quantity == 5


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (ticket("LMT", price="260.10"), {"type": OrderType.LIMIT, "limit_price": Decimal("260.10")}),
        (ticket("MKT", quantity="3"), {"type": OrderType.MARKET, "limit_price": None, "quantity": 3}),
        (ticket("STP", "SELL", price=250), {"type": OrderType.STOP, "stop_price": 250, "limit_price": None}),
        (
            ticket("STOP_LIMIT", "SELL", price=249, auxPrice="250"),
            {"type": OrderType.STOP_LIMIT, "limit_price": 249, "stop_price": 250},
        ),
        (ticket("MIDPRICE", price=262), {"type": OrderType.MIDPRICE, "limit_price": 262}),
        (
            ticket("TRAIL", "SELL", trailingAmt=2, trailingType="amt"),
            {"type": OrderType.TRAIL, "trail_amount": 2, "trail_percent": None},
        ),
        (
            ticket("TRAIL", "SELL", trailingAmt="1.5", trailingType="%"),
            {"trail_amount": None, "trail_percent": Decimal("1.5")},
        ),
        (ticket("MOC"), {"type": OrderType.MARKET_ON_CLOSE}),
        (ticket("LOC", price=260), {"type": OrderType.LIMIT_ON_CLOSE, "limit_price": 260}),
        (ticket(tif="GTC", outsideRTH=True), {"tif": TimeInForce.GTC, "outside_rth": True}),
        (ticket(tif="OPG"), {"tif": TimeInForce.OPG}),
        (ticket(conid=None, conidex=f"{AAPL_ID}@NASDAQ"), {"con_id": AAPL_ID, "exchange": "NASDAQ"}),
        (ticket(allOrNone="true"), {"all_or_none": True}),
    ],
)
def test_every_type_says_its_prices_in_its_own_way(rig: Rig, body: dict[str, Any], wanted: dict[str, Any]) -> None:
    rig.post("/iserver/questions/suppress", {"messageIds": ["o10331", "o403"]})
    placed(rig, body)
    views = [*rig.exchange.open_orders(), *rig.exchange.completed_orders()]
    kept = views[0].ticket
    assert {name: getattr(kept, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (ticket("TRAILLMT", trailingAmt=1), 200, "Unsupported order type"),
        (ticket("PEG MID"), 200, "Unsupported order type"),
        (ticket(tif="PAX"), 200, "Invalid time in force"),
        (ticket(tif="OND"), 200, "Invalid time in force"),
        (ticket("STOP_LIMIT", price=250), 200, "Invalid stop price"),
        (ticket(price=None), 200, "limit_price"),
        (ticket(price="260.001"), 200, "minimum price variation"),
        (ticket(quantity=0), 200, "size cannot be zero"),
        (ticket(quantity="1.5"), 200, "Fractional-sized"),
        (ticket(conid=1), 200, "No security definition"),
        (ticket(cashQty=100), 200, "Cash quantity"),
        (ticket(strategy="Vwap"), 200, "Algo definition"),
        (ticket(parentId="nobody"), 200, "Parent order nobody"),
        (ticket(conid=MES_ID, price=7000), 200, "manualIndicator and extOperator"),
        (ticket(conidex=f"{AAPL_ID}@NASDAQ"), 400, "conid and conidex"),
        (ticket(conid=None), 400, "conid is missing"),
        (ticket(quantity=None), 400, "quantity is missing"),
        (ticket(quantity="many"), 400, "is not a number"),
        (ticket(side="HOLD"), 400, "BUY or SELL"),
        (ticket(tif=None), 400, "tif is missing"),
        (ticket(orderType=None), 400, "orderType is missing"),
        (ticket(acctId="DU0009999"), 400, "DU0009999"),
        (ticket(cOID="x" * 65), 400, "longer than 64"),
        (ticket(cOID="a\0b"), 400, "or not text"),
        (ticket(conid=None, conidex=f"{AAPL_ID}@MARS"), 200, "No security definition"),
        (ticket(listingExchange="MARS"), 200, "No security definition"),
        (ticket(price="1e999999"), 400, "is not a number"),
        (ticket(quantity=float("nan")), 400, "is not a number"),
        (ticket(quantity=True), 400, "is not a number"),
    ],
)
def test_what_the_exchange_does_not_do_is_refused_and_nothing_is_sent(
    rig: Rig, body: dict[str, Any], status: int, words: str
) -> None:
    answer = place(rig, body)
    assert answer.status == status
    assert words in answer.body["error"]
    assert not rig.exchange.open_orders()
    assert not rig.exchange.completed_orders()


def test_o48_a_futures_order_with_its_mandatory_fields_is_taken(rig: Rig) -> None:
    placed(rig, ticket(conid=MES_ID, price=7000, quantity=1, manualIndicator=False, extOperator="bot"))
    assert rig.exchange.open_orders()[0].instrument.symbol == "MES"


@pytest.mark.parametrize("body", [None, {}, {"orders": []}, {"orders": "x"}, {"orders": [1]}, [], "text"])
def test_a_body_that_is_no_order_is_a_bad_request(rig: Rig, body: Any) -> None:
    assert rig.post(ORDERS, body).status == 400


def test_an_unknown_account_is_a_bad_request(rig: Rig) -> None:
    assert rig.post("/iserver/account/DU0000009/orders", {"orders": [ticket()]}).status == 400


def test_an_order_beyond_the_margin_is_refused_with_the_brokers_words(rig: Rig) -> None:
    rig.post("/iserver/questions/suppress", {"messageIds": ["o383", "o451"]})
    answer = place(rig, ticket(quantity=2000))
    assert "YOUR ORDER IS NOT ACCEPTED" in answer.body["error"]
    row = live(rig)[0]
    assert row["status"] == "Inactive"
    assert "MUST EXCEED" in row["order_cancellation_by_system_reason"]


# identity


def test_p_duplicate_coid_is_refused_in_ibs_words_and_places_nothing(rig: Rig) -> None:
    placed(rig, ticket(cOID="key-1"))
    answer = place(rig, ticket(cOID="key-1", quantity=7))
    assert answer.status == 200
    assert answer.body == {"error": "Order couldn't be submitted: Local order ID=key-1 is already registered."}
    assert len(rig.exchange.open_orders()) == 1


def test_the_status_of_a_duplicate_is_a_switch() -> None:
    rig = Rig(duplicate_status=400)
    placed(rig, ticket(cOID="key-1"))
    assert place(rig, ticket(cOID="key-1")).status == 400


def test_a_refused_order_does_not_use_its_coid_up(rig: Rig) -> None:
    rig.exchange.faults.reject_next(201, "Order rejected - reason:scripted")
    assert place(rig, ticket(cOID="key-1")).body == {"error": "Order rejected - reason:scripted"}
    placed(rig, ticket(cOID="key-1"))


@pytest.mark.parametrize(("registry", "taken"), [(Registry.DAY, True), (Registry.SESSION, False)])
def test_how_long_a_coid_is_taken_is_a_switch(registry: Registry, taken: bool) -> None:
    rig = Rig(coid_registry=registry)
    placed(rig, ticket(cOID="key-1"))
    rig.post("/iserver/auth/ssodh/init", {"publish": True, "compete": True})
    rig.warm()
    assert ("error" in place(rig, ticket(cOID="key-1")).body) is taken


def test_a_coid_is_free_again_after_a_day(rig: Rig) -> None:
    placed(rig, ticket(cOID="key-1", tif="GTC"))
    rig.advance(86_400)
    placed(rig, ticket(cOID="key-1", tif="GTC"))


@pytest.mark.parametrize("ids", list(OrderIds))
def test_the_number_of_an_order_is_its_perm_id_or_its_own(ids: OrderIds) -> None:
    rig = Rig(order_ids=ids)
    number = int(placed(rig))
    assert (number == rig.exchange.open_orders()[0].perm_id) is (ids is OrderIds.PERM)
    assert live(rig)[0]["orderId"] == number
    assert rig.delete(f"/iserver/account/{ACCOUNT}/order/{number}").body["order_id"] == number
    assert not rig.exchange.open_orders()


def test_an_order_is_answered_at_once_under_latency() -> None:
    exchange = ExchangeSettings(latency=LatencyModel(*[timedelta(seconds=1)] * 3))
    rig = Rig(gateway={"exchange": exchange})
    assert placed(rig)


# brackets and groups


def test_a_bracket_hangs_on_the_parents_coid_and_its_exits_wait(rig: Rig) -> None:
    rig.post("/iserver/questions/suppress", {"messageIds": ["o10331"]})
    answer = place(
        rig,
        ticket(cOID="entry", price=264),
        ticket("LMT", "SELL", price=270, parentId="entry"),
        ticket("STP", "SELL", price=255, parentId="entry"),
    )
    assert [row["order_status"] for row in answer.body] == ["Submitted", "PreSubmitted", "PreSubmitted"]
    entry, take, stop = rig.exchange.open_orders()
    assert take.parent_perm_id == stop.parent_perm_id == entry.perm_id
    assert [row.get("order_ref") for row in live(rig)] == ["entry", None, None]
    assert "order_ref" not in live(rig)[1]


def test_a_bracket_is_answered_in_the_order_of_its_request(rig: Rig) -> None:
    answer = place(rig, ticket("LMT", "SELL", price=270, parentId="entry"), ticket(cOID="entry", price=264))
    assert [row["order_status"] for row in answer.body] == ["PreSubmitted", "Submitted"]
    by_number = {row["orderId"]: row["side"] for row in live(rig)}
    assert [by_number[int(row["order_id"])] for row in answer.body] == ["SELL", "BUY"]


def test_a_leg_may_follow_its_parent_later(rig: Rig) -> None:
    placed(rig, ticket(cOID="entry", price=264))
    placed(rig, ticket("LMT", "SELL", price=270, parentId="entry"))
    entry, leg = rig.exchange.open_orders()
    assert leg.parent_perm_id == entry.perm_id


def test_a_bracket_whose_entry_is_refused_leaves_nothing(rig: Rig) -> None:
    rig.exchange.faults.reject_next(201, "Order rejected - reason:scripted")
    answer = place(rig, ticket(cOID="entry"), ticket("LMT", "SELL", price=270, parentId="entry"))
    assert answer.body == {"error": "Order rejected - reason:scripted"}
    assert not rig.exchange.open_orders()
    assert not rig.exchange.staged_orders()


def test_a_bracket_whose_last_leg_is_refused_is_not_sent_at_all(rig: Rig) -> None:
    rig.exchange.faults.reject_next(201, "Order rejected - reason:scripted", where=lambda one: bool(one.parent_id))
    answer = place(rig, ticket(cOID="entry"), ticket("LMT", "SELL", price=270, parentId="entry"))
    assert answer.body == {"error": "Order rejected - reason:scripted"}
    assert not rig.exchange.open_orders()
    assert not rig.exchange.staged_orders()
    placed(rig, ticket(cOID="entry"))


def test_orders_of_a_single_group_cancel_each_other(rig: Rig) -> None:
    placed(rig, ticket(isSingleGroup=True), ticket(price=259, isSingleGroup=True))
    first, second = rig.exchange.open_orders()
    assert first.ticket.oca_group == second.ticket.oca_group != ""
    rig.exchange.cancel_perm(first.perm_id)
    placed(rig, ticket(isSingleGroup=True), ticket("MKT", isSingleGroup=True))
    assert [view.perm_id for view in rig.exchange.open_orders()] == [second.perm_id]


def test_a_bracket_stays_one_where_its_rows_say_single_group(rig: Rig) -> None:
    placed(
        rig,
        ticket(cOID="entry", isSingleGroup=True),
        ticket("LMT", "SELL", price=270, parentId="entry", isSingleGroup=True),
    )
    entry, leg = rig.exchange.open_orders()
    assert leg.parent_perm_id == entry.perm_id
    assert not entry.ticket.oca_group


def test_orders_that_have_nothing_to_do_with_each_other_go_one_by_one(rig: Rig) -> None:
    assert place(rig, ticket(), ticket(price=259)).status == 400
    assert not rig.exchange.open_orders()


# the answer that does not come


def test_o02_a_swallowed_order_is_a_503_after_ten_seconds(rig: Rig) -> None:
    rig.exchange.faults.swallow_next()
    answer = place(rig, ticket(cOID="key-1"))
    assert (answer.status, answer.body, answer.delay) == (503, None, 10.0)
    assert not rig.exchange.open_orders()


# changes


def test_a_change_takes_one_bare_ticket_and_keeps_the_number(rig: Rig) -> None:
    number = placed(rig, ticket(cOID="key-1"))
    answer = rig.post(f"/iserver/account/{ACCOUNT}/order/{number}", ticket(price=261, quantity=7))
    assert answer.body == [{"order_id": number, "order_status": "Submitted", "encrypt_message": "1"}]
    view = rig.exchange.open_orders()[0]
    assert (view.ticket.limit_price, view.ticket.quantity, view.ticket.order_ref) == (261, 7, "key-1")


def test_a_change_of_the_wrong_thing_is_refused_and_the_order_stays(rig: Rig) -> None:
    number = placed(rig)
    url = f"/iserver/account/{ACCOUNT}/order/{number}"
    assert "does not match" in rig.post(url, ticket(side="SELL", price=270)).body["error"]
    assert rig.post(url, {"price": 261}).status == 400
    assert rig.exchange.open_orders()[0].ticket.limit_price == 260
    assert rig.post(f"/iserver/account/{ACCOUNT}/order/1", ticket()).body == {"error": "OrderID 1 doesn't exist"}


def test_o22_a_leg_can_be_changed_after_its_parent_is_gone(rig: Rig) -> None:
    answer = place(rig, ticket("MKT", cOID="entry"), ticket("LMT", "SELL", price=270, parentId="entry"))
    leg = answer.body[1]["order_id"]
    assert rig.exchange.positions(ACCOUNT)
    changed = rig.post(f"/iserver/account/{ACCOUNT}/order/{leg}", ticket("LMT", "SELL", price=271))
    assert changed.body[0]["order_id"] == leg
    assert rig.exchange.open_orders()[0].ticket.limit_price == 271


def test_an_order_that_is_done_cannot_be_changed(rig: Rig) -> None:
    filled = placed(rig, ticket("MKT"))
    assert "filled" in rig.post(f"/iserver/account/{ACCOUNT}/order/{filled}", ticket("MKT")).body["error"]
    ended = placed(rig)
    rig.delete(f"/iserver/account/{ACCOUNT}/order/{ended}")
    assert "Cancelled" in rig.post(f"/iserver/account/{ACCOUNT}/order/{ended}", ticket()).body["error"]


# cancels


def test_a_cancel_is_submitted_and_happens(rig: Rig) -> None:
    number = placed(rig)
    answer = rig.delete(f"/iserver/account/{ACCOUNT}/order/{number}")
    assert answer.body == {"msg": "Request was submitted", "order_id": int(number), "conid": -1, "account": None}
    assert by_id(live(rig), number)["status"] == "Cancelled"


def test_a_cancel_of_what_is_done_or_unknown_says_so(rig: Rig) -> None:
    number = placed(rig, ticket("MKT"))
    assert "cannot be cancelled" in rig.delete(f"/iserver/account/{ACCOUNT}/order/{number}").body["error"]
    for unknown in ("1", "abc", "-7"):
        answer = rig.delete(f"/iserver/account/{ACCOUNT}/order/{unknown}")
        assert answer.body == {"error": f"OrderID {unknown} doesn't exist"}


def test_minus_one_cancels_every_order_of_the_account() -> None:
    accounts = (AccountSettings(), AccountSettings("DU0000002"))
    rig = Rig(gateway={"exchange": ExchangeSettings(accounts=accounts)})
    placed(rig, ticket(cOID="entry"), ticket("LMT", "SELL", price=270, parentId="entry"))
    placed(rig)
    rig.post("/iserver/account/DU0000002/orders", {"orders": [ticket()]})
    assert rig.delete(f"/iserver/account/{ACCOUNT}/order/-1").body["order_id"] == -1
    (other,) = rig.exchange.open_orders()
    assert other.account == "DU0000002"
    number = order_sight.number_of(rig.door, other.perm_id)
    assert "doesn't exist" in rig.delete(f"/iserver/account/{ACCOUNT}/order/{number}").body["error"]
    rig.check()


# lists


def test_live_orders_need_a_first_call(rig: Rig) -> None:
    placed(rig)
    assert rig.get("/iserver/account/orders").body == {"orders": [], "snapshot": False}
    assert len(rig.get("/iserver/account/orders").body["orders"]) == 1
    assert rig.get("/iserver/account/orders", force="true").body["orders"] == []
    assert len(rig.get("/iserver/account/orders", force="false").body["orders"]) == 1


def test_a_filter_poisons_what_comes_after_it_until_it_is_forced_off(rig: Rig) -> None:
    number = placed(rig)
    placed(rig, ticket("MKT"))
    assert len(live(rig)) == 2
    filtered = rig.get("/iserver/account/orders", filters="filled").body["orders"]
    assert [row["status"] for row in filtered] == ["Filled"]
    unfiltered = rig.get("/iserver/account/orders").body["orders"]
    assert [row["status"] for row in unfiltered] == ["Filled"]
    assert by_id(live(rig), number)["status"] == "Submitted"


@pytest.mark.parametrize("words", ["submitted", "Submitted,filled", "pre_submitted,submitted", "sort_by_time"])
def test_filters_are_taken_in_either_spelling(rig: Rig, words: str) -> None:
    placed(rig)
    rig.get("/iserver/account/orders")
    assert len(rig.get("/iserver/account/orders", filters=words).body["orders"]) == 1


def test_only_this_sessions_finished_orders_and_all_working_ones_are_listed(rig: Rig) -> None:
    done, working = placed(rig, ticket("MKT")), placed(rig, ticket(tif="GTC"))
    assert {row["orderId"] for row in live(rig)} == {int(done), int(working)}
    rig.advance(1)
    rig.post("/iserver/auth/ssodh/init", {"publish": True, "compete": True})
    rig.warm()
    assert rig.get("/iserver/account/orders").body["orders"] == []
    assert [row["orderId"] for row in rig.get("/iserver/account/orders").body["orders"]] == [int(working)]


def test_a_row_says_what_the_recording_says_of_a_filled_market_order(rig: Rig) -> None:
    number = placed(rig, ticket("MKT", quantity=1))
    row = by_id(live(rig), number)
    wanted = {
        "orderDesc": "Bought 1 AAPL Market, Day",
        "timeInForce": "CLOSE",
        "origOrderType": "MARKET",
        "orderType": "Market",
        "price": "",
        "sizeAndFills": "1",
        "lastExecutionTime": "260415150000",
        "lastExecutionTime_r": 1776265200000,
        "side": "BUY",
        "cashCcy": "USD",
        "listingExchange": "NASDAQ",
    }
    assert {name: row[name] for name in wanted} == wanted
    assert "order_ref" not in row
    assert Decimal(row["avgPrice"]) == rig.exchange.executions()[0].price


def test_a_stop_tells_its_stop_and_a_partial_fill_its_sizes(rig: Rig) -> None:
    rig.post("/iserver/questions/suppress", {"messageIds": ["o10331"]})
    placed(rig, ticket("STOP_LIMIT", "SELL", price="249.50", auxPrice=250, tif="GTC", cOID="key-1"))
    row = live(rig)[0]
    assert (row["price"], row["auxPrice"], row["timeInForce"], row["order_ref"]) == ("249.50", "250.00", "GTC", "key-1")
    assert row["orderDesc"] == "Sell 5 AAPL Stop Limit 249.50, GTC"
    assert "avgPrice" not in row


def test_the_status_of_one_order_has_no_reference(rig: Rig) -> None:
    number = placed(rig, ticket(cOID="key-1"))
    answer = rig.get(f"/iserver/account/order/status/{number}")
    assert (answer.body["order_id"], answer.body["order_status"], answer.body["side"]) == (
        int(number),
        "Submitted",
        "B",
    )
    assert (answer.body["total_size"], answer.body["cum_fill"], answer.body["tif"]) == ("5", "0", "DAY")
    assert "order_ref" not in answer.body


def test_the_status_of_an_order_that_is_unknown_or_not_cached_is_a_503(rig: Rig) -> None:
    assert rig.get("/iserver/account/order/status/17").status == 503
    number = placed(rig, ticket(tif="GTC"))
    rig.advance(1)
    rig.post("/iserver/auth/ssodh/init", {"publish": True, "compete": True})
    rig.warm()
    cold = rig.get(f"/iserver/account/order/status/{number}")
    assert (cold.status, cold.body, cold.delay) == (503, None, 10.0)
    assert live(rig)
    assert rig.get(f"/iserver/account/order/status/{number}").status == 200


def test_no_more_than_a_thousand_orders_are_listed_the_newest(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_sight, "MOST_ORDERS", 2)
    numbers = [int(placed(rig)) for _ in range(3)]
    assert [row["orderId"] for row in live(rig)] == numbers[1:]
    assert order_sight.LiveOrders(rig.session).views("DU0000009") == []


def test_a_partial_fill_tells_its_sizes_and_when_it_traded() -> None:
    rig = Rig(gateway={"exchange": ExchangeSettings(fills=FillModel(participation=Decimal("0.01")))}, size_limit=5000)
    number = placed(rig, ticket(price=266, quantity=300))
    row = by_id(live(rig), number)
    filled = rig.exchange.open_orders()[0].filled
    assert 0 < filled < 300
    assert row["sizeAndFills"] == f"{filled}/300"
    assert (row["filledQuantity"], row["remainingQuantity"]) == (float(filled), float(300 - filled))
    before = row["lastExecutionTime_r"]
    rig.advance(120)
    row = by_id(live(rig), number)
    assert row["status"] == "Submitted"
    assert row["lastExecutionTime_r"] > before


def test_p12_the_status_of_an_order_of_another_account_is_a_503_until_that_is_chosen() -> None:
    accounts = (AccountSettings(), AccountSettings("DU0000002"))
    rig = Rig(gateway={"exchange": ExchangeSettings(accounts=accounts)})
    (row,) = rig.post("/iserver/account/DU0000002/orders", {"orders": [ticket()]}).body
    path = f"/iserver/account/order/status/{row['order_id']}"
    assert rig.get(path).status == 503
    rig.post("/iserver/account", {"acctId": "DU0000002"})
    assert rig.get(path).body["account"] == "DU0000002"


# what-if


def test_a_what_if_tells_every_figure_as_text_and_places_nothing(rig: Rig) -> None:
    answer = rig.post(f"{ORDERS}/whatif", {"orders": [ticket(price=260, quantity=10)]})
    body = answer.body
    assert body["amount"]["amount"] == "2,600.00 USD (10 Shares)"
    assert body["position"] == {"current": "0", "change": "10", "after": "10"}
    assert body["equity"]["current"] == "100,000.00"
    assert body["initial"]["current"] == "0.00"
    assert all(isinstance(value, str) for part in body.values() if isinstance(part, dict) for value in part.values())
    assert body["error"] is None
    assert not rig.exchange.open_orders()


def test_a_what_if_of_the_impossible_is_refused(rig: Rig) -> None:
    assert "size cannot be zero" in rig.post(f"{ORDERS}/whatif", {"orders": [ticket(quantity=0)]}).body["error"]


def test_an_order_that_the_exchange_has_taken_keeps_its_status_words(rig: Rig) -> None:
    placed(rig)
    assert rig.exchange.open_orders()[0].status is BrokerStatus.SUBMITTED


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(),
    st.text(max_size=5),
    st.sampled_from(["LMT", "STP", "TRAIL", "BUY", "SELL", "GTC", AAPL_ID, f"{AAPL_ID}@NASDAQ", 260, "5", "entry"]),
    st.lists(st.integers(), max_size=1),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(sorted(KNOWN)), _VALUES), min_size=1, max_size=3))
def test_whatever_a_ticket_holds_it_is_answered(changes: list[dict[str, Any]]) -> None:
    rig = Rig()
    answer = place(rig, *(ticket() | change for change in changes))
    assert answer.status in (200, 400)
    assert not rig.exchange.staged_orders()
    taken = [row for row in answer.body if "order_id" in row] if isinstance(answer.body, list) else []
    assert len(taken) == len(rig.exchange.open_orders()) + len(rig.exchange.completed_orders())
    live(rig)
    rig.check()
