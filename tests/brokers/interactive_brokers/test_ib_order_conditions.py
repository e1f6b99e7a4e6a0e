"""IB's order conditions: every type, TIF and session has a decided answer, and the known refusals are refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.instrument import Instrument, SecType
from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side, TimeInForce
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.interactive_brokers.ib_order_conditions import (
    CLOSE_CUT_OFFS,
    SEC_TYPES,
    SESSIONS,
    TIFS,
    Refused,
    Window,
    check_conditions,
    window_of,
)

NYSE = MarketCalendar("NYSE")
DAY = NYSE.trading_day(date(2026, 11, 20))
HALF_DAY = NYSE.trading_day(date(2026, 11, 27))
assert DAY is not None
assert HALF_DAY is not None
NOON = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
IBM = Instrument("IBM", primary_exchange="NYSE")
MSFT = Instrument("MSFT", primary_exchange="NASDAQ")
OPTION = Instrument("IBM", SecType.OPTION, expiry=date(2026, 12, 18), strike=Decimal(100), right="C")

PRICES: dict[OrderType, dict[str, int]] = {
    OrderType.MARKET: {},
    OrderType.LIMIT: {"limit_price": 100},
    OrderType.STOP: {"stop_price": 100},
    OrderType.STOP_LIMIT: {"stop_price": 100, "limit_price": 100},
    OrderType.TRAIL: {"trail_percent": 5},
    OrderType.MARKET_ON_CLOSE: {},
    OrderType.LIMIT_ON_CLOSE: {"limit_price": 100},
    OrderType.MIDPRICE: {},
}


def order(type: OrderType, tif: TimeInForce = TimeInForce.DAY, instrument: Instrument = IBM, **fields: Any) -> NewOrder:
    if tif is TimeInForce.GTD:
        fields.setdefault("good_till", NOON + timedelta(days=5))
    prices = {name: Decimal(price) for name, price in PRICES[type].items()}
    return NewOrder(instrument, Side.BUY, fields.pop("quantity", Decimal(10)), type, tif=tif, **prices, **fields)


def verdict(
    wanted: NewOrder, session: Session = Session.REGULAR, now: datetime = NOON, day: Any = DAY, **changes: Any
) -> Refused | None:
    return check_conditions(wanted, changes.get("instrument", wanted.instrument), now=now, session=session, day=day)


def test_the_tables_are_complete():
    assert set(TIFS) == set(SEC_TYPES) == set(PRICES) == set(OrderType)
    assert set(SESSIONS) == set(product(Window, Session))


@pytest.mark.parametrize("kind", OrderType)
def test_every_type_tif_and_session_is_decided(kind):
    for tif, session, outside in product(TimeInForce, Session, (False, True)):
        assert isinstance(window_of(kind, tif, outside), Window)
        answer = verdict(order(kind, tif, outside_rth=outside), session)
        if answer is not None:
            assert answer.why
            assert answer.next
            assert answer.value
            assert answer.limit
        if tif not in TIFS[kind]:
            assert answer is not None


@pytest.mark.parametrize("kind", OrderType)
def test_every_type_with_day_is_taken_in_the_regular_session(kind):
    assert verdict(order(kind)) is None


@pytest.mark.parametrize("kind", [OrderType.MARKET_ON_CLOSE, OrderType.LIMIT_ON_CLOSE])
@pytest.mark.parametrize("tif", [tif for tif in TimeInForce if tif is not TimeInForce.DAY])
def test_O45_on_close_takes_day_only(kind, tif):
    refused = verdict(order(kind, tif))
    assert refused is not None
    assert refused.limit == "DAY"


def test_O45_on_close_is_not_for_options():
    refused = verdict(order(OrderType.MARKET_ON_CLOSE, instrument=OPTION))
    assert refused is not None
    assert "not for OPT" in refused.why
    assert verdict(order(OrderType.LIMIT, instrument=OPTION)) is None


@pytest.mark.parametrize(
    ("instrument", "day", "last"),
    [
        (IBM, DAY, "20:49:59"),  # 15:50 New York
        (MSFT, DAY, "20:54:59"),
        (IBM, HALF_DAY, "17:49:59"),  # 12:50
        (MSFT, HALF_DAY, "17:54:59"),
        (Instrument("NEW"), DAY, "20:49:59"),  # listing not known: the earliest cut-off
    ],
)
def test_O45_the_cut_off_is_relative_to_the_close(instrument, day, last):
    moment = datetime.combine(day.day, time.fromisoformat(last), tzinfo=UTC)
    wanted = order(OrderType.MARKET_ON_CLOSE, instrument=instrument)
    assert verdict(wanted, now=moment, day=day) is None
    late = verdict(wanted, now=moment + timedelta(seconds=1), day=day)
    assert late is not None
    assert "must be in before" in late.why
    assert late.next == "use a limit order now"


def test_cut_offs_name_every_listing_exchange_of_consequence():
    assert {"NYSE", "NASDAQ", "ARCA", "AMEX", "BATS"} <= set(CLOSE_CUT_OFFS)


def test_on_close_on_a_day_without_a_close():
    assert verdict(order(OrderType.MARKET_ON_CLOSE), Session.PRE, day=None) is not None


@pytest.mark.parametrize(
    ("kind", "tif"),
    [
        (OrderType.LIMIT, TimeInForce.IOC),
        (OrderType.LIMIT, TimeInForce.OPG),
        (OrderType.MARKET, TimeInForce.DAY),
        (OrderType.MARKET_ON_CLOSE, TimeInForce.DAY),
        (OrderType.LIMIT_ON_CLOSE, TimeInForce.DAY),
        (OrderType.MIDPRICE, TimeInForce.DAY),
    ],
)
@pytest.mark.parametrize("session", [Session.PRE, Session.REGULAR, Session.POST])
def test_O46_what_does_not_go_with_outside_rth(kind, tif, session):
    refused = verdict(order(kind, tif, outside_rth=True), session)
    assert refused is not None
    assert refused.next in ("leave outside_rth out", "wait for the open", "use TIF DAY")


@pytest.mark.parametrize("kind", [OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAIL])
@pytest.mark.parametrize("tif", [TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD])
@pytest.mark.parametrize("session", [Session.PRE, Session.REGULAR, Session.POST])
def test_what_works_in_extended_hours(kind, tif, session):
    assert verdict(order(kind, tif, outside_rth=True), session) is None


@pytest.mark.parametrize("session", [Session.POST, Session.OVERNIGHT, Session.CLOSED])
def test_O46_a_day_order_after_the_close_would_be_queued_unnoticed(session):
    refused = verdict(order(OrderType.LIMIT), session)
    assert refused is not None
    assert "queue it unnoticed" in refused.why
    assert "GTC" in refused.next
    assert verdict(order(OrderType.LIMIT, TimeInForce.GTC), session) is None


def test_a_day_order_before_the_open_waits_for_it():
    assert verdict(order(OrderType.LIMIT), Session.PRE) is None


def test_on_open_is_for_market_and_limit_orders_before_the_open():
    before = datetime(2026, 11, 20, 14, 27, 59, tzinfo=UTC)
    for kind in (OrderType.MARKET, OrderType.LIMIT):
        assert verdict(order(kind, TimeInForce.OPG), Session.PRE, before) is None
        assert verdict(order(kind, TimeInForce.OPG), Session.REGULAR) is not None
        assert verdict(order(kind, TimeInForce.OPG), Session.CLOSED, day=None) is None
    late = verdict(order(OrderType.MARKET, TimeInForce.OPG), Session.PRE, before + timedelta(seconds=1))
    assert late is not None
    assert late.limit == "14:28 UTC"
    assert verdict(order(OrderType.STOP, TimeInForce.OPG), Session.PRE) is not None


@pytest.mark.parametrize("session", [session for session in Session if session is not Session.REGULAR])
def test_ioc_and_midprice_work_in_regular_hours_only(session):
    assert verdict(order(OrderType.LIMIT, TimeInForce.IOC), session) is not None
    assert verdict(order(OrderType.MIDPRICE), session) is not None


def test_midprice_is_for_us_stocks_on_smart():
    assert verdict(order(OrderType.MIDPRICE, instrument=Instrument("IBM", exchange="NYSE"))) is not None
    assert verdict(order(OrderType.MIDPRICE, instrument=Instrument("SAP", currency="EUR"))) is not None
    assert verdict(order(OrderType.MIDPRICE, instrument=OPTION)) is not None


def test_O47_the_socket_takes_whole_shares():
    refused = verdict(order(OrderType.LIMIT, quantity=Decimal("2.7")))
    assert refused is not None
    assert refused.next == "order 2"


def test_good_till_lies_in_the_future():
    assert verdict(order(OrderType.LIMIT, TimeInForce.GTD, good_till=NOON + timedelta(seconds=1))) is None
    assert verdict(order(OrderType.LIMIT, TimeInForce.GTD, good_till=NOON)) is not None


def test_an_index_is_never_traded():
    for kind in OrderType:
        assert SecType.INDEX not in SEC_TYPES[kind]
