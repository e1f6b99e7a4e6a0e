"""Positions as they move: signs, exits, gaps. On the in-process paper broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.agents.trading.exits import ExitRules, Held, exit_due, mark_of
from moondev_ibkr.agents.trading.position_manager import PositionManager, PositionUpdate
from moondev_ibkr.brokers.domain.account import Position
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import DataType, Gap, Quote, Resumed
from moondev_ibkr.brokers.errors import LinkLost, NotOwned, StaleData, UsageError
from moondev_ibkr.brokers.risk import RiskPolicy
from moondev_ibkr.brokers.smart_orders import protected

D = Decimal
NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
AAA = Instrument("AAA", con_id=1)
ALL = ExitRules(D("0.2"), D("0.3"), D("0.1"), 30)


def held(quantity: int, mark: float | None, *, entry: int = 100, best: float | None = None, days: int = 0) -> Held:
    return Held(
        Position("DU1", AAA, D(quantity), D(entry)),
        D(entry),
        NOW - timedelta(days=days),
        NOW,
        None if mark is None else D(str(mark)),
        None if best is None else D(str(best)),
    )


# The conditions, as a table

CASES: list[tuple[Held, str | None]] = [
    (held(10, 100), None),
    (held(10, 80), "stop"),
    (held(10, 80.01), None),
    (held(-10, 120), "stop"),
    (held(-10, 119.99), None),
    (held(-10, 80), None),
    (held(10, 130), "target"),
    (held(-10, 70), "target"),
    (held(-10, 130), "stop"),
    (held(10, 108, best=120), "trailing"),
    (held(10, 108.01, best=120), None),
    (held(-10, 88, best=80), "trailing"),
    (held(-10, 87.99, best=80), None),
    (held(10, None, best=120), None),
    (held(10, None, days=30), "max_days"),
    (held(10, None, days=29), None),
    (held(10, 80, days=90), "stop"),
    (replace(held(10, 100), entered=None), None),
]


@pytest.mark.parametrize(("case", "condition"), CASES)
def test_which_exit_is_due(case: Held, condition: str | None) -> None:
    due = exit_due(case, ALL)
    assert (due.condition if due else None) == condition


@given(st.sampled_from([case for case, _ in CASES]))
def test_rules_that_are_left_out_never_close_anything(case: Held) -> None:
    assert exit_due(case, ExitRules(None, None, None, None)) is None


@given(st.integers(-1000, 1000).filter(bool), st.decimals(1, 500, places=2))
def test_a_long_and_a_short_of_the_same_shares_gain_opposite(quantity: int, mark: Decimal) -> None:
    one, other = held(quantity, float(mark)), held(-quantity, float(mark))
    assert one.unrealized_pnl == -other.unrealized_pnl  # type: ignore[operator]
    assert one.gain == -other.gain  # type: ignore[operator]
    assert (one.unrealized_pnl > 0) == (one.gain > 0)  # type: ignore[operator]


GOOD = Quote(AAA, NOW, bid=99.0, ask=101.0)


@pytest.mark.parametrize(
    ("quote", "words"),
    [
        (replace(GOOD, bid=None), "two-sided"),
        (replace(GOOD, ask=0.0), "two-sided"),
        (replace(GOOD, halted=True), "halted"),
        (replace(GOOD, suspect="2 % from the portal's"), "portal"),
        (replace(GOOD, data_type=DataType.DELAYED), "DELAYED"),
        (replace(GOOD, time=NOW - timedelta(seconds=61)), "61 s old"),
    ],
)
def test_a_quote_that_cannot_be_traded_on_is_no_mark(quote: Quote, words: str) -> None:
    mark, why = mark_of(quote, D(10), NOW, ALL)
    assert mark is None
    assert words in why


def test_a_long_is_worth_its_bid_and_a_short_its_ask() -> None:
    assert mark_of(GOOD, D(10), NOW, ALL) == (99, "")
    assert mark_of(GOOD, D(-10), NOW, ALL) == (101, "")
    delayed = replace(GOOD, data_type=DataType.DELAYED)
    assert mark_of(delayed, D(10), NOW, replace(ALL, allow_delayed=True)) == (99, "")


@pytest.mark.parametrize("rules", [{"stop_fraction": D(0)}, {"target_fraction": D("NaN")}, {"max_days": -1}])
def test_rules_that_cannot_be_are_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ExitRules(**rules)


# Through a broker


class Watcher:
    """Collects what a stream of positions tells."""

    def __init__(self, manager: PositionManager, market: Any) -> None:
        self.told: list[Any] = []
        self._market = market
        self._task = asyncio.create_task(self._collect(manager))

    async def _collect(self, manager: PositionManager) -> None:
        async with aclosing(manager.stream_positions()) as stream:
            async for event in stream:
                self.told.append(event)

    async def news(self) -> list[Any]:
        """What has been told since the last time."""
        seen = -1
        while seen != len(self.told):
            seen = len(self.told)
            await self._market.settle()
        if self._task.done():
            self._task.result()
        told, self.told = self.told, []
        return told

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def watched(world: Any, rules: ExitRules | None = None) -> AsyncIterator[Watcher]:
    watcher = Watcher(PositionManager(world.broker, rules), world)
    try:
        yield watcher
    finally:
        await watcher.end()


def falling(session: int) -> float:
    return 100.0 if session < 1 else 75.0


async def test_a_position_is_told_with_its_mark_and_the_exit_that_is_due(market: Any) -> None:
    async with market({"AAA": falling}) as world:
        fill = await world.trade("AAA", 10)
        async with watched(world) as watcher:
            first = (await watcher.news())[-1]
            assert (first.position.quantity, first.entry_price, first.exit) == (10, fill.price, None)
            await world.open(2)
            last = (await watcher.news())[-1]
        bid = D(str((await world.broker.quote("AAA")).bid))
        assert last.mark == bid
        assert last.unrealized_pnl == (bid - fill.price) * 10 < 0
        assert last.exit is not None
        assert last.exit.condition == "stop"


async def test_a_short_gains_when_the_price_falls(market: Any) -> None:
    policy = RiskPolicy(allow_short=True)
    async with market({"AAA": falling}, policy=policy) as world:
        fill = await world.trade("AAA", -10)
        async with watched(world, ExitRules(target_fraction=D("0.2"))) as watcher:
            await world.open(2)
            last = (await watcher.news())[-1]
        ask = D(str((await world.broker.quote("AAA")).ask))
        assert (last.position.quantity, last.mark) == (-10, ask)
        assert last.unrealized_pnl == (fill.price - ask) * 10 > 0
        assert last.exit is not None
        assert last.exit.condition == "target"


async def test_a_trailing_exit_remembers_the_best_price(market: Any) -> None:
    prices = {"AAA": lambda session: (100.0, 120.0, 105.0)[max(0, min(session, 2))]}
    async with market(prices) as world:
        await world.trade("AAA", 10)
        async with watched(world, ExitRules(None, None, D("0.1"), None)) as watcher:
            await world.open(2)
            assert {update.exit for update in await watcher.news()} == {None}
            await world.open(3)
            assert (await watcher.news())[-1].exit.condition == "trailing"


async def test_a_short_trails_its_lowest_price(market: Any) -> None:
    prices = {"AAA": lambda session: (100.0, 80.0, 95.0)[max(0, min(session, 2))]}
    async with market(prices, policy=RiskPolicy(allow_short=True)) as world:
        await world.trade("AAA", -10)
        async with watched(world, ExitRules(None, None, D("0.1"), None)) as watcher:
            await world.open(2)
            assert {update.exit for update in await watcher.news()} == {None}
            await world.open(3)
            assert (await watcher.news())[-1].exit.condition == "trailing"


async def test_fills_change_what_is_told_and_a_closed_position_is_told_once(market: Any) -> None:
    async with market() as world:
        async with watched(world) as watcher:
            assert await watcher.news() == []
            await world.trade("AAA", 10)
            assert {update.position.quantity for update in await watcher.news()} == {10}
            await world.trade("AAA", 5)
            assert (await watcher.news())[-1].position.quantity == 15
            await PositionManager(world.broker).close("AAA", "enough")
            await world.later(1)
            told = await watcher.news()
            assert [update.position.quantity for update in told if update.position.quantity == 0] == [0]
            assert told[-1].position.quantity == 0
            await world.later(5)
            assert await watcher.news() == []


async def test_the_stranger_s_shares_are_not_told(market: Any) -> None:
    async with market() as world:
        await world.stranger("AAA", 30)
        async with watched(world) as watcher:
            await world.later(5)
            assert await watcher.news() == []
            await world.trade("AAA", 10)
            assert {update.position.quantity for update in await watcher.news()} == {10}


async def test_two_symbols_are_told_each_by_its_own_quotes(market: Any) -> None:
    async with market({"AAA": lambda s: 100.0, "BBB": lambda s: 50.0}) as world:
        await world.trade("AAA", 10)
        await world.trade("BBB", 10)
        async with watched(world) as watcher:
            await world.later(30)
            marks = {update.symbol: update.mark for update in await watcher.news()}
        assert 99 < marks["AAA"] < 101
        assert 49 < marks["BBB"] < 51


@pytest.fixture
def taps(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[Any]]:
    """The streams that a broker gives out from now on, to put markers into."""

    def tap(broker: Any) -> list[Any]:
        opened: list[Any] = []
        ask = broker.stream

        def stream(*arguments: Any) -> Any:
            opened.append(ask(*arguments))
            return opened[-1]

        monkeypatch.setattr(broker, "stream", stream)
        return opened

    return tap


def gap(*symbols: str) -> Gap:
    return Gap(NOW, "tws", "the link was lost", symbols)


def resumed(*symbols: str) -> Resumed:
    return Resumed(NOW, "tws", 1, 0, None, symbols)


async def test_nothing_is_told_between_gap_and_resumed_and_the_positions_are_read_again_after(
    market: Any, taps: Any
) -> None:
    async with market({"AAA": lambda s: 100.0, "BBB": lambda s: 50.0}) as world:
        streams = taps(world.broker)
        await world.trade("AAA", 10)
        await world.trade("BBB", 10)
        async with watched(world, ExitRules(quote_age=timedelta(days=1))) as watcher:
            await watcher.news()
            for stream in streams:  # every subscription tells of it, the consumer is told once
                stream.mark(gap())
            assert await watcher.news() == [gap()]
            await world.trade("AAA", 5)
            await world.later(30)
            assert await watcher.news() == []
            for stream in streams:
                stream.mark(resumed())
            told = await watcher.news()
            assert told[0] == resumed()
            assert told.count(resumed()) == 1
            assert (told[1].symbol, told[1].position.quantity) == ("AAA", 15)
            assert told[1].mark is None, "what was seen before the gap is not a mark after it"


async def test_a_position_that_changed_unseen_in_a_gap_is_told_after_it(
    market: Any, taps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market() as world:
        (streams, _) = taps(world.broker), await world.trade("AAA", 10)
        async with watched(world) as watcher:
            await watcher.news()
            streams[0].mark(gap())
            (position,) = await world.broker.owned_positions()

            async def smaller(account: str | None = None) -> list[Position]:
                return [replace(position, quantity=D(4))]

            monkeypatch.setattr(world.broker, "owned_positions", smaller)
            streams[0].mark(resumed())
            told = await watcher.news()
            assert told[2].position.quantity == 4
            assert told[2].entry_price == position.average_cost


async def test_a_symbol_that_is_closed_and_bought_again_in_its_gap_is_told_again(market: Any, taps: Any) -> None:
    async with market() as world:
        streams = taps(world.broker)
        await world.trade("AAA", 10)
        async with watched(world) as watcher:
            await watcher.news()
            streams[0].mark(gap("AAA"))
            assert await watcher.news() == [gap("AAA")]
            await world.trade("AAA", -10)
            assert (await watcher.news())[-1].position.quantity == 0
            await world.trade("AAA", 10)
            await watcher.news()
            await world.later(60)
            assert [update.symbol for update in await watcher.news()][:1] == ["AAA"]


async def test_a_gap_of_one_symbol_does_not_silence_the_other(market: Any, taps: Any) -> None:
    async with market({"AAA": lambda s: 100.0, "BBB": lambda s: 50.0}) as world:
        streams = taps(world.broker)
        await world.trade("AAA", 10)
        await world.trade("BBB", 10)
        async with watched(world) as watcher:
            await watcher.news()
            streams[0].mark(gap("AAA"))
            await world.later(30)
            told = await watcher.news()
            assert {update.symbol for update in told if isinstance(update, PositionUpdate)} == {"BBB"}
            streams[0].mark(resumed("AAA"))
            await world.later(30)
            told = await watcher.news()
            assert "AAA" in {update.symbol for update in told if isinstance(update, PositionUpdate)}


async def test_positions_that_cannot_be_read_are_not_told_and_are_read_later(
    market: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market() as world:
        await world.trade("AAA", 10)
        async with watched(world) as watcher:
            await watcher.news()
            with monkeypatch.context() as patch:
                patch.setattr(world.broker, "owned_positions", lost)
                await world.trade("AAA", 5)
                await world.later(5)
                assert await watcher.news() == []
            await world.later(60)
            assert (await watcher.news())[-1].position.quantity == 15


async def lost(account: str | None = None) -> list[Position]:
    raise LinkLost("owned positions", "the session ended")


async def test_the_first_read_fails_loud(market: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with market() as world:
        monkeypatch.setattr(world.broker, "owned_positions", lost)
        with pytest.raises(LinkLost):
            async with aclosing(PositionManager(world.broker).stream_positions()) as stream:
                await anext(stream)
        with pytest.raises(LinkLost):
            await PositionManager(world.broker).check_exits()


async def test_a_symbol_whose_quotes_fail_is_told_unpriced_and_the_other_goes_on(
    market: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market({"AAA": lambda s: 100.0, "BBB": lambda s: 50.0}) as world:
        await world.trade("AAA", 10)
        await world.trade("BBB", 10)
        ask = world.broker.stream

        class Failing:
            async def __anext__(self) -> Any:
                raise StaleData("quotes of AAA", "no permission for it")

            async def aclose(self) -> None:
                pass

        def stream(symbols: list[Instrument]) -> Any:
            return Failing() if symbols[0].symbol == "AAA" else ask(symbols)

        monkeypatch.setattr(world.broker, "stream", stream)
        async with watched(world) as watcher:
            await world.later(30)
            told = await watcher.news()
        last = {update.symbol: update for update in told}
        assert last["BBB"].mark is not None
        assert last["AAA"].mark is last["AAA"].unrealized_pnl is None
        assert "no permission" in last["AAA"].unpriced


async def test_check_exits_says_what_is_due_and_what_could_not_be_looked_at(
    market: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market({"AAA": falling, "BBB": lambda s: 50.0}) as world:
        await world.trade("AAA", 10)
        await world.trade("BBB", 10)
        manager = PositionManager(world.broker)
        assert (await manager.check_exits()).due == ()
        await world.open(2)
        report = await manager.check_exits()
        assert [(update.symbol, update.exit.condition) for update in report.due] == [("AAA", "stop")]
        assert report.unchecked == ()
        ask = world.broker.quote

        async def quote(symbol: Any, **rest: Any) -> Quote:
            if symbol.symbol == "AAA":
                raise StaleData("quote of AAA", "nothing came")
            return await ask(symbol, **rest)

        monkeypatch.setattr(world.broker, "quote", quote)
        report = await manager.check_exits()
        assert report.due == ()
        assert [symbol for symbol, _ in report.unchecked] == ["AAA"]


async def test_close_sells_what_is_owned_once_and_leaves_no_order_behind(market: Any) -> None:
    async with market() as world:
        await world.stranger("AAA", 30)
        await world.trade("AAA", 10)
        manager = PositionManager(world.broker)
        first, _ = await asyncio.gather(
            manager.close("AAA", "stop"), manager.close("AAA", "again"), return_exceptions=True
        )
        await world.later(1)
        assert first.symbol == "AAA"
        assert [row.quantity for row in await world.broker.positions()] == [30]
        assert world.broker.open_orders() == []
        with pytest.raises(NotOwned):
            await manager.close("AAA", "once more")


async def test_a_short_is_closed_by_buying(market: Any) -> None:
    async with market(policy=RiskPolicy(allow_short=True)) as world:
        await world.trade("AAA", -10)
        closing = await PositionManager(world.broker).close("AAA", "cover")
        await world.later(1)
        assert [order.intent.side for order in closing.orders] == ["BUY"]
        assert await world.broker.owned_positions() == []


async def test_a_position_that_cannot_be_priced_keeps_its_stop(market: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with market() as world:
        details = await world.broker.details("AAA")
        from moondev_ibkr.brokers.domain.order import NewOrder, OrderType, Side

        entry = NewOrder(details.instrument, Side.BUY, D(10), OrderType.LIMIT, limit_price=D(101))
        await world.broker.place(protected(entry, D("0.1"), None, details))
        await world.later(1)
        quote = await world.broker.quote("AAA")

        async def one_sided(symbol: Any, **_: Any) -> Quote:
            return replace(quote, ask=None)

        monkeypatch.setattr(world.broker, "quote", one_sided)
        with pytest.raises(StaleData):
            await PositionManager(world.broker).close("AAA", "stop")
        assert [order.leg for order in world.broker.open_orders()] == [1]
