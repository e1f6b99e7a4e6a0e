"""The desk over the in-process paper broker: sizes, rounding, ownership, and reads that fail loud."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from moondev_ibkr.agents.hooks.desk import Desk
from moondev_ibkr.agents.hooks.hook_settings import HOST_RISK, HookSettings
from moondev_ibkr.agents.hooks.host_broker import HostBroker
from moondev_ibkr.agents.hooks.shapes import position_dict
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.errors import (
    InvalidOrder,
    NotConnected,
    RiskRefusal,
    UnknownInstrument,
)
from moondev_ibkr.brokers.registry import get_broker
from moondev_ibkr.brokers.sync import LoopThread


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def desk(said: list[str]) -> Iterator[Desk]:
    with LoopThread("desk test") as loop:
        held = HostBroker(lambda: get_broker("paper", risk=dict(HOST_RISK)), loop=loop)
        yield Desk(held.sync, HookSettings(symbols=("AAPL", "MSFT"), fill_deadline=5.0), said.append)
        held.close()


def test_a_buy_is_whole_shares_for_at_most_the_amount_and_the_rounding_is_said(desk: Desk, said: list[str]) -> None:
    order = desk.buy("AAPL", 5_000)
    assert order is not None
    assert order.state is OrderState.FILLED
    limit = order.intent.limit_price
    assert limit is not None
    assert order.intent.quantity * limit <= 5_000 < (order.intent.quantity + 1) * limit
    assert f"rounded down to {order.intent.quantity}" in said[0]
    held = desk.holding("AAPL")
    assert held is not None
    assert held.quantity == order.filled
    assert held.value == pytest.approx(float(order.filled) * held.price)


def test_an_amount_above_the_limits_is_refused_with_the_largest_that_fits_and_nothing_is_sent(desk: Desk) -> None:
    with pytest.raises(RiskRefusal) as refused:
        desk.buy("AAPL", 810_000)
    assert refused.value.largest is not None
    assert 0 < refused.value.largest * Decimal(str(desk.price("AAPL"))) <= 10_000
    assert desk.broker().orders() == []


def test_the_hosts_three_dollar_chunk_buys_no_share_and_says_so(desk: Desk) -> None:
    with pytest.raises(InvalidOrder, match="no whole share"):
        desk.buy("AAPL", 3)
    for nonsense in (0, -5, float("nan"), float("inf"), "3000000", True):
        with pytest.raises(InvalidOrder):
            desk.buy("AAPL", nonsense)  # type: ignore[arg-type]
    assert desk.broker().orders() == []


def test_a_repeated_entry_within_the_window_is_refused_whatever_its_size(desk: Desk) -> None:
    desk.buy("AAPL", 2_000)
    with pytest.raises(RiskRefusal, match="repeated_entry"):
        desk.buy("AAPL", 3_000)
    assert len(desk.broker().orders()) == 1
    assert desk.buy("MSFT", 2_000) is not None


def test_an_entry_to_a_target_buys_what_is_missing_and_nothing_when_it_is_held(desk: Desk, said: list[str]) -> None:
    assert desk.buy_to("AAPL", 9_500) is not None
    assert desk.buy_to("AAPL", 9_500) is None
    assert "held already" in said[-1]
    assert len(desk.broker().orders()) == 1


def test_nearly_all_in_usd_is_all_and_a_part_is_rounded_down(desk: Desk) -> None:
    bought = desk.buy("AAPL", 5_000)
    assert bought is not None
    part = desk.sell_part("AAPL", 33)
    assert part is not None
    assert part.filled == (bought.filled * 33 / 100).to_integral_value(rounding="ROUND_FLOOR")
    held = desk.holding("AAPL")
    assert held is not None
    closing = desk.sell_usd("AAPL", held.value * 0.99)
    assert closing is not None
    assert desk.holding("AAPL") is None
    assert desk.close("AAPL") is None
    with pytest.raises(InvalidOrder, match="owns none"):
        desk.sell_usd("AAPL", 100)
    for share in (0, -1, 101, float("nan")):
        desk.broker()
        with pytest.raises(InvalidOrder):
            desk.sell_part("MSFT", share)


def test_a_short_is_refused_unless_it_is_allowed(desk: Desk) -> None:
    with pytest.raises(RiskRefusal, match="long_only"):
        desk.short("AAPL", 1_000)


def test_a_lost_session_raises_in_every_read_and_is_counted(desk: Desk) -> None:
    desk.buy("AAPL", 2_000)
    desk.broker().disconnect()
    before = desk.read_failures
    reads = (
        lambda: desk.price("AAPL"),
        lambda: desk.holding("AAPL"),
        desk.holdings,
        desk.account,
        desk.equity,
        desk.cash,
        lambda: desk.bid_ask("AAPL"),
    )
    for read in reads:
        with pytest.raises(NotConnected):
            read()
    assert desk.read_failures == before + len(reads)
    with pytest.raises(NotConnected):
        desk.buy("MSFT", 2_000)


def test_an_unknown_ticker_raises(desk: Desk) -> None:
    with pytest.raises(UnknownInstrument):
        desk.price("ZZZZ")


def test_a_position_answers_both_kinds_of_callers(desk: Desk) -> None:
    assert not position_dict("AAPL", None)
    assert position_dict("AAPL", None)["has_position"] is False
    desk.buy("AAPL", 2_000)
    told = position_dict("AAPL", desk.holding("AAPL"))
    assert told
    assert told["position_amount"] == told["size"] == told["quantity"] > 0
    assert told["is_long"]


def test_the_same_sentence_is_said_once(desk: Desk, said: list[str]) -> None:
    desk.say_once("a")
    desk.say_once("b")
    desk.say_once("a")
    assert said == ["a", "b"]


def test_a_broker_that_cannot_be_reached_raises_and_is_asked_again_next_time() -> None:
    tried = []

    class Nobody:
        async def __aenter__(self) -> None:
            tried.append(1)
            raise NotConnected("broker", "nobody listens")

        async def __aexit__(self, *_: object) -> None: ...

    with LoopThread("no broker") as loop:
        held = HostBroker(Nobody, loop=loop)  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(NotConnected, match="nobody listens"):
                held.sync()
        held.close()
        with pytest.raises(NotConnected, match="closed"):
            held.sync()
    assert len(tried) == 2
