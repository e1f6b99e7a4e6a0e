"""What the rules leave out to be quick changes no answer: each short way beside the long one, on random accounts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.risk import RULES, Occasion, OrderContext, RiskEngine, RiskPolicy, loss_day
from moondev_ibkr.brokers.risk_context import pending
from moondev_ibkr.brokers.risk_order_rules import ownership
from moondev_ibkr.brokers.risk_view import day_began

D = Decimal
EASTERN = ZoneInfo("America/New_York")
shares = st.integers(-40, 40)
others = st.lists(
    st.tuples(
        st.sampled_from(["BUY", "SELL"]), st.integers(1, 30), st.booleans(), st.sampled_from([None, "a", "b"]), shares
    ),
    max_size=4,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    side=st.sampled_from(["BUY", "SELL"]),
    quantity=st.integers(1, 60),
    held=shares,
    owned=shares,
    rows=others,
    emergency=st.booleans(),
    group=st.sampled_from([None, "a"]),
)
def test_what_an_order_may_close_is_the_long_sum(world, side, quantity, held, owned, rows, emergency, group):
    world = type(world)()
    world.hold(held, owned=owned)
    for number, (other, size, foreign, oca_group, _) in enumerate(rows):
        world.working(other, size, key=f"w{number}", foreign=foreign, oca_group=oca_group, limit_price=D(100))
    order = world.order(side, quantity, oca_group=group)
    context = OrderContext(order, world, RiskPolicy(), emergency=emergency)

    def competing(foreign: bool) -> Decimal:
        rivals = [
            row
            for row in world.live
            if (foreign or not row.foreign) and (group is None or row.intent.oca_group != group)
        ]
        return pending(rivals, order.side, {row.key: row for row in world.live})

    away = -order.side.sign
    broker = held * away - competing(True)
    own = broker if emergency else owned * away - competing(False)
    closable = max(min(own, broker), D(0))
    foreign = held * away - max(owned * away, 0)

    assert context.closable == closable
    assert context.occasion is (Occasion.EXIT if quantity <= closable else Occasion.ENTRY)
    assert (ownership(context) is None) == (quantity <= closable or foreign <= 0)


@given(st.integers(0, 40 * 365 * 86_400), st.integers(-26 * 3600, 26 * 3600))
def test_the_loss_day_is_new_yorks_date_however_it_was_asked_before(since_1990, seconds):
    first = datetime(1990, 1, 1, tzinfo=UTC) + timedelta(seconds=since_1990)
    for each in (first, first + timedelta(seconds=seconds), first.astimezone(EASTERN)):
        day = loss_day(each)
        assert day == each.astimezone(EASTERN).date()
        assert day_began(day) <= each < day_began(day + timedelta(days=1))


def test_every_rule_is_asked_where_its_row_says(world):
    engine = RiskEngine(RiskPolicy(), world)
    for (occasion, spared), rules in engine._asked.items():
        long_way = [rule for rule in RULES if occasion in rule.applies_to and not (spared and not rule.emergency)]
        assert rules == long_way
    assert len(engine._asked) == 2 * len(Occasion)
