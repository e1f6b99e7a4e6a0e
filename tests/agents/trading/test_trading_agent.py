"""Signals of strategies over the in-process paper broker: what each becomes, and what it never becomes."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from moondev_ibkr.agents.trading.caution import Caution
from moondev_ibkr.agents.trading.strategy_signal import Direction, StrategySignal, signal_key
from moondev_ibkr.agents.trading.trading_agent import OutcomeKind, TradingAgent, TradingSettings
from moondev_ibkr.brokers.domain.market_data import Quote
from moondev_ibkr.brokers.domain.order import NewOrder, Order, OrderType, Side, TimeInForce, leg_key
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import LinkLost, OutcomeUnknown, UsageError
from moondev_ibkr.brokers.risk import RiskPolicy

FIRST_DAY = "20111101"


def host(token: Any = "AAA", signal: Any = 1, direction: Any = "BUY", **metadata: Any) -> dict[str, Any]:
    return {"token": token, "signal": signal, "direction": direction, "metadata": metadata}


def kinds(outcomes: list[Any]) -> list[OutcomeKind]:
    return [outcome.kind for outcome in outcomes]


async def test_a_buy_is_a_bracket_of_a_fraction_of_the_account_whose_stop_rests_at_the_broker(market: Any) -> None:
    async with market() as world:
        (outcome,) = await TradingAgent(world.broker).execute_strategy([host(signal=0.5, reason="oversold")])
        assert outcome.kind is OutcomeKind.ENTERED
        entry = outcome.orders[0]
        assert entry.intent.limit_price is not None
        assert entry.intent.quantity == Decimal(1_000) // entry.intent.limit_price  # 2 % of 100 000, at half strength
        assert "oversold" in entry.intent.reason
        await world.later(1)
        assert [row.quantity for row in await TradingAgent(world.broker).positions()] == [entry.intent.quantity]
        stop, target = (world.broker.order(leg_key(entry.key, number)) for number in (1, 2))
        assert (stop.intent.type, stop.intent.tif, stop.intent.quantity) == (
            OrderType.STOP,
            TimeInForce.GTC,
            entry.intent.quantity,
        )
        assert {view.ticket.order_ref for view in world.broker.exchange.open_orders()} == {stop.key, target.key}
        assert stop.intent.stop_price == pytest.approx(entry.intent.limit_price * Decimal("0.9"), abs=Decimal("0.01"))


async def test_the_same_signals_again_place_nothing_more_even_by_another_agent(market: Any) -> None:
    async with market() as world:
        signals = [host(), StrategySignal("AAA", Direction.BUY, id="signal 7")]
        first = await TradingAgent(world.broker).execute_strategy(signals)
        assert kinds(first) == [OutcomeKind.ENTERED, OutcomeKind.SKIPPED]
        await world.later(1)
        again = await TradingAgent(world.broker).execute_strategy(signals)
        assert kinds(again) == [OutcomeKind.SKIPPED, OutcomeKind.SKIPPED]
        assert again[0].orders[0].key == f"ta-AAA-{FIRST_DAY}"
        assert len(world.entries()) == 1


async def test_what_is_held_without_any_order_is_not_bought_again(market: Any) -> None:
    async with market() as world:
        await world.trade("AAA", 3)
        (outcome,) = await TradingAgent(world.broker).execute_strategy([host()])
        assert outcome.kind is OutcomeKind.SKIPPED
        assert "3 shares are held" in outcome.why


async def test_a_sell_that_is_being_carried_out_is_not_sent_again(market: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with market() as world:
        await world.trade("AAA", 3)
        instrument = (await world.broker.details("AAA")).instrument

        def closing(limit: str) -> list[Order]:
            intent = NewOrder(
                instrument, Side.SELL, Decimal(3), OrderType.LIMIT, limit_price=Decimal(limit), reduce_only=True
            )
            return [Order(intent, OrderState.WORKING)]

        agent = TradingAgent(world.broker)
        with monkeypatch.context() as patch:
            patch.setattr(world.broker, "open_orders", lambda: closing("99.00"))
            assert kinds(await agent.execute_strategy([host(direction="SELL")])) == [OutcomeKind.SKIPPED]
            # The market has left this one behind: it is replaced.
            patch.setattr(world.broker, "open_orders", lambda: closing("101.00"))
            assert kinds(await agent.execute_strategy([host(direction="SELL")])) == [OutcomeKind.CLOSING]
        await world.later(1)
        assert await agent.positions() == []


async def test_a_signal_that_was_bought_and_sold_is_not_bought_again_under_its_id(market: Any) -> None:
    async with market() as world:
        agent = TradingAgent(world.broker)
        signal = StrategySignal("AAA", Direction.BUY, id="signal 7")
        await agent.execute_strategy([signal])
        await world.later(1)
        await agent.execute_strategy([StrategySignal("AAA", Direction.SELL)])
        await world.later(1)
        assert await agent.positions() == []
        await world.open(1)
        assert kinds(await agent.execute_strategy([signal])) == [OutcomeKind.SKIPPED]
        fresh = StrategySignal("AAA", Direction.BUY, id="signal 8")
        assert kinds(await agent.execute_strategy([fresh])) == [OutcomeKind.ENTERED]


async def test_two_calls_at_once_enter_once(market: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with market() as world:
        ask = world.broker.quote

        async def slow(symbol: Any, **rest: Any) -> Quote:
            await world.settle()
            return await ask(symbol, **rest)

        monkeypatch.setattr(world.broker, "quote", slow)
        agent = TradingAgent(world.broker)
        outcomes = await asyncio.gather(
            agent.execute_strategy([StrategySignal("AAA", Direction.BUY, id="a")]),
            agent.execute_strategy([StrategySignal("AAA", Direction.BUY, id="b")]),
        )
        assert sorted(kinds(outcomes[0] + outcomes[1])) == [OutcomeKind.ENTERED, OutcomeKind.SKIPPED]


BAD: list[Any] = [
    host(signal=1.5),
    host(signal="0.9"),
    host(signal=float("nan")),
    host(signal=True),
    host(direction="**SELL** because"),
    host(direction="I would not buy"),
    host(direction="buy"),
    host(direction=None),
    host(token="9BB6NFEcjBCtnNLFko2FqVQBq8HHM13kCyYcdQbgpump"),
    host(token=None),
    host(confidence="very high"),
    host(sentiment=8.1),
    {"token": "AAA"},
    {"token": "AAA", "signal": 1, "direction": "BUY", "metadata": "buy it all"},
    "BUY AAA",
    None,
]


@pytest.mark.parametrize("bad", BAD, ids=repr)
async def test_a_signal_that_cannot_be_read_sends_nothing_and_the_next_goes_on(market: Any, bad: Any) -> None:
    async with market({"AAA": lambda s: 100.0, "BBB": lambda s: 50.0}) as world:
        outcomes = await TradingAgent(world.broker).execute_strategy([bad, host("BBB")])
        assert kinds(outcomes) == [OutcomeKind.INVALID, OutcomeKind.ENTERED]
        assert [order.instrument.symbol for order in world.entries()] == ["BBB"]


async def test_nothing_and_neutral_do_nothing(market: Any) -> None:
    async with market() as world:
        outcomes = await TradingAgent(world.broker).execute_strategy(
            [host(direction="NOTHING"), host(direction="NEUTRAL")]
        )
        assert kinds(outcomes) == [OutcomeKind.NOTHING] * 2
        assert world.broker.orders() == []


async def test_a_sell_closes_what_this_journal_owns_and_leaves_the_stranger_s_shares(market: Any) -> None:
    async with market() as world:
        await world.stranger("AAA", 30)
        agent = TradingAgent(world.broker)
        assert kinds(await agent.execute_strategy([host()])) == [OutcomeKind.ENTERED]
        await world.later(1)
        (outcome,) = await agent.execute_strategy([host(direction="SELL", signal=0.1)])
        await world.later(1)
        assert outcome.kind is OutcomeKind.CLOSING
        assert [row.quantity for row in await world.broker.positions()] == [30]
        assert world.broker.open_orders() == []


async def test_a_sell_of_what_only_a_stranger_holds_sends_nothing(market: Any) -> None:
    async with market() as world:
        await world.stranger("AAA", 30)
        assert kinds(await TradingAgent(world.broker).execute_strategy([host(direction="SELL")])) == [
            OutcomeKind.SKIPPED
        ]
        assert [order for order in world.broker.orders() if not order.foreign] == []


async def test_a_sell_wins_over_a_buy_of_the_same_symbol(market: Any) -> None:
    async with market() as world:
        outcomes = await TradingAgent(world.broker).execute_strategy([host(), host(direction="SELL")])
        assert kinds(outcomes) == [OutcomeKind.SKIPPED, OutcomeKind.SKIPPED]
        assert world.broker.orders() == []


async def test_a_sell_cancels_an_entry_that_still_works(market: Any) -> None:
    async with market() as world:
        details = await world.broker.details("AAA")
        below = NewOrder(details.instrument, Side.BUY, Decimal(5), OrderType.LIMIT, limit_price=Decimal("98.50"))
        await world.broker.place(below)
        agent = TradingAgent(world.broker)
        assert kinds(await agent.execute_strategy([host()])) == [OutcomeKind.SKIPPED]
        assert kinds(await agent.execute_strategy([host(direction="SELL")])) == [OutcomeKind.CLOSING]
        assert world.broker.order(below.key).state is OrderState.CANCELLED


async def test_a_refusal_names_the_largest_order_that_fits_and_nothing_is_clipped(market: Any) -> None:
    async with market(policy=RiskPolicy(max_position_value=Decimal(500))) as world:
        (outcome,) = await TradingAgent(world.broker).execute_strategy([host()])
        assert outcome.kind is OutcomeKind.REFUSED
        assert (outcome.quantity, outcome.largest) == (19, 4)
        assert "position_value" in outcome.why
        assert world.broker.orders() == []


async def test_the_largest_order_that_fits_is_taken_only_when_it_was_asked_for(
    market: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with market(policy=RiskPolicy(max_position_value=Decimal(500))) as world:
        (outcome,) = await TradingAgent(world.broker, TradingSettings(take_largest=True)).execute_strategy([host()])
        assert outcome.kind is OutcomeKind.ENTERED
        assert (outcome.quantity, outcome.largest) == (4, 4)
        assert "position_value" in outcome.why
        assert [record.levelname for record in caplog.records if record.message.startswith("REFUSED AAA")] == [
            "WARNING"
        ]


async def test_a_size_that_no_rule_allows_is_refused_even_when_the_largest_is_wanted(market: Any) -> None:
    async with market(policy=RiskPolicy(restricted=frozenset({"AAA"}))) as world:
        (outcome,) = await TradingAgent(world.broker, TradingSettings(take_largest=True)).execute_strategy([host()])
        assert outcome.kind is OutcomeKind.REFUSED
        assert world.broker.orders() == []


async def test_advice_makes_the_order_smaller_and_its_stop_nearer(market: Any) -> None:
    async with market() as world:
        (outcome,) = await TradingAgent(world.broker).execute_strategy(
            [host(confidence=0.5, sentiment=0.9, stop_fraction=0.05)]
        )
        entry = outcome.orders[0]
        limit = entry.intent.limit_price
        assert entry.intent.quantity == (Decimal(2_000) // limit) // 2
        stop = world.broker.order(leg_key(entry.key, 1)).intent.stop_price
        assert stop == pytest.approx(limit * Decimal("0.95"), abs=Decimal("0.01"))


async def test_advice_that_nothing_is_left_of_buys_nothing(market: Any) -> None:
    async with market() as world:
        signal = StrategySignal("AAA", Direction.BUY, cautions=(Caution(Decimal(0), "lawsuit"),))
        (outcome,) = await TradingAgent(world.broker).execute_strategy([signal])
        assert outcome.kind is OutcomeKind.SKIPPED
        assert "lawsuit" in outcome.why


async def test_a_wider_stop_in_the_metadata_does_not_widen_the_stop(market: Any) -> None:
    async with market() as world:
        (outcome,) = await TradingAgent(world.broker).execute_strategy([host(stop_fraction=0.5)])
        stop = world.broker.order(leg_key(outcome.orders[0].key, 1)).intent.stop_price
        assert stop == pytest.approx(outcome.orders[0].intent.limit_price * Decimal("0.9"), abs=Decimal("0.01"))


async def test_a_broker_that_cannot_be_read_means_no_order(market: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with market() as world:

        async def lost(account: str | None = None) -> list[Any]:
            raise LinkLost("owned positions", "the session ended")

        monkeypatch.setattr(world.broker, "owned_positions", lost)
        agent = TradingAgent(world.broker)
        assert kinds(await agent.execute_strategy([host(), host(direction="SELL", token="BBB")])) == [
            OutcomeKind.FAILED,
            OutcomeKind.FAILED,
        ]
        assert world.broker.orders() == []


async def test_an_order_in_doubt_is_told_as_unknown(market: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with market() as world:

        async def doubtful(order: Any) -> Order:
            raise OutcomeUnknown("order", "no answer")

        async def unanswered(order: Any) -> Order:
            return Order(order.entry, OrderState.UNKNOWN)

        for place in (doubtful, unanswered):
            monkeypatch.setattr(world.broker, "place", place)
            assert kinds(await TradingAgent(world.broker).execute_strategy([host()])) == [OutcomeKind.UNKNOWN]


async def test_a_sell_without_a_price_leaves_the_stop_in_place(market: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with market() as world:
        agent = TradingAgent(world.broker)
        (entered,) = await agent.execute_strategy([host()])
        await world.later(1)
        quote = await world.broker.quote("AAA")

        async def one_sided(symbol: Any, **_: Any) -> Quote:
            return Quote(quote.instrument, quote.time, bid=None, ask=quote.ask)

        monkeypatch.setattr(world.broker, "quote", one_sided)
        assert kinds(await agent.execute_strategy([host(direction="SELL")])) == [OutcomeKind.FAILED]
        stop = world.broker.order(leg_key(entered.orders[0].key, 1))
        assert not stop.is_terminal


async def test_the_kill_switch_refuses_every_signal(market: Any) -> None:
    async with market() as world:
        await world.broker.emergency_stop("enough")
        assert kinds(await TradingAgent(world.broker).execute_strategy([host()])) == [OutcomeKind.REFUSED]


@pytest.mark.parametrize("settings", [{"position_fraction": Decimal("8.1")}, {"stop_fraction": Decimal(0)}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        TradingSettings(**settings)


def test_a_key_fits_a_broker_with_room_for_its_legs() -> None:
    from datetime import date

    for identity in (None, "x" * 500):
        key = signal_key(StrategySignal("VERYLONGSYMBOLOF30CHARACTERS12", Direction.BUY, id=identity), date(2026, 1, 2))
        assert len(leg_key(key, 2)) <= 32
        assert leg_key(key, 2) == f"{key}-2"
