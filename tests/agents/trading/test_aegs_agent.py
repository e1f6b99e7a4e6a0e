"""The AEGS agent over the in-process paper broker: real orders, made-up bars that force each story."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.agents.trading.aegs_agent import ADVISED_TARGETS, Action, AegsAgent, AegsSettings
from moondev_ibkr.agents.trading.aegs_holdings import entry_key
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.brokers.domain.market_data import BarSource
from moondev_ibkr.brokers.domain.order import OrderType, leg_key
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import UnknownInstrument, UsageError
from moondev_ibkr.brokers.journal import Journal
from moondev_ibkr.brokers.risk import RiskPolicy
from moondev_ibkr.brokers.simulation.commissions import PriceList
from moondev_ibkr.brokers.simulation.exchange import Exchange
from moondev_ibkr.brokers.simulation.paper_trading import PaperBroker
from moondev_ibkr.brokers.simulation.prices import make_prices

CALENDAR = MarketCalendar()
#: The first day that is traded: 210 bars of history lie before it.
FIRST = date(2011, 11, 1)
DAYS = [day.day for day in CALENDAR.trading_days(date(2011, 1, 3), date(2012, 3, 30))]
BEFORE = DAYS.index(FIRST)
World = Callable[..., AbstractAsyncContextManager["Stage"]]


def bars(after: float = 0.0) -> str:
    """Calm at 100, a fall to about 60 in the week before FIRST, then `after` percent a day."""
    lines, price = ["Date,Open,High,Low,Close,Volume"], 100.0
    for index, day in enumerate(DAYS):
        previous = price
        if index >= BEFORE:
            price = min(max(price * (1 + after / 100), 20.0), 200.0)
        elif index >= BEFORE - 5:
            price *= 0.90
        else:
            price = 100.0 + (index % 3)
        low, high = min(previous, price) - 0.10, max(previous, price) + 0.10
        volume = 9_000_000 if index == BEFORE - 1 else 2_000_000
        lines.append(f"{day},{previous:.2f},{high:.2f},{low:.2f},{price:.2f},{volume}")
    return "\n".join(lines)


class Stage:
    """A broker, its agent, and the sessions."""

    def __init__(self, broker: PaperBroker, symbols: list[str], settings: AegsSettings) -> None:
        self.broker = broker
        self.agent = AegsAgent(broker, symbols, settings)
        self.session = FIRST

    async def session_of(self, day: date, *, act: bool = True) -> list[Action]:
        """To the session's open, let the agent act, to its close; answers what it did."""
        done = len(self.agent.actions)
        hours = CALENDAR.trading_day(day)
        assert hours is not None
        await self.broker.advance_to(max(hours.open + timedelta(seconds=10), self.broker.exchange.now))
        if act:
            await self.agent.run_cycle()
        await self.broker.advance_to(hours.close + timedelta(minutes=1))
        await settle()
        return self.agent.actions[done:]


