"""Each hazard that test_bare_hazards.py shows, with IB attached: what happens now, by the exchange's own books."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .contract import Host, HostName, Stage, open_host
from .market import Market

Day = dict[str, Any]


@pytest.fixture(scope="module", params=[HostName.LOOKALIKE, HostName.FORK, HostName.UPSTREAM], ids=str)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Host:
    return open_host(request.param, tmp_path_factory.mktemp("host") / "host")


def answers_of_models(symbol: str, answers: list[str]) -> Any:
    """One cycle for each answer, flat; then one swarm whose models say all of them."""
    said.clear()
    from src.agents import trading_agent as module
    from src.models.base_model import ModelResponse
    from src.models.model_factory import model_factory

    class Scripted:
        def __init__(self, texts: list[str]) -> None:
            self.model_name, self.texts = "scripted", iter(texts)

        def generate_response(self, **_: object) -> object:
            return ModelResponse(content=next(self.texts), raw_response=None, model_name="scripted")

    module.AI_MODEL_TYPE = "xai"
    module.SYMBOLS[:] = [symbol]
    module.USE_SWARM_MODE = False
    model_factory._models["xai"] = Scripted(answers)
    agent = module.TradingAgent()
    actions = []
    for _ in answers:
        agent.run_trading_cycle()
        actions += agent.recommendations_df["action"].tolist()
    single = list(said)
    module.USE_SWARM_MODE = True
    agent = module.TradingAgent()
    agent.swarm.active_models = {
        f"model{number}": {"model": Scripted([text]), "type": "xai", "name": "scripted"}
        for number, text in enumerate(answers)
    }
    agent.run_trading_cycle()
    swarm = agent.recommendations_df["action"].tolist()
    return {"actions": actions, "swarm": swarm, "single": single, "said": said[len(single) :]}


def sizes(symbol: str) -> Any:
    """Too much is refused with what would fit; what nobody can want is refused as well."""
    from src import nice_funcs as n
    from src import nice_funcs_aster as aster

    refused = {}
    for what, order in {
        "leverage": lambda: aster.ai_entry(symbol, 810_000.0, leverage=9),
        "text": lambda: n.ai_entry(symbol, "3000000"),
        "nan": lambda: n.market_buy(symbol, float("nan"), 199),
        "short": lambda: aster.open_short(symbol, 1000.0, 199, leverage=9),
        "nothing": lambda: n.market_buy(symbol, 3, 199),
    }.items():
        try:
            refused[what] = f"answered {order()!r}"
        except Exception as error:
            refused[what] = f"{type(error).__name__}: {error}"
    return refused


def replays(symbol: str) -> Any:
    """The agent buys; the position is closed behind its back; its next cycle has nothing to say, and then it buys."""
    said.clear()
    from src import nice_funcs_aster as n
    from src.agents import trading_agent as module
    from src.models.base_model import ModelResponse
    from src.models.model_factory import model_factory

    texts = iter(["BUY", "NOTHING", "BUY"])

    class Scripted:
        model_name = "scripted"

        def generate_response(self, **_: object) -> object:
            return ModelResponse(content=next(texts), raw_response=None, model_name="scripted")

    module.USE_SWARM_MODE = False
    module.AI_MODEL_TYPE = "xai"
    module.SYMBOLS[:] = [symbol]
    model_factory._models["xai"] = Scripted()
    agent = module.TradingAgent()
    agent.run_trading_cycle()
    position = n.get_position(symbol)
    whole = position["position_amount"] * position["mark_price"]
    n.limit_sell(symbol, whole, slippage=0, leverage=9)
    rows = [n.get_position(symbol)]
    agent.run_trading_cycle()
    rows.append(n.get_position(symbol))
    agent.run_trading_cycle()
    rows.append(n.get_position(symbol))
    return {"rows": rows, "said": list(said)}


def lost_link(symbol: str, how: str) -> Any:
    """A position is owned when `how` is lost: what each read says, what the agents do, and how it is afterwards."""
    said.clear()
    import time

    from src import nice_funcs as n
    from src import nice_funcs_aster as aster
    from src.agents import risk_agent, trading_agent
    from src.exchange_manager import ExchangeManager
    from src.models.base_model import ModelResponse
    from src.models.model_factory import model_factory

    class Buyer:
        model_name = "scripted"

        def generate_response(self, **_: object) -> object:
            return ModelResponse(content="BUY", raw_response=None, model_name="scripted")

    n.market_buy(symbol, 3000, 199)
    em = ExchangeManager("ib")
    risk = risk_agent.RiskAgent()
    trading_agent.USE_SWARM_MODE = False
    trading_agent.AI_MODEL_TYPE = "xai"
    trading_agent.SYMBOLS[:] = [symbol]
    model_factory._models["xai"] = Buyer()
    agent = trading_agent.TradingAgent()
    risk_agent.USE_AI_CONFIRMATION = False
    pause(f"{how} is lost")
    deadline = time.monotonic() + 10
    while broker.sync().health().can_trade:
        assert time.monotonic() < deadline, "nobody noticed that the link is lost"
        time.sleep(0.01)
    told = {}
    for name, read in {
        "price": lambda: n.token_price(symbol),
        "position": lambda: aster.get_position(symbol),
        "balance": lambda: n.get_token_balance_usd(symbol),
        "wallet": lambda: n.fetch_wallet_holdings_og("any"),
        "account": aster.get_account_balance,
        "cash": em.get_balance,
        "all": em.get_all_positions,
        "value": risk.get_portfolio_value,
        "buy": lambda: n.market_buy(symbol, 1000, 199),
    }.items():
        try:
            told[name] = f"answered {read()!r}"
        except Exception as error:
            told[name] = type(error).__name__
    agent.run_trading_cycle()
    for act in (risk.run, risk.check_risk_limits, lambda: risk.handle_limit_breach("MINIMUM_BALANCE", 0.0)):
        try:
            act()
        except Exception as error:
            told["risk"] = type(error).__name__
    pause(f"{how} is back")
    deadline = time.monotonic() + 20
    while not broker.sync().health().can_trade:
        assert time.monotonic() < deadline, "nobody noticed that the link is back"
        time.sleep(0.01)
    return {"told": told, "after": n.get_position(symbol), "said": list(said)}


def gains(symbol: str) -> Any:
    """Up 30 dollars, where 25 may be lost and 50 may be won."""
    from types import SimpleNamespace

    from src import nice_funcs as n
    from src.agents import risk_agent as module

    module.USE_AI_CONFIRMATION = False
    module.MAX_GAIN_USD = 50
    module.MONITORED_TOKENS[:] = [symbol]
    n.market_buy(symbol, 3000, 199)
    agent = module.RiskAgent()
    agent.client = SimpleNamespace()
    agent.start_balance = agent.get_portfolio_value() - 30
    agent.run()
    within = n.get_position(symbol)
    agent.start_balance = agent.get_portfolio_value() - 60
    agent.run()
    return [within, n.get_position(symbol)]


def words(symbol: str, answer: str) -> Any:
    """A loss; the model says why it wants to close, as models do."""
    from dataclasses import dataclass
    from types import SimpleNamespace

    from src import nice_funcs as n
    from src.agents import risk_agent as module

    @dataclass
    class TextBlock:
        citations: None
        text: str
        type: str = "text"

    module.USE_AI_CONFIRMATION = True
    module.MONITORED_TOKENS[:] = [symbol]
    n.market_buy(symbol, 3000, 199)
    agent = module.RiskAgent()
    message = SimpleNamespace(create=lambda **_: SimpleNamespace(content=[TextBlock(None, answer)]))
    agent.client = SimpleNamespace(messages=message)
    agent.start_balance += 1000
    agent.run()
    return n.get_position(symbol)


def nearly_there(symbol: str) -> Any:
    """The position is as near to its target as whole shares come; the host asks for the same target again."""
    from src import nice_funcs as n
    from src import nice_funcs_aster as aster

    first = aster.ai_entry(symbol, 3000, leverage=9)
    return [first, aster.ai_entry(symbol, 3000, leverage=9), n.ai_entry(symbol, 3000)]


def strangers(owned: str, foreign: str) -> Any:
    """The account holds something that this journal did not open; every way of closing is tried on it."""
    said.clear()
    from src import nice_funcs as n
    from src import nice_funcs_aster as aster
    from src.agents import risk_agent as module
    from src.config import MONITORED_TOKENS
    from src.exchange_manager import ExchangeManager

    n.market_buy(owned, 3000, 199)
    pause("somebody buys by hand")
    MONITORED_TOKENS[:] = [owned, foreign]
    seen = {"position": n.get_position(foreign), "wallet": n.fetch_wallet_holdings_og("any")["Mint Address"].tolist()}
    em = ExchangeManager("ib")
    refused = []
    for close in (
        lambda: n.chunk_kill(foreign, 3, 199),
        lambda: n.kill_switch(foreign),
        lambda: aster.chunk_kill(foreign, 3, 199),
        lambda: em.close_position(foreign),
        lambda: n.market_sell(foreign, 10, 199),
    ):
        try:
            refused.append(f"answered {close()!r}")
        except Exception as error:
            refused.append(type(error).__name__)
    agent = module.RiskAgent()
    agent.close_all_positions()
    left = n.get_position(owned)
    return {**seen, "refused": refused, "left": left}


def bars(symbol: str) -> Any:
    """Two questions have two answers, and neither has bars that never were."""
    from src import nice_funcs as n

    first, second = n.get_data(symbol, 5.5, "1H"), n.get_data(symbol, 5.5, "30m")
    return [[len(one), one["Datetime (UTC)"].is_unique, "RSI" in one.columns] for one in (first, second)]


def rebalancer(symbol: str) -> Any:
    from types import SimpleNamespace

    from src import nice_funcs as n
    from src.agents import portfolio_rebalancing_agent as module
    from src.models.portfolio_models import OrderSide

    n.market_buy(symbol, 9000, 199)
    before = n.get_position(symbol)
    agent = SimpleNamespace(config=SimpleNamespace(dry_run=False), strategy_token_map={"momentum": [symbol]})
    order = SimpleNamespace(strategy_id="momentum", side=OrderSide.SELL, amount_usd=3000.0)
    module.PortfolioRebalancingAgent._execute_orders(agent, [order])
    return [before, n.get_position(symbol)]


def closed_market(symbol: str) -> Any:
    """Something is owned when the market closes; then the host buys more, and closes what it has."""
    said.clear()
    from src import nice_funcs as n
    from src import nice_funcs_aster as aster

    n.market_buy(symbol, 3000, 199)
    pause("the market closes")
    told = []
    for act in (lambda: n.market_buy(symbol, 1000, 199), lambda: aster.ai_entry(symbol, 5000, leverage=1)):
        try:
            told.append(f"answered {act()!r}")
        except Exception as error:
            told.append(f"{type(error).__name__}: {error}")
    return told


@pytest.fixture(scope="module")
def day(host: Host, market: Market, unused: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """All hazards in one process, each with symbols of its own."""
    stage = Stage(host, market, market.serve(tmp_path_factory.mktemp("day") / "state"), unused)
    symbols = stage.symbols(13)
    foreign = symbols[5]
    acts: list[tuple[Any, dict[str, Any]]] = [
        (answers_of_models, {"symbol": symbols[0], "answers": LOOSE}),
        (sizes, {"symbol": symbols[1]}),
        (replays, {"symbol": symbols[2]}),
        (lost_link, {"symbol": symbols[3], "how": "TWS"}),
        (lost_link, {"symbol": symbols[9], "how": "IB behind TWS"}),
        (strangers, {"owned": symbols[4], "foreign": foreign}),
        (gains, {"symbol": symbols[6]}),
        (bars, {"symbol": symbols[7]}),
        (words, {"symbol": symbols[10], "answer": "CLOSE_ALL\nit won't come back"}),
        (nearly_there, {"symbol": symbols[11]}),
    ]
    if host.has("src/agents/portfolio_rebalancing_agent.py"):
        acts.append((rebalancer, {"symbol": symbols[8]}))
    acts.append((closed_market, {"symbol": symbols[12]}))
    meanwhile: dict[str, Callable[[], object]] = {
        "the market closes": lambda: market.tell("advance_by", 7 * 3600),
        "TWS is lost": lambda: [market.tell("fault", name) for name in ("no-handshake", "reset")],
        "TWS is back": lambda: market.tell("release", "no-handshake"),
        "IB behind TWS is lost": lambda: market.tell("fault", "1100:lose"),
        "IB behind TWS is back": lambda: market.tell("fault", "1102"),
        "somebody buys by hand": lambda: market.tell("fault", f"manual-order:{foreign}:50"),
    }
    told = stage.tell_all(acts, symbols, meanwhile)
    rows = [(story.__name__, named, answer) for (story, named), answer in zip(acts, told.result, strict=True)]
    yield {f"{name} {named.get('how', '')}".strip(): (named, answer) for name, named, answer in rows}
    market.tell("advance_to", market.tell("next_session")["open"])
    market.tell("advance_by", 60)
    market.flatten()


#: None of them is exactly one of the three words.
LOOSE = [
    "**SELL** because the trend is down",
    "Let me think about it first.",
    "I would not buy here",
    "Do not BUY",
    "BUY or SELL, who knows",
]


def test_an_answer_that_is_not_exact_is_nothing_and_is_told(stage: Stage, day: Day) -> None:
    named, told = day["answers_of_models"]
    assert told["actions"] == ["NOTHING"] * len(LOOSE)
    assert len([text for text in told["single"] if "taken as NOTHING" in text]) == len(LOOSE)
    assert stage.market.orders(named["symbol"]) == []


def test_models_that_would_not_buy_are_no_buyers(day: Day) -> None:
    _, told = day["answers_of_models"]
    assert told["swarm"] == ["NOTHING"]
    assert len([text for text in told["said"] if "model" in text and "taken as NOTHING" in text]) == len(LOOSE)


def test_too_much_is_refused_with_the_largest_that_fits(stage: Stage, day: Day) -> None:
    named, told = day["sizes"]
    assert told["leverage"].startswith("RiskRefusal")
    largest = re.search(r"(\d+) shares|largest[^0-9]*(\d+)", told["leverage"])
    assert largest is not None, told["leverage"]
    assert told["text"].startswith("InvalidOrder")
    assert told["nan"].startswith("InvalidOrder")
    assert told["short"].startswith("RiskRefusal")
    assert told["nothing"].startswith("InvalidOrder")
    assert stage.market.orders(named["symbol"]) == []


def test_an_earlier_answer_is_not_carried_out_again_and_a_second_entry_is_refused(stage: Stage, day: Day) -> None:
    named, told = day["replays"]
    assert [row["side"] for row in stage.market.orders(named["symbol"])] == ["BUY", "SELL"]
    assert told["rows"] == [None, None, None]
    assert stage.market.held(named["symbol"]) == 0


@pytest.mark.parametrize("how", ["TWS", "IB behind TWS"])
def test_a_lost_link_raises_everywhere_and_moves_nothing(stage: Stage, day: Day, how: str) -> None:
    named, told = day[f"lost_link {how}"]
    assert {name: text for name, text in told["told"].items() if text.startswith("answered")} == {}
    assert len(told["told"]) == 10
    (buy,) = stage.market.orders(named["symbol"])
    assert told["after"] == stage.market.held(named["symbol"]) == float(buy["filled"])


def test_a_gain_within_its_own_limit_closes_nothing(stage: Stage, day: Day) -> None:
    named, (within, beyond) = day["gains"]
    assert within > 0
    assert beyond == 0
    assert [row["side"] for row in stage.market.orders(named["symbol"])] == ["BUY", "SELL"]


def test_nothing_is_bought_while_the_market_is_closed(stage: Stage, day: Day) -> None:
    named, told = day["closed_market"]
    assert [text for text in told if text.startswith("answered")] == []
    assert all("RiskRefusal" in text or "StaleData" in text for text in told), told
    assert [row["side"] for row in stage.market.orders(named["symbol"])][:1] == ["BUY"]
    assert len(stage.market.orders(named["symbol"])) == 1


def test_a_model_that_says_why_is_understood(stage: Stage, day: Day) -> None:
    named, left = day["words"]
    assert left == 0
    assert [row["side"] for row in stage.market.orders(named["symbol"])] == ["BUY", "SELL"]


def test_a_position_as_near_to_its_target_as_shares_come_is_kept(stage: Stage, day: Day) -> None:
    named, told = day["nearly_there"]
    assert told == [True, False, None]
    assert [row["side"] for row in stage.market.orders(named["symbol"])] == ["BUY"]


def test_every_way_of_closing_leaves_alone_what_this_journal_did_not_open(stage: Stage, day: Day) -> None:
    named, told = day["strangers"]
    assert told["position"] == 0
    assert named["foreign"] not in told["wallet"]
    assert [text for text in told["refused"] if text.startswith("answered")] == []
    assert told["left"] == 0
    assert stage.market.held(named["foreign"]) == 50
    assert stage.market.held(named["owned"]) == 0


def test_bars_are_those_that_were_asked_for_and_none_is_made_up(day: Day) -> None:
    _, ((hours, unique, rsi), (halves, also_unique, also)) = day["bars"]
    assert (unique, also_unique, rsi, also) == (True, True, True, True)
    assert 5 < hours < 40
    assert hours < halves


def test_the_rebalancer_sells_what_it_names(stage: Stage, day: Day) -> None:
    stage.host.needs("src/agents/portfolio_rebalancing_agent.py")
    named, (before, after) = day["rebalancer"]
    (_, sell) = stage.market.orders(named["symbol"])
    assert before - after == float(sell["filled"])
    assert 2400 < float(sell["filled"]) * 300 <= 3300
