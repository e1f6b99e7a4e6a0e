"""Whatever passes the gate stays within the account and within every cap: for any account, any limits, either side.

The bounds are reckoned here from the numbers of the story, not by the rules' own sums.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.market_data import Quote
from moondev_ibkr.brokers.domain.order import OrderType
from moondev_ibkr.brokers.domain.sessions import Session
from moondev_ibkr.brokers.errors import BrokerError
from moondev_ibkr.brokers.risk import DayStart

D = Decimal
MANY = settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
#: USD in every size, often too much to matter, so that each cap is now and then the only one that bites.
money = st.one_of(st.just(10**9), st.just(10**9), st.integers(0, 200_000)).map(D)
shares = st.one_of(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5_000), st.integers(1, 10**9))


@dataclass(frozen=True)
class Story:
    """One account, one market, one wish."""

    side: str
    quantity: int
    #: How far the limit lies from the middle, in cents; None is a market order.
    limit: int | None
    middle: int
    net: Decimal
    rate: Decimal
    held: int
    other: int
    works: int
    at_night: bool
    caps: tuple[Decimal, Decimal, Decimal, Decimal]
    share: Decimal

    @property
    def equity(self) -> Decimal:
        return self.net * self.rate


stories = st.builds(
    Story,
    side=st.sampled_from(["BUY", "SELL"]),
    quantity=shares,
    limit=st.one_of(st.none(), st.integers(-30, 30), st.integers(-30, 30)),
    middle=st.integers(500, 40_000),
    net=st.one_of(st.integers(-5_000, 3_000), st.integers(0, 300_000), st.just(10**6)).map(D),
    rate=st.sampled_from([D(1), D("0.8"), D("1.25")]),
    held=st.one_of(st.just(0), st.integers(-300, 300)),
    other=st.one_of(st.just(0), st.integers(-200, 200)),
    works=st.one_of(st.just(0), st.integers(0, 200)),
    at_night=st.booleans(),
    caps=st.tuples(money, money, money, money),
    share=st.sampled_from([D("0.05"), D("0.5"), D(100), D(100)]),
)


def set_up(world: Any, story: Story) -> tuple[Any, Any, Decimal]:
    """The engine, the order, and the highest price that it can plausibly have."""
    world = type(world)()
    currency = "USD" if story.rate == 1 else "EUR"
    world.rates["EUR"] = story.rate
    world.summarise(net_liquidation=story.net, currency=currency)
    world.start = DayStart(world.start.day, story.net, currency=currency)
    middle = D(story.middle) / 100
    bid, ask = middle - D("0.01"), middle + D("0.01")
    if story.at_night:
        world.session_now = Session.CLOSED
        last = Quote(world.quotes["AAPL"].instrument, world.time - timedelta(hours=10), last=float(middle))
        world.quotes["AAPL"] = last
        bid = ask = middle
    else:
        world.set_quote(float(bid), float(ask))
    world.borrow["AAPL"] = D(10**12)
    world.hold(story.held)
    world.hold(story.other, symbol="IBM", price=50)
    limit = None if story.limit is None else middle + D(story.limit) / 100
    if story.works:
        world.working(story.side, story.works, limit_price=middle)
    fields = {} if limit is None else {"type": OrderType.LIMIT, "limit_price": limit}
    order = world.order(story.side, story.quantity, **fields)
    engine = world.engine(
        max_order_value=story.caps[0],
        max_position_value=story.caps[1],
        max_exposure=story.caps[2],
        max_order_quantity=story.caps[3],
        max_concentration=story.share,
        allow_short=True,
        queue_outside_session=True,
        duplicate_window=timedelta(0),
        collar_bps=D(10_000),
    )
    price = (limit or ask) if story.side == "BUY" else max(limit or bid, bid)
    return engine, order, price


def passes(engine: Any, order: Any) -> bool:
    try:
        engine.check(order)
    except BrokerError:
        return False
    return True


@MANY
@given(story=stories)
def test_what_passes_is_within_the_account_and_every_cap(world, story):
    engine, order, price = set_up(world, story)
    opens = engine.occasion(order).opens
    if not passes(engine, order):
        event("refused")
        return
    event("entry passed" if opens else "exit passed")
    sign = order.side.sign
    after = (story.held * sign) + story.works + story.quantity
    if not opens:
        assert after <= 0
        return
    value = story.quantity * price
    order_cap, position_cap, exposure_cap, quantity_cap = story.caps
    assert value <= story.equity
    assert value <= order_cap
    assert story.quantity <= quantity_cap
    position = after * price
    assert position <= position_cap
    assert position <= story.equity * story.share
    assert position + abs(story.other) * 50 <= exposure_cap


@MANY
@given(story=stories)
def test_the_largest_of_a_refusal_passes(world, story):
    engine, order, _price = set_up(world, story)
    try:
        engine.check(order)
    except BrokerError as error:
        largest, rule = error.data["largest"], error.data["rule"]
    else:
        event("passed")
        return
    if not largest:
        event("nothing fits" if largest == 0 else "not about size")
        return
    event(f"offered after {rule}")
    assert largest < story.quantity
    engine.check(replace(order, quantity=largest))


@MANY
@given(story=stories)
def test_no_order_of_any_size_passes_beyond_the_offer(world, story):
    """Text from outside cannot make an order larger by asking for more."""
    engine, order, _price = set_up(world, story)
    try:
        engine.check(order)
    except BrokerError as error:
        largest = error.data["largest"]
        if largest is None:
            return
        beyond = range(int(largest) + 1, min(int(largest) + 6, story.quantity + 1))
        assert not any(passes(engine, replace(order, quantity=D(each))) for each in beyond)
