"""What the host does with nobody in between, on its own exchanges: why the plugin has guards.

Each story runs in a bare look-alike; what would have left the machine was written down by its wire.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from .lookalike import Variant, write_host
from .story import run, tell

EQUITY = 100_000.0


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_host(tmp_path_factory.mktemp("bare") / "host")


def trading_cycles(
    answers: list[str], position: dict[str, Any] | None = None, connected: bool = True, swarm: bool = False
) -> Any:
    """As many cycles of the trading agent on Aster as there are answers; the orders that left, in order."""
    from src import config, wire

    config.EXCHANGE = "ASTER"
    replies = iter(answers)
    lost = ConnectionError("connection lost")
    wire.answers.update(
        {
            "hyperliquid.candles": [[minute, 10.0, 10.0, 10.0, 10.0, 5] for minute in range(72)],
            "aster.account": {"availableBalance": 100_000.0},
            "aster.ask_bid": (10.0, 10.0, None),
            "aster.leverage": {},
            "aster.order": {"orderId": 1},
            "aster.position": position if connected else lost,
            "llm.xai": lambda **_: next(replies),
            "llm.claude": lambda **_: next(replies),
            "llm.groq": lambda **_: next(replies),
        }
    )
    from src.agents import trading_agent

    trading_agent.USE_SWARM_MODE = swarm
    agent = trading_agent.TradingAgent()
    for _ in range(1 if swarm else len(answers)):
        agent.run_trading_cycle()
    return [
        {"side": order["side"], "usd": order["quantity"] * 10, "type": order["order_type"]}
        for order in wire.asked("order")
    ]


LONG = {"position_amount": 30.0, "entry_price": 10.0, "mark_price": 10.0, "is_long": True, "pnl_percentage": 0.0}


@pytest.mark.parametrize("answer", ["**SELL** because the trend is down", "Let me think about it first."])
def test_an_answer_that_is_not_exact_buys_eight_times_the_equity(host: Path, answer: str) -> None:
    assert tell(host, trading_cycles, answers=[answer]).result == [
        {"side": "BUY", "usd": pytest.approx(8.1 * EQUITY), "type": "LIMIT"}
    ]


def test_exact_answers_do_what_they_say(host: Path) -> None:
    assert tell(host, trading_cycles, answers=["NOTHING"]).result == []
    assert tell(host, trading_cycles, answers=["SELL"]).result == []


def test_an_answer_of_an_earlier_cycle_is_carried_out_again(host: Path) -> None:
    orders = tell(host, trading_cycles, answers=["BUY", "NOTHING"]).result
    assert [order["side"] for order in orders] == ["BUY", "BUY"]
    assert sum(order["usd"] for order in orders) == pytest.approx(2 * 8.1 * EQUITY)


def test_a_lost_connection_reads_as_flat_and_buys_again(host: Path) -> None:
    assert tell(host, trading_cycles, answers=["BUY"], position=LONG).result == []
    again = tell(host, trading_cycles, answers=["BUY"], position=LONG, connected=False).result
    assert [order["side"] for order in again] == ["BUY"]


def test_models_that_would_not_buy_are_counted_as_buyers(host: Path) -> None:
    answers = ["I would not buy here", "Do not buy", "Sell"]
    assert [order["side"] for order in tell(host, trading_cycles, answers=answers, swarm=True).result] == ["BUY"]


def test_an_exit_leaves_in_chunks_of_three_dollars(host: Path) -> None:
    orders = tell(host, trading_cycles, answers=["SELL"], position=LONG).result
    assert len(orders) == 101
    assert {order["side"] for order in orders} == {"SELL"}


def failing_models_vote() -> Any:
    from src import config, wire

    config.EXCHANGE = "ASTER"
    wire.answers.update({"llm.claude": "Buy", "llm.xai": "Buy"})
    from src.agents.swarm_agent import SwarmAgent

    return {name: data["response"] for name, data in SwarmAgent().query("now?")["responses"].items()}


def test_a_model_that_failed_votes_all_the_same(host: Path) -> None:
    votes = tell(host, failing_models_vote).result
    assert votes == {"claude_haiku": "Buy", "xai": "Buy", "groq": "None"}


def signals_beside_bars() -> Any:
    from src import config, wire

    config.EXCHANGE = "ASTER"
    wire.answers.update(
        {"hyperliquid.candles": [[minute, 10.0, 10.0, 10.0, 10.0, 5] for minute in range(72)], "llm.xai": "BUY"}
    )
    from src.agents import trading_agent

    trading_agent.USE_SWARM_MODE = False
    agent = trading_agent.TradingAgent()
    agent.run_trading_cycle({"BTC": [{"signal": 1}, {"signal": 2}]})
    return {"asked": len(wire.asked("xai")), "rows": len(agent.recommendations_df), "split": agent.allocate_portfolio()}


def test_signals_abort_the_cycle_and_the_allocation_misses_a_name(host: Path) -> None:
    assert tell(host, signals_beside_bars).result == {"asked": 0, "rows": 0, "split": None}


def unknown_exchange() -> Any:
    from src import config, wire

    config.EXCHANGE = "ib"
    from src.agents.base_agent import BaseAgent
    from src.agents.strategy_agent import StrategyAgent

    agent = BaseAgent("any", use_exchange_manager=True)
    answer = {"exchange": agent.exchange, "tokens": agent.get_active_tokens(), "asked": wire.calls}
    try:
        StrategyAgent()
    except ValueError as error:
        answer["strategy"] = str(error)
    try:
        import src.agents.trading_agent  # noqa: F401
    except SystemExit as end:
        answer["trading"] = end.code
    return answer


def test_ib_is_no_exchange_and_a_base_agent_slips_to_solana(host: Path) -> None:
    assert tell(host, unknown_exchange).result == {
        "exchange": "solana",
        "tokens": [],
        "asked": [],
        "strategy": "Unknown exchange: ib",
        "trading": 1,
    }


def risk_agent(before: float, after: float | None, answer: str) -> Any:
    """The account held `before` when the agent began, and now `after`; None is a lost connection that comes back for
    the second question. What was sold."""
    from src import config, wire

    config.MONITORED_TOKENS[:] = ["AAPL"]
    usd = [before]
    fails = []

    def wallet(**_: object) -> object:
        if fails:
            fails.pop()
            return None
        return [] if not usd[0] else [("AAPL", 10.0 if not wire.asked("swap") else 0.0, usd[0])]

    def sold(**_: object) -> str:
        usd[0] = 0.0
        return "done"

    wire.answers.update({"birdeye.wallet": wallet, "solana.decimals": 6, "jupiter.swap": sold, "llm.anthropic": answer})
    from src.agents.risk_agent import RiskAgent

    agent = RiskAgent()
    if after is None:
        fails.extend([1] * 4)
    else:
        usd[0] = after
    agent.run()
    return sum(call["units"] for call in wire.asked("swap"))


def test_the_risk_agent_sells_whatever_the_model_says(host: Path) -> None:
    assert tell(host, risk_agent, before=1000.0, after=900.0, answer="HOLD_POSITIONS").result == 9_999_999


def test_a_gain_is_a_loss(host: Path) -> None:
    assert tell(host, risk_agent, before=1000.0, after=1030.0, answer="HOLD_POSITIONS").result > 0
    assert tell(host, risk_agent, before=1000.0, after=1010.0, answer="HOLD_POSITIONS").result == 0


def test_a_moment_without_connection_liquidates(host: Path) -> None:
    assert tell(host, risk_agent, before=1000.0, after=None, answer="HOLD_POSITIONS").result > 0


def bars_of_solana() -> Any:
    from src import wire

    wire.answers["birdeye.ohlcv"] = [
        {"unixTime": 60 * minute, "o": 1.0, "h": 1.0, "l": 1.0, "c": float(minute), "v": 1.0} for minute in range(5)
    ]
    from src import nice_funcs as n

    first, second = n.get_data("MINT", 0.33, "15m"), n.get_data("MINT", 0.083, "5m")
    return {
        "rows": len(first),
        "closes": first["Close"].head(3).tolist(),
        "second": second.columns.tolist()[:2],
        "asked": len(wire.asked("ohlcv")),
    }


def test_bars_are_invented_and_an_answer_serves_another_question(host: Path) -> None:
    assert tell(host, bars_of_solana).result == {
        "rows": 40,
        "closes": [0.0, 0.0, 0.0],
        "second": ["Unnamed: 0", "Datetime (UTC)"],
        "asked": 1,
    }


def rebalance() -> Any:
    from src import wire

    wallet = [("AAPL", 100.0, 1000.0)]

    def sold(**_: object) -> str:
        wallet.clear()
        return "done"

    wire.answers.update({"birdeye.wallet": lambda **_: list(wallet), "solana.decimals": 0, "jupiter.swap": sold})
    from src.agents.portfolio_rebalancing_agent import PortfolioRebalancingAgent
    from src.models.portfolio_models import Order, OrderSide, PortfolioConfig

    agent = PortfolioRebalancingAgent(PortfolioConfig("one", {"momentum": 1.0}, dry_run=False))
    agent.strategy_token_map = {"momentum": ["AAPL"]}
    agent._execute_orders([Order("momentum", OrderSide.SELL, 50.0)])
    return sum(call["units"] for call in wire.asked("swap"))


def test_the_rebalancer_sells_everything_to_sell_a_twentieth(host: Path) -> None:
    assert tell(host, rebalance).result == 99


def tracker() -> Any:
    from src.data.position_tracker import PositionTracker

    one = PositionTracker("one.db")
    number = one.add_position("AAPL", 100.0, -10)
    one.close_position(number, 90.0)
    PositionTracker("one.db")
    return one.get_symbol_history("TLRY").shape[0], one.get_position(number)["profit_loss_pct"]


def test_the_tracker_invents_a_trade_each_time_and_knows_no_shorts(host: Path) -> None:
    told = tell(host, tracker)
    assert told.result == [2, pytest.approx(-10.0)]
    assert "Schema error" in told.out


def test_upstream_ends_the_process_and_the_documented_start_fails(host: Path, tmp_path: Path) -> None:
    upstream = write_host(tmp_path / "upstream", Variant.UPSTREAM)
    ended = run(upstream, [sys.executable, "-c", "import src.agents.trading_agent"])
    assert (ended.code, "no Aster client" in ended.out) == (1, True)
    documented = run(host, [sys.executable, "src/agents/trading_agent.py"], env={"PYTHONPATH": ""})
    assert "No module named 'src'" in documented.err