async def settle() -> None:
    """Let the agent's own tasks take what the broker told."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def stage(tmp_path: Path) -> World:
    @asynccontextmanager
    async def make(
        after: float = 0.0,
        policy: RiskPolicy | None = None,
        symbols: tuple[str, ...] = ("FALL",),
        settings: AegsSettings | None = None,
    ) -> AsyncIterator[Stage]:
        (tmp_path / "FALL.csv").write_text(bars(after))
        prices = make_prices(CALENDAR, paths=[tmp_path], start=FIRST)
        exchange = Exchange(prices, calendar=CALENDAR, commissions=PriceList())
        broker = PaperBroker(exchange, CALENDAR, journal=Journal(":memory:"), policy=policy, speed=None)
        async with broker:
            made = Stage(broker, list(symbols), settings or AegsSettings(history_deadline=1.0))
            await made.agent.start()
            yield made
            await made.agent.stop()
        broker.journal.close()

    return make


def words(actions: list[Action]) -> list[str]:
    return [action.what for action in actions]


async def test_an_oversold_stock_is_bought_with_a_stop_and_a_target_resting_at_the_broker(stage: World) -> None:
    async with stage() as world:
        done = await world.session_of(FIRST)
        assert words(done) == ["ENTER", "FILL"]
        key = entry_key("FALL", FIRST)
        entry = world.broker.order(key)
        stop, target = (world.broker.order(leg_key(key, number)) for number in (1, 2))
        assert entry.state is OrderState.FILLED
        assert entry.intent.limit_price is not None
        assert stop.intent.stop_price == pytest.approx(entry.intent.limit_price * Decimal("0.8"), abs=Decimal("0.01"))
        assert target.intent.limit_price == pytest.approx(
            entry.intent.limit_price * Decimal("1.3"), abs=Decimal("0.01")
        )
        assert {order.intent.tif.value for order in (stop, target)} == {"GTC"}
        resting = {view.ticket.order_ref for view in world.broker.exchange.open_orders()}
        assert resting == {stop.key, target.key}


async def test_size_is_the_tier_s_lower_percentage_of_net_liquidation(stage: World) -> None:
    async with stage() as world:
        points = (await world.agent.scan())[0].score.points
        await world.session_of(FIRST)
        entry = world.broker.order(entry_key("FALL", FIRST))
        share = Decimal("0.03") if points >= 80 else Decimal("0.02") if points >= 70 else Decimal("0.01")
        assert entry.intent.limit_price is not None
        assert entry.intent.quantity == (100_000 * share) // entry.intent.limit_price


async def test_a_held_symbol_is_not_bought_again(stage: World) -> None:
    async with stage() as world:
        await world.session_of(FIRST)
        await world.session_of(DAYS[BEFORE + 1])
        assert [order.key for order in world.broker.orders() if order.leg == 0] == [entry_key("FALL", FIRST)]


async def test_a_second_agent_on_the_same_day_buys_nothing_more(stage: World) -> None:
    async with stage() as world:
        await world.session_of(FIRST)
        again = AegsAgent(world.broker, ["FALL"], AegsSettings(history_deadline=1.0))
        await again.start()
        await again.run_cycle()
        await again.stop()
        assert len(again.holdings()) == 1
        assert "ENTER" not in words(again.actions)


async def test_the_stop_sells_when_the_fall_goes_on(stage: World) -> None:
    async with stage(after=-6.0) as world:
        seen: list[str] = []
        for day in DAYS[BEFORE : BEFORE + 6]:
            seen += words(await world.session_of(day, act=day == FIRST))
        assert seen.count("STOP FILL") == 1
        assert world.agent.holdings() == []
        assert world.broker.order(leg_key(entry_key("FALL", FIRST), 2)).state is OrderState.CANCELLED


async def test_the_target_sells_when_it_recovers(stage: World) -> None:
    async with stage(after=8.0) as world:
        seen: list[str] = []
        for day in DAYS[BEFORE : BEFORE + 6]:
            seen += words(await world.session_of(day, act=day == FIRST))
        assert seen.count("TARGET FILL") == 1
        assert world.broker.order(leg_key(entry_key("FALL", FIRST), 1)).state is OrderState.CANCELLED


@pytest.mark.parametrize(
    ("after", "leaves_after", "why"),
    [(0.3, 30, "in profit"), (-0.1, 60, "held")],
)
async def test_time_exits(stage: World, after: float, leaves_after: int, why: str) -> None:
    async with stage(after=after) as world:
        exits: list[tuple[date, Action]] = []
        for day in DAYS[BEFORE : BEFORE + 60]:
            exits += [(day, action) for action in await world.session_of(day) if action.what == "EXIT"]
            if exits:
                break
        day, action = exits[0]
        assert (day - FIRST).days >= leaves_after
        assert all((earlier - FIRST).days < leaves_after for earlier in DAYS[BEFORE : DAYS.index(day)])
        assert why in action.why
        assert world.agent.holdings() == []
        stop = world.broker.order(leg_key(entry_key("FALL", FIRST), 1))
        assert stop.state is OrderState.CANCELLED


async def test_a_size_rule_reduces_the_entry_and_says_so(stage: World) -> None:
    async with stage(policy=RiskPolicy(max_position_value=Decimal(500))) as world:
        done = await world.session_of(FIRST)
        assert words(done)[:2] == ["REDUCED", "ENTER"]
        entry = world.broker.order(entry_key("FALL", FIRST))
        assert entry.intent.limit_price is not None
        assert entry.intent.quantity * entry.intent.limit_price <= 500


async def test_a_refusal_without_a_smaller_size_is_told_and_nothing_is_bought(stage: World) -> None:
    async with stage(policy=RiskPolicy(restricted=frozenset({"FALL"}))) as world:
        done = await world.session_of(FIRST)
        assert words(done) == ["REFUSED"]
        assert "restricted" in done[0].why
        assert world.broker.orders() == []


async def test_a_protection_that_was_cancelled_is_put_back(stage: World) -> None:
    async with stage() as world:
        await world.session_of(FIRST)
        key = entry_key("FALL", FIRST)
        # Somebody cancels the stop; OCA takes nothing else with it.
        await world.broker.cancel(leg_key(key, 1))
        assert world.broker.order(leg_key(key, 1)).state is OrderState.CANCELLED
        await world.session_of(DAYS[BEFORE + 1])
        stops = [order for order in world.broker.open_orders() if order.intent.type is OrderType.STOP]
        assert sum(order.remaining for order in stops) == world.agent.holdings()[0].quantity


async def test_a_symbol_that_nobody_knows_is_left_out_and_the_rest_trades(stage: World) -> None:
    async with stage(symbols=("NOSUCH", "FALL")) as world:
        assert world.agent.symbols == ["FALL"]
        assert world.agent.actions[0].what == "LEFT OUT"
        assert "ENTER" in words(await world.session_of(FIRST))


async def test_no_symbol_at_all_is_an_error(stage: World) -> None:
    with pytest.raises(UnknownInstrument):
        async with stage(symbols=("NOSUCH",)):
            pass


async def test_today_s_own_bar_is_never_scored(stage: World) -> None:
    async with stage() as world:
        now = world.broker.exchange.now
        frame = world.agent.closed_bars("FALL", now)
        assert len(frame) == 200
        assert frame.index[-1].date() == DAYS[BEFORE - 1]


async def test_a_single_scan_asks_for_all_bars_in_one_round_and_enters_like_a_run(
    stage: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage() as world:
        asked: list[tuple[list[str], BarSource]] = []
        ask = world.broker.many_bars

        async def many_bars(symbols: list[str], *sizes: Any, **rest: Any) -> Any:
            asked.append((list(symbols), rest["source"]))
            return await ask(symbols, *sizes, **rest)

        monkeypatch.setattr(world.broker, "many_bars", many_bars)
        hours = CALENDAR.trading_day(FIRST)
        assert hours is not None
        await world.broker.advance_to(hours.open + timedelta(seconds=10))
        once = AegsAgent(world.broker, ["NOSUCH", "FALL"])
        followed = await world.agent.scan()
        signals = await once.scan_and_execute()
        assert asked == [(["NOSUCH", "FALL"], BarSource.ADJUSTED_LAST)]
        assert [signal.score.points for signal in signals] == [signal.score.points for signal in followed]
        assert [(action.what, action.symbol) for action in once.actions] == [
            ("NOT SCORED", "NOSUCH"),
            ("ENTER", "FALL"),
        ]
        await world.session_of(FIRST)
        assert [order.key for order in world.broker.orders() if order.leg == 0] == [entry_key("FALL", FIRST)]


async def test_the_host_s_advised_targets_can_be_chosen(stage: World) -> None:
    settings = AegsSettings(history_deadline=1.0, targets=ADVISED_TARGETS)
    async with stage(settings=settings) as world:
        points = (await world.agent.scan())[0].score.points
        await world.session_of(FIRST)
        part = Decimal("0.2") if points >= 80 else Decimal("0.15") if points >= 70 else Decimal("0.1")
        key = entry_key("FALL", FIRST)
        limit = world.broker.order(key).intent.limit_price
        assert limit is not None
        target = world.broker.order(leg_key(key, 2)).intent.limit_price
        assert target == pytest.approx(limit * (1 + part), abs=Decimal("0.01"))


@pytest.mark.parametrize("targets", [(), ((80, Decimal("0.2")),), ((0, Decimal("0.1")), (80, Decimal("0.2")))])
def test_a_table_of_targets_that_leaves_a_score_out_is_refused(targets: Any) -> None:
    with pytest.raises(UsageError):
        AegsSettings(targets=targets)
