"""The contract: a host's trading, strategy and risk agents run unmodified on the paper gateway with scripted models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .contract import Host, Stage
from .market import Market

#: Of the room of one position under the default limits, the part that the host may ask for.
LARGEST = 0.95 * 10_000
Day = dict[str, Any]


def trading_agent(symbols: list[str], answers: list[str]) -> Any:
    """As many cycles as there are answers for all symbols. The agent's own code, single model."""
    said.clear()
    from src.agents import trading_agent as module
    from src.models.base_model import ModelResponse
    from src.models.model_factory import model_factory

    texts, asked = iter(answers), []

    class Scripted:
        model_name = "scripted"

        def generate_response(self, system_prompt: str, user_content: str, **_: object) -> object:
            asked.append(user_content)
            return ModelResponse(content=next(texts), raw_response=None, model_name=self.model_name)

    module.USE_SWARM_MODE = False
    module.AI_MODEL_TYPE = "xai"
    module.SYMBOLS[:] = symbols
    model_factory._models["xai"] = Scripted()
    agent = module.TradingAgent()
    owned = []
    for _ in range(len(answers) // len(symbols)):
        agent.run_trading_cycle()
        held = {row.instrument.symbol: int(row.quantity) for row in broker.sync().owned_positions()}
        owned.append([held.get(symbol, 0) for symbol in symbols])
    return {
        "owned": owned,
        "actions": agent.recommendations_df["action"].tolist(),
        "exchange": module.EXCHANGE,
        "bars": "open" in asked[0],
        "asked": len(asked),
        "said": list(said),
        "left": left_the_machine(),
    }


def swarm(symbol: str, answers: list[str | None]) -> Any:
    """One cycle in which each of the swarm's models says one of `answers`; None is a model that fails."""
    said.clear()
    from src.agents import trading_agent as module
    from src.models.base_model import ModelResponse

    class Scripted:
        def __init__(self, answer: str | None) -> None:
            self.model_name = "scripted"
            self.answer = answer

        def generate_response(self, system_prompt: str, user_content: str, **_: object) -> object:
            if self.answer is None:
                raise ConnectionError("no such model today")
            return ModelResponse(content=self.answer, raw_response=None, model_name=self.model_name)

    module.USE_SWARM_MODE = True
    module.SYMBOLS[:] = [symbol]
    agent = module.TradingAgent()
    agent.swarm.active_models = {
        f"model{number}": {"model": Scripted(answer), "type": "xai", "name": "scripted"}
        for number, answer in enumerate(answers)
    }
    agent.run_trading_cycle()
    row = agent.recommendations_df.iloc[-1]
    return {"action": row["action"], "confidence": row["confidence"], "said": list(said), "left": left_the_machine()}


def strategy_agent(symbol: str, decisions: list[str]) -> Any:
    """A strategy that says BUY and SELL by turns; what the model says of each."""
    said.clear()
    from itertools import cycle
    from types import SimpleNamespace

    from src.agents import strategy_agent as module

    # The host's 25 dollars buy no share.
    module.usd_size = 10_000
    agent = module.StrategyAgent()
    directions = cycle(["BUY", "SELL"])
    agent.enabled_strategies = [
        SimpleNamespace(
            name="one",
            generate_signals=lambda: {"token": symbol, "signal": 0.9, "direction": next(directions), "metadata": {}},
        )
    ]
    texts = iter(decisions)
    message = SimpleNamespace(create=lambda **_: SimpleNamespace(content=[SimpleNamespace(text=next(texts))]))
    agent.client = SimpleNamespace(messages=message)
    approved = [len(agent.get_signals(symbol)) for _ in decisions]
    return {"approved": approved, "said": list(said), "left": left_the_machine()}


def risk_agent(symbol: str, days: list[list[Any]]) -> Any:
    """The agent owns something; each of `days` is what it believes to have lost, in dollars, and what its model says.
    Of each: whether it was asked about the symbol, and the shares that are left."""
    said.clear()
    from dataclasses import dataclass
    from types import SimpleNamespace

    from src import nice_funcs as n
    from src.agents import risk_agent as module

    @dataclass
    class TextBlock:
        citations: None
        text: str
        type: str = "text"

    n.market_buy(symbol, 3000, 199)
    agent = module.RiskAgent()
    start, rows = agent.start_balance, []
    for lost, answer in days:
        seen = []

        def create(answer: str = answer, seen: list[str] = seen, **asked: Any) -> object:
            seen.append(asked["messages"][0]["content"])
            return SimpleNamespace(content=[TextBlock(None, answer)])

        agent.client = SimpleNamespace(messages=SimpleNamespace(create=create))
        agent.start_balance = agent.get_portfolio_value() + lost
        agent.run()
        rows.append([symbol in "".join(seen), n.get_position(symbol)])
    return {"start": start, "rows": rows, "said": list(said), "left": left_the_machine()}


@pytest.fixture(scope="module")
def day(host: Host, market: Market, unused: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """All agents in one process, one after the other, each with symbols of its own."""
    stage = Stage(host, market, market.serve(tmp_path_factory.mktemp("day") / "state"), unused)
    symbols = stage.symbols(5)
    first, second, third, fourth, fifth = symbols
    cycles = [
        *("BUY\nConfidence: 80%", "NOTHING\nunclear"),
        *("NOTHING\nfine as it is", "NOTHING"),
        *("**SELL**\nthe trend is down", "SELL"),
    ]
    days = [[0.0, "CLOSE_ALL"], [1_000.0, "HOLD_POSITIONS\nit'll come back"], [1_000.0, "CLOSE_ALL"]]
    acts: list[tuple[Any, dict[str, Any]]] = [
        (trading_agent, {"symbols": [first, second], "answers": cycles}),
        (swarm, {"symbol": third, "answers": ["Buy", "**Buy**", None, "Sell"]}),
        (strategy_agent, {"symbol": fourth, "decisions": ["EXECUTE signal_1\nwhy", "EXECUTE"]}),
        (risk_agent, {"symbol": fifth, "days": days}),
    ]
    answers = stage.tell_all(acts, symbols).result
    yield {story.__name__: (named, answer) for (story, named), answer in zip(acts, answers, strict=True)}
    market.flatten()


def test_the_trading_agent_buys_holds_and_sells_within_the_limits(stage: Stage, day: Day) -> None:
    named, told = day["trading_agent"]
    first, second = named["symbols"]
    buy, sell = stage.market.orders(first, second)
    shares = float(buy["filled"])
    assert (buy["symbol"], buy["side"], sell["symbol"], sell["side"]) == (first, "BUY", first, "SELL")
    assert 0.8 * LARGEST < shares * float(buy["limit_price"]) <= LARGEST
    assert float(sell["filled"]) == shares
    assert told["owned"] == [[shares, 0], [shares, 0], [0, 0]]
    assert told["actions"] == ["SELL", "SELL"]
    assert any("the limits allow" in text for text in told["said"])
    assert told["exchange"] == "ASTER"
    assert told["bars"]
    assert told["asked"] == 6
    assert told["left"] == []


def test_a_swarm_buys_by_the_majority_of_those_who_answered(stage: Stage, day: Day) -> None:
    named, told = day["swarm"]
    assert (told["action"], told["confidence"]) == ("BUY", 66)
    # The risk agent came last, and its model said to close all that this journal owns.
    assert [row["side"] for row in stage.market.orders(named["symbol"])] == ["BUY", "SELL"]
    assert told["left"] == []


def test_the_strategy_agent_trades_what_its_model_approves(stage: Stage, day: Day) -> None:
    named, told = day["strategy_agent"]
    assert told["approved"] == [1, 1]
    buy, sell = stage.market.orders(named["symbol"])
    assert (buy["side"], sell["side"]) == ("BUY", "SELL")
    assert 0.8 * 2700 < float(buy["filled"]) * float(buy["limit_price"]) <= 2700
    assert sell["filled"] == buy["filled"]
    assert told["left"] == []


def test_the_risk_agent_sees_net_liquidation_and_does_what_its_model_says(stage: Stage, day: Day) -> None:
    named, told = day["risk_agent"]
    assert told["start"] == pytest.approx(100_000, rel=0.01)
    buy, sell = stage.market.orders(named["symbol"])
    shares = float(buy["filled"])
    assert told["rows"] == [[False, shares], [True, shares], [True, 0]]
    assert (buy["side"], sell["side"], sell["filled"]) == ("BUY", "SELL", buy["filled"])
    assert told["left"] == []
