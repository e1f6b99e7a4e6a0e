"""Whatever is ordered on whatever prices: cash, shares and profit add up, and the same inputs tell the same story."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.order import OrderType, TimeInForce
from moondev_ibkr.brokers.simulation.events import CommissionCharged, Executed, PositionChanged, StatusChanged
from moondev_ibkr.brokers.simulation.models import AccountKind, ChildSizing, FillModel, LatencyModel

from .exchange_fakes import AAPL, DETAILS, MES, MSFT, START, D, Pit, step

TICK = {AAPL: D("0.01"), MSFT: D("0.01"), MES: D("0.25")}
BASE = {AAPL: 10_000, MSFT: 40_000, MES: 28_000}
#: Long enough to cross two closes, two openings and a midnight at these many steps.
SPAN = timedelta(hours=30)
STEPS = 60


def walk(seed: int) -> list:
    """A random path per instrument on its tick grid, with gaps, thin quotes, quiet quotes and halts."""
    random, units, steps = Random(seed), dict(BASE), []
    for number in range(STEPS):
        for con_id, tick in TICK.items():
            units[con_id] = max(100, units[con_id] + random.choice([-400, -30, -5, -1, 0, 1, 5, 30, 400]))
            bid = units[con_id] * tick
            ask = bid + tick * random.choice([1, 1, 2, 10])
            steps.append(
                step(
                    START + SPAN * number / STEPS,
                    bid,
                    ask,
                    random.choice([None, bid, ask]),
                    con_id=con_id,
                    bid_size=random.choice([0, 1, 50, 1000]),
                    ask_size=random.choice([0, 1, 50, 1000]),
                    last_size=random.choice([None, 7, 300]),
                    halted=random.random() < 0.03,
                )
            )
    return steps


@dataclass(frozen=True)
class Act:
    """One thing a client does at a step; `level` is a price offset in ticks."""

    step: int
    con_id: int
    side: str
    quantity: int
    type: OrderType
    tif: TimeInForce
    level: int
    outside: bool
    group: str
    oca_type: int
    family: str
    then: str


ACTS = st.builds(
    Act,
    step=st.integers(0, STEPS - 1),
    con_id=st.sampled_from([AAPL, MSFT, MES]),
    side=st.sampled_from(["BUY", "SELL"]),
    quantity=st.sampled_from([1, 3, 70, 400]),
    type=st.sampled_from(list(OrderType)),
    tif=st.sampled_from([TimeInForce.DAY, TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.OPG]),
    level=st.integers(-40, 40),
    outside=st.booleans(),
    group=st.sampled_from(["", "", "", "one", "two"]),
    oca_type=st.integers(1, 3),
    family=st.sampled_from(["alone", "alone", "bracket"]),
    then=st.sampled_from(["leave", "leave", "leave", "cancel", "change", "cancel_all", "liquidate"]),
)
WORLDS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "fills": st.builds(
            FillModel,
            participation=st.sampled_from([D(1), D("0.3")]),
            queue_ahead=st.sampled_from([D(0), D(1)]),
            slippage_ticks=st.sampled_from([0, 5]),
            unlimited=st.booleans(),
            midprice_chance=st.sampled_from([1.0, 0.5]),
        ),
        "child_sizing": st.sampled_from(ChildSizing),
        "latency": st.sampled_from(
            [LatencyModel(), LatencyModel(timedelta(minutes=5), timedelta(minutes=20), timedelta(minutes=40), 0.5)]
        ),
    }
)


def price(act: Act, pit: Pit) -> Decimal:
    tick = TICK[act.con_id]
    return max(tick, (pit.exchange.market(act.con_id).bid or tick) + act.level * tick)


def perform(pit: Pit, act: Act) -> None:
    at = price(act, pit)
    fields = {
        "con_id": act.con_id,
        "tif": act.tif,
        "outside_rth": act.outside,
        "oca_group": act.group,
        "oca_type": act.oca_type,
    }
    if act.type in (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.LIMIT_ON_CLOSE):
        fields["limit_price"] = at
    if act.type in (OrderType.STOP, OrderType.STOP_LIMIT):
        fields["stop_price"] = at
    if act.type is OrderType.TRAIL:
        fields["trail_amount"] = TICK[act.con_id] * (1 + abs(act.level))
    number = pit.order(act.side, act.quantity, act.type, transmit=act.family == "alone", **fields)
    if act.family == "bracket":
        exit = {"con_id": act.con_id, "tif": TimeInForce.GTC, "parent_id": number}
        side, away = ("SELL", -1) if act.side == "BUY" else ("BUY", 1)
        stop = max(TICK[act.con_id], at + away * 20 * TICK[act.con_id])
        pit.order(side, act.quantity, OrderType.STOP, stop_price=stop, transmit=False, **exit)
        pit.order(side, act.quantity, OrderType.LIMIT, limit_price=at - away * 20 * TICK[act.con_id], **exit)
    if act.then == "cancel":
        pit.exchange.cancel(1, number)
    elif act.then == "cancel_all":
        pit.exchange.cancel_all(1)
    elif act.then == "liquidate":
        pit.exchange.liquidate("DU0000001", act.con_id)
    elif act.then == "change":
        pit.order(act.side, act.quantity + 1, act.type, order_id=number, **fields)


def play(acts: list[Act], world: dict) -> Pit:
    pit = Pit(*walk(world["seed"]), cash=1_000_000, **world)
    for act in sorted(acts, key=lambda row: row.step):
        moment = START + SPAN * act.step / STEPS
        pit.run(max(moment, pit.exchange.now))
        perform(pit, act)
    pit.run(START + SPAN)
    return pit


@settings(max_examples=120, deadline=None)
@given(st.lists(ACTS, max_size=25), WORLDS)
def test_cash_shares_and_profit_add_up(acts, world):
    pit = play(acts, world)
    executions = [row.execution for row in pit.events if isinstance(row, Executed)]
    shares: dict[int, Decimal] = defaultdict(Decimal)
    profit = Decimal(0)
    for row in executions:
        signed = row.quantity * row.side.sign
        shares[row.instrument.con_id] += signed
        profit -= signed * row.price * row.instrument.multiplier
    assert {p.instrument.con_id: p.quantity for p in pit.exchange.positions()} == {c: q for c, q in shares.items() if q}
    for position in pit.exchange.positions():
        profit += position.quantity * position.market_price * position.instrument.multiplier
    commissions = sum((row.commission for row in executions), Decimal(0))
    assert pit.exchange.summary("DU0000001").net_liquidation == 1_000_000 + profit - commissions
    assert [row.execution for row in pit.events if isinstance(row, CommissionCharged)] == executions
    assert len({row.exec_id for row in executions}) == len(executions)
    check_fill_prices(pit, world)
    check_orders(pit, executions)


def test_a_bracket_of_which_a_part_filled_ends_each_exit_once():
    """The rest of the entry is cancelled, one exit fills at once, and its group ends the other."""
    act = Act(14, MES, "BUY", 3, OrderType.MARKET, TimeInForce.IOC, 16, False, "", 1, "bracket", "leave")
    at_once = LatencyModel(timedelta(0), timedelta(0), timedelta(0), 0.0)
    fills = FillModel(participation=D(1), slippage_ticks=0)
    pit = play([act], {"seed": 436, "fills": fills, "child_sizing": ChildSizing.WHOLE, "latency": at_once})
    ends = [
        row.order.perm_id for row in pit.events if isinstance(row, StatusChanged) and row.order.completed_at is not None
    ]
    assert len(ends) == len(set(ends)) == 3


def check_fill_prices(pit: Pit, world: dict) -> None:
    """No fill outside what was quoted or printed up to it, on the tick grid, while the market was open."""
    steps = walk(world["seed"])
    for event in pit.events:
        if not isinstance(event, Executed):
            continue
        row = event.execution
        con_id = row.instrument.con_id
        seen = [one for one in steps if one.con_id == con_id and one.time <= row.time]
        low = min(min(one.bid, one.last or one.bid) for one in seen)
        high = max(max(one.ask, one.last or one.ask) for one in seen)
        assert low <= row.price <= high
        assert DETAILS[con_id].on_tick(row.price)
        if row.liquidation:
            continue
        order = pit.exchange.order_by_perm(row.perm_id)
        assert order is not None
        limit = order.ticket.limit_price
        if limit is not None:
            better = row.price <= limit if row.side.value == "BUY" else row.price >= limit
            assert better, (row, limit)


def check_orders(pit: Pit, executions: list) -> None:
    """Executions add up to each order's fill; nothing overfills; nothing is told after the end."""
    filled: dict[int, Decimal] = defaultdict(Decimal)
    for row in executions:
        filled[row.perm_id] += row.quantity
        assert row.cumulative == filled[row.perm_id]
    for view in (*pit.exchange.open_orders(), *pit.exchange.completed_orders()):
        assert view.filled == filled[view.perm_id]
        assert view.remaining >= 0
    ended: set[int] = set()
    for event in pit.events:
        if isinstance(event, StatusChanged):
            assert event.order.perm_id not in ended
            if event.order.completed_at is not None:
                ended.add(event.order.perm_id)
    assert ended == {view.perm_id for view in pit.exchange.completed_orders()}


