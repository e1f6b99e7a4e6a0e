"""One entry of a contract, account and side in a while: what an agent that replays its rows may not do twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import Bracket, Order, OrderChange
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import BrokerError, RiskRefusal
from moondev_ibkr.brokers.risk import RiskEngine

D = Decimal
MINUTE = timedelta(seconds=60)


def done(world: Any, side: str, quantity: int, filled: int | None = None, **fields: Any) -> Order:
    """An order of ours that ended with `filled` shares (all of them when None), and what it did to the position."""
    row = world.working(side, quantity, **fields)
    world.live.remove(row)
    filled = quantity if filled is None else filled
    state = OrderState.FILLED if filled == quantity else OrderState.CANCELLED
    row = replace(row, state=state, filled=D(filled))
    world.past.insert(0, row)  # newest first
    held = world.owned.get("AAPL", D(0)) + row.intent.side.sign * filled
    world.held.clear()
    world.hold(int(held))
    return row


def rule_of(engine: RiskEngine, order: Any, **how: Any) -> str | None:
    try:
        engine.check(order, **how)
    except BrokerError as error:
        return str(error.data["rule"])
    return None


def test_off_by_default(world):
    done(world, "BUY", 10)
    world.engine().check(world.order("BUY", 20))


def test_a_second_entry_waits_until_the_window_has_passed(world):
    first = done(world, "BUY", 10)
    engine = world.engine(entry_window=MINUTE)
    world.pass_time(45)
    world.set_quote(99.98, 100.02)
    with pytest.raises(RiskRefusal) as caught:
        engine.check(world.order("BUY", 3, limit_price=100))
    error = caught.value
    assert (error.rule, error.value, error.largest) == ("repeated_entry", first.key, None)
    for words in (first.key, "less than 60 s ago", "wait another 15.0 s"):
        assert words in str(error)
    world.pass_time(15)
    world.set_quote(99.98, 100.02)
    assert rule_of(engine, world.order("BUY", 3)) == "repeated_entry"  # the window's own end belongs to it
    world.pass_time(0.1)
    engine.check(world.order("BUY", 3))


def test_an_entry_that_still_works_is_in_the_way_at_any_age(world):
    resting = world.working("BUY", 10, limit_price=95)
    world.pass_time(3_600)
    world.set_quote(99.98, 100.02)
    engine = world.engine(entry_window=MINUTE)
    with pytest.raises(RiskRefusal) as caught:
        engine.check(world.order("BUY", 3))
    assert (caught.value.rule, caught.value.value) == ("repeated_entry", resting.key)
    assert "cancel it first" in str(caught.value)
    engine.check(OrderChange(limit_price=D(96)).apply(resting.intent), replaces=resting)  # a change is no second entry
    engine.check(resting.intent)  # the same key is the same order, answered elsewhere


@pytest.mark.parametrize("state", [OrderState.INTENT, OrderState.SENT, OrderState.PENDING_CANCEL, OrderState.INACTIVE])
def test_an_order_that_may_still_fill_works(world, state):
    world.working("BUY", 10, limit_price=100, state=state)
    assert rule_of(world.engine(entry_window=MINUTE), world.order("BUY", 3)) == "repeated_entry"


def test_what_never_filled_and_ended_is_no_entry(world):
    for state in (OrderState.NOT_SENT, OrderState.REJECTED, OrderState.CANCELLED):
        world.past.append(replace(world.working("BUY", 10), state=state))
    world.live.clear()
    engine = world.engine(entry_window=MINUTE)
    engine.check(world.order("BUY", 3))
    done(world, "BUY", 10, filled=1)
    assert rule_of(engine, world.order("BUY", 3)) == "repeated_entry"


def test_other_contracts_accounts_sides_and_strangers_do_not_count(world):
    world.past.append(world.working("BUY", 10, instrument=Instrument("IBM"), limit_price=100))
    world.past.append(world.working("BUY", 10, account="DU0000002", limit_price=100))
    world.working("BUY", 10, foreign=True, limit_price=95)
    world.hold(10)
    world.past.append(world.working("SELL", 10, limit_price=110))
    world.engine(entry_window=MINUTE).check(world.order("BUY", 3))


def test_a_bracket_s_legs_and_marked_exits_do_not_count(world):
    world.working("BUY", 10, limit_price=95, reduce_only=True)
    world.working("BUY", 10, limit_price=94, parent_key="short-entry")
    engine = world.engine(entry_window=MINUTE)
    bracket = Bracket(world.order("BUY", 10, limit_price=100), stop_price=D(80), target_price=D(130))
    entry, *legs = bracket.legs()
    engine.check(entry)
    for leg in legs:
        engine.check(leg, parent=entry)


def test_an_exit_always_passes(world):
    done(world, "BUY", 10)
    engine = world.engine(entry_window=MINUTE)
    engine.check(world.order("SELL", 4))
    done(world, "SELL", 4)
    engine.check(world.order("SELL", 6))


def test_closing_and_going_the_other_way_is_one_entry(world):
    """As `through_zero` tells: sell what is held, then sell again to go short."""
    world.borrow["AAPL"] = D(1_000)
    engine = world.engine(entry_window=MINUTE, allow_short=True)
    done(world, "BUY", 30)
    world.pass_time(1)
    done(world, "SELL", 30)
    engine.check(world.order("SELL", 20))
    done(world, "SELL", 20)
    assert rule_of(engine, world.order("SELL", 5)) == "repeated_entry"
    done(world, "BUY", 20)
    assert rule_of(engine, world.order("BUY", 5)) == "repeated_entry"  # the 30 of the beginning
    assert rule_of(engine, world.order("SELL", 5)) == "repeated_entry"


def test_a_short_covered_in_parts_was_no_entry(world):
    world.borrow["AAPL"] = D(1_000)
    world.hold(-30)
    engine = world.engine(entry_window=MINUTE, allow_short=True)
    for side, quantity in (("BUY", 10), ("SELL", 5), ("BUY", 25)):
        done(world, side, quantity)
    engine.check(world.order("BUY", 7))
    done(world, "BUY", 7)
    assert rule_of(engine, world.order("BUY", 3)) == "repeated_entry"


def test_an_entry_whose_shares_somebody_sold_by_hand_still_counts(world):
    done(world, "BUY", 10)
    world.held.clear()
    world.hold(0)
    assert rule_of(world.engine(entry_window=MINUTE), world.order("BUY", 3)) == "repeated_entry"


def test_the_host_s_replayed_rows_buy_once(world):
    """A row that is never cleared asks for the same entry every cycle, each time in another size."""
    engine = world.engine(entry_window=timedelta(minutes=15), duplicate_window=timedelta(0))
    sent = 0
    for cycle in range(10):
        order = world.order("BUY", 10 + cycle)
        if rule_of(engine, order) is None:
            done(world, "BUY", 10 + cycle, key=order.key)
            sent += 1
        world.pass_time(60)
        world.set_quote(99.98, 100.02)
    assert sent == 1