@settings(max_examples=15, deadline=None)
@given(st.lists(ACTS, max_size=20), WORLDS)
def test_the_same_seed_and_inputs_tell_the_same_story(acts, world):
    first, second = play(acts, world), play(acts, world)
    assert [repr(row) for row in first.events] == [repr(row) for row in second.events]


@settings(max_examples=15, deadline=None)
@given(st.lists(ACTS, max_size=20), WORLDS)
def test_position_events_agree_with_the_books(acts, world):
    pit = play(acts, world)
    last = {}
    for event in pit.events:
        if isinstance(event, PositionChanged):
            last[event.position.instrument.con_id] = event.position.quantity
    held = {row.instrument.con_id: row.quantity for row in pit.exchange.positions()}
    assert {con_id: quantity for con_id, quantity in last.items() if quantity} == held


BRACKETS = st.lists(
    st.tuples(
        st.integers(0, STEPS - 1),
        st.sampled_from([AAPL, MSFT]),
        st.sampled_from(["BUY", "SELL"]),
        st.sampled_from([70, 400, 1500]),
        st.integers(-5, 40),
        st.integers(1, 60),
        st.sampled_from(["leave", "leave", "cancel parent", "cancel stop"]),
        st.integers(1, 10),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(BRACKETS, WORLDS)
def test_sized_to_what_is_filled_exits_never_overtake_their_entry(brackets, world):
    world = {**world, "child_sizing": ChildSizing.FILLED}
    pit = Pit(*walk(world["seed"]), cash=10_000_000, **world)
    parents: dict[int, int] = {}
    for number, con_id, side, quantity, level, away, then, after in sorted(brackets, key=lambda row: row[0]):
        pit.run(max(START + SPAN * number / STEPS, pit.exchange.now))
        tick = TICK[con_id]
        sign = 1 if side == "BUY" else -1
        entry = (pit.exchange.market(con_id).bid or tick) + sign * level * tick
        other = "SELL" if side == "BUY" else "BUY"
        common = {"con_id": con_id, "tif": TimeInForce.GTC}
        parent = pit.order(side, quantity, OrderType.LIMIT, limit_price=entry, transmit=False, **common)
        legs = {"parent_id": parent, **common}
        stop = pit.order(other, quantity, OrderType.STOP, stop_price=entry - sign * away * tick, transmit=False, **legs)
        target = pit.order(other, quantity, OrderType.LIMIT, limit_price=entry + sign * away * tick, **legs)
        parents[stop] = parents[target] = parent
        if then != "leave":
            pit.run(pit.exchange.now + SPAN * after / STEPS / 4)
            pit.exchange.cancel(1, parent if then == "cancel parent" else stop)
    pit.run(START + 2 * SPAN)
    entered: dict[int, Decimal] = defaultdict(Decimal)
    exited: dict[int, Decimal] = defaultdict(Decimal)
    for event in pit.events:
        if isinstance(event, Executed):
            row = event.execution
            if row.order_id in parents:
                exited[parents[row.order_id]] += row.quantity
                assert exited[parents[row.order_id]] <= entered[parents[row.order_id]]
            else:
                entered[row.order_id] += row.quantity


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTS, max_size=25), WORLDS)
def test_a_cash_account_never_holds_less_than_nothing(acts, world):
    stocks = [act for act in acts if act.con_id != MES and act.family == "alone"]
    world = {**world, "kind": AccountKind.CASH}
    pit = Pit(*walk(world["seed"]), cash=50_000, **world)
    for act in sorted(stocks, key=lambda row: row.step):
        pit.run(max(START + SPAN * act.step / STEPS, pit.exchange.now))
        perform(pit, act)
    pit.run(START + SPAN)
    shares: dict[int, Decimal] = defaultdict(Decimal)
    for event in pit.events:
        if isinstance(event, Executed):
            row = event.execution
            shares[row.instrument.con_id] += row.quantity * row.side.sign
            assert shares[row.instrument.con_id] >= 0
