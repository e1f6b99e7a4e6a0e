"""The contract: a host's helper functions, exchange manager, base agent and model factory, answered from IB."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from ..agents.llm.ollama_server import ollama_server
from .contract import Host, Stage
from .market import Market

MINT = "9BB6NFEcjBCtnNLFko2FqVQBq8HHM13kCyYcdQbgpump"
SOLANA_COLUMNS = [
    *("Datetime (UTC)", "Open", "High", "Low", "Close", "Volume"),
    *("MA20", "RSI", "MA40", "Price_above_MA20", "Price_above_MA40", "MA20_above_MA40"),
]
BARS = ["timestamp", "open", "high", "low", "close", "volume"]


#: Story -> its symbol, and what it answered.
Day = dict[str, Any]


@pytest.fixture(scope="module")
def day(host: Host, market: Market, unused: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """All these stories in one process of the host, one after the other, each with a symbol of its own."""
    stage = Stage(host, market, market.serve(tmp_path_factory.mktemp("day") / "state"), unused)
    stories = [solana_shape, aster_shape, exchange_manager, names_taken_by_import]
    if host.has("src/nice_funcs_robinhood.py"):
        stories.append(robinhood_shape)
    symbols = stage.symbols(len(stories))
    acts = [(story, {"symbol": symbol}) for story, symbol in zip(stories, symbols, strict=True)]
    if host.wire:
        acts.append((tokens_of_others, {"mint": MINT}))
    acts.append((base_agent, {}))
    files = {path: path.read_bytes() for path in host.root.rglob("*.py")}
    answers = stage.tell_all(acts, symbols).result
    assert {path: path.read_bytes() for path in host.root.rglob("*.py")} == files, "the host was edited"
    told = {story.__name__: (named.get("symbol"), answer) for (story, named), answer in zip(acts, answers, strict=True)}
    yield {**told, "symbols": ("", symbols)}
    market.flatten()


def bought_and_sold(stage: Stage, symbol: str) -> int:
    """Shares, where the exchange's books hold one buy, and sells of all of it; nothing else in the symbol."""
    buy, *sells = stage.market.orders(symbol)
    assert (buy["side"], buy["status"]) == ("BUY", "Filled")
    assert {row["side"] for row in sells} == {"SELL"}
    assert sum(float(row["filled"]) for row in sells) == float(buy["filled"])
    assert stage.market.held(symbol) == 0
    return int(float(buy["filled"]))


def solana_shape(symbol: str) -> Any:
    from src import nice_funcs as n

    return {
        "price": n.token_price(symbol),
        "bought": n.market_buy(token=symbol, amount=2000, slippage=199),
        "shares": n.get_position(symbol),
        "usd": n.get_token_balance_usd(symbol),
        "wallet": n.fetch_wallet_holdings_og("any").values.tolist(),
        "bars": n.get_data(symbol, 3, "1H").columns.tolist(),
        "few": len(n.get_data(symbol, 0.083, "5m")),
        "added": n.get_ohlcv_data(symbol, "15m", 0.33).columns.tolist(),
        "killed": n.chunk_kill(token_mint_address=symbol, max_usd_order_size=3, slippage=199),
        "left": n.get_position(symbol),
        "asked": left_the_machine(),
    }


def test_solana_helpers_buy_tell_and_close_a_ticker(stage: Stage, day: Day) -> None:
    symbol, told = day["solana_shape"]
    shares = bought_and_sold(stage, symbol)
    assert len(stage.market.orders(symbol)) == 2
    assert shares == told["shares"] == told["wallet"][0][1]
    assert 0.8 * 2000 < shares * told["price"] <= 2000
    assert told["usd"] == pytest.approx(shares * told["price"], rel=0.02)
    assert told["bars"] == SOLANA_COLUMNS
    assert 0 < told["few"] < 40
    assert set(BARS) <= set(told["added"])
    assert [row["order_ref"] for row in stage.market.orders(symbol)] == [told["bought"], told["killed"]]
    assert told["left"] == 0
    assert told["asked"] == []


def aster_shape(symbol: str) -> Any:
    from src import nice_funcs_aster as n

    flat = n.get_position(symbol)
    entered = n.ai_entry(symbol, 9000, leverage=9)
    position = n.get_position(symbol)
    again = n.ai_entry(symbol, 9000, leverage=9)
    sold = n.limit_sell(symbol, 3000, slippage=0, leverage=9)
    half = n.get_token_balance_usd(symbol)
    bid, ask = n.get_best_bid_ask(symbol)
    return {
        "flat": flat,
        "entered": entered,
        "again": bool(again),
        "position": {name: position[name] for name in ("symbol", "position_amount", "is_long", "leverage")},
        "sold": sold["success"],
        "half": half,
        "spread": ask >= bid > 0,
        "balance": sorted(n.get_account_balance()),
        "closed": n.chunk_kill(symbol, 3, 199),
        "after": n.get_position(symbol),
        "said": said,
        "asked": left_the_machine(),
    }


def test_aster_helpers_use_no_leverage_and_no_chunks(stage: Stage, day: Day) -> None:
    symbol, told = day["aster_shape"]
    shares = bought_and_sold(stage, symbol)
    assert len(stage.market.orders(symbol)) == 3
    assert told["position"] == {"symbol": symbol, "position_amount": shares, "is_long": True, "leverage": 1}
    assert (told["flat"], told["after"]) == (None, None)
    assert (told["entered"], told["again"], told["sold"], told["closed"]) == (True, False, True, True)
    assert told["half"] == pytest.approx(6000, rel=0.2)
    assert told["spread"]
    assert {"available", "total_equity", "position_margin", "unrealized_pnl"} <= set(told["balance"])
    assert any("leverage 9" in text for text in told["said"])
    assert told["asked"] == []


def robinhood_shape(symbol: str) -> Any:
    from src import nice_funcs_robinhood as n

    return {
        "flat": n.get_position(symbol)["has_position"],
        "bought": n.market_buy(symbol, 2000)["success"],
        "held": n.get_position(symbol)["quantity"],
        "all": [row["symbol"] for row in n.get_all_positions()],
        "half": n.market_sell(symbol, 50)["success"],
        "price": n._get_adapter().get_price(symbol),
        "bars": n.get_ohlcv_data(symbol, "1H", 3).columns.tolist(),
        "open": n.is_market_open(),
        "tiny": n.market_buy(symbol, 0.01),
        "killed": n.kill_switch(symbol)["success"],
        "value": n.get_account_value(),
        "balance": n.get_balance(),
    }


def test_robinhood_helpers_trade_whole_shares(stage: Stage, day: Day) -> None:
    stage.host.needs("src/nice_funcs_robinhood.py")
    symbol, told = day["robinhood_shape"]
    assert bought_and_sold(stage, symbol) == told["held"]
    assert len(stage.market.orders(symbol)) == 3
    assert (told["flat"], told["bought"], told["half"], told["killed"], told["open"]) == (False, True, True, True, True)
    assert told["all"] == [symbol]
    assert told["tiny"]["success"] is False
    assert "whole share" in told["tiny"]["error"]
    assert told["price"] > 0
    assert told["bars"] == BARS
    assert told["value"] == pytest.approx(100_000, rel=0.01)
    assert told["balance"] > 0


def tokens_of_others(mint: str) -> Any:
    from src import config, wire

    wire.calls.clear()
    from src import nice_funcs as n

    wire.answers["birdeye.price"] = {"success": True, "data": {"value": 0.5}}
    wire.answers["jupiter.swap"] = "swapped"
    answers = {
        "price": n.token_price(mint),
        "bought": n.market_buy(mint, 10, 199),
        "cash": n.get_token_balance_usd(config.USDC_ADDRESS),
        "crypto": n.token_price("BTC"),
        "asked": [call.get("address", call.get("buy")) for call in wire.calls],
    }
    try:
        n.market_buy(config.USDC_ADDRESS, 10, 199)
    except Exception as error:
        answers["refused"] = type(error).__name__
    return answers


def test_a_mint_goes_to_the_hosts_own_functions_and_cash_is_the_account(stage: Stage, day: Day) -> None:
    if not stage.host.wire:
        pytest.skip("the real host's own functions would go to the network")
    _, told = day["tokens_of_others"]
    assert told == {
        "price": 0.5,
        "bought": "swapped",
        "cash": pytest.approx(100_000, rel=0.2),
        "crypto": 0.5,
        "asked": [MINT, MINT, "BTC"],
        "refused": "InvalidOrder",
    }


def exchange_manager(symbol: str) -> Any:
    from src.exchange_manager import ExchangeManager, create_exchange_manager

    em = ExchangeManager()
    answers = {
        "names": [ExchangeManager(name).exchange for name in (None, "IB", "ibkr")],
        "made": create_exchange_manager("ib").exchange,
        "flat": em.get_position(symbol)["has_position"],
        "entered": em.ai_entry(symbol, 3000)["success"],
        "position": sorted(em.get_position(symbol)),
        "worth": em.get_token_balance_usd(symbol),
        "half": em.market_sell(symbol, 50)["success"],
        "price": em.get_current_price(symbol),
        "value": em.get_account_value(),
        "balance": em.get_balance(),
        "all": [row["symbol"] for row in em.get_all_positions()],
        "bars": em.get_data(symbol, 3, "1H").columns.tolist(),
        "wallet": em.fetch_wallet_holdings()["symbol"].tolist(),
        "leverage": em.set_leverage(symbol, 9)["actual_leverage"],
        "closed": em.close_position(symbol)["success"],
        "nothing": em.chunk_kill(symbol),
    }
    try:
        ExchangeManager("nobody")
    except ValueError as error:
        answers["unknown"] = str(error)
    return answers


def test_the_exchange_manager_knows_ib(stage: Stage, day: Day) -> None:
    symbol, told = day["exchange_manager"]
    bought_and_sold(stage, symbol)
    assert told["names"] == ["ib", "ib", "ib"]
    assert told["made"] == "ib"
    assert (told["flat"], told["entered"], told["half"], told["closed"]) == (False, True, True, True)
    assert {"has_position", "size", "symbol", "entry_price", "pnl_percent", "is_long", "raw_data"} <= set(
        told["position"]
    )
    assert told["worth"] == pytest.approx(3000, rel=0.1)
    assert told["price"] > 0
    assert told["value"] == pytest.approx(100_000, rel=0.01)
    assert told["all"] == told["wallet"] == [symbol]
    assert told["bars"] == BARS
    assert told["leverage"] == 1
    assert told["nothing"] is None
    assert "nobody" in told["unknown"]


def base_agent() -> Any:
    from src.agents.base_agent import BaseAgent
    from src.config import MONITORED_TOKENS, get_active_tokens

    agent = BaseAgent("any", use_exchange_manager=True)
    answers = {
        "exchange": agent.exchange,
        "manager": str(agent.em.exchange),
        "tokens": agent.get_active_tokens(),
        "config": get_active_tokens(),
        "shared": MONITORED_TOKENS,
    }
    from src import exchange_manager

    class Broken:
        def __init__(self) -> None:
            raise RuntimeError("no such exchange today")

    exchange_manager.ExchangeManager = Broken
    try:
        BaseAgent("any", use_exchange_manager=True)
    except Exception as error:
        answers["broken"] = type(error).__name__
    return answers


def test_a_base_agent_gets_ib_or_nothing(day: Day) -> None:
    _, told = day["base_agent"]
    assert told == {
        "exchange": "ib",
        "manager": "ib",
        "tokens": day["symbols"][1],
        "config": day["symbols"][1],
        "shared": day["symbols"][1],
        "broken": "ConfigurationError",
    }


def names_taken_by_import(symbol: str) -> Any:
    try:
        from src.agents import solana_agent
    except ImportError as error:
        return str(error)
    return solana_agent.token_price(symbol)


def test_names_that_an_agent_takes_by_import_are_ibs(stage: Stage, day: Day) -> None:
    price = day["names_taken_by_import"][1]
    if isinstance(price, str) and not stage.host.wire:
        pytest.skip(f"this interpreter lacks what the host's own module needs: {price}")
    assert price > 0


def gpu_model() -> Any:
    from src.models.model_factory import ModelFactory
    from src.models.model_factory import model_factory as factory

    attach_ib(["AAPL"])
    model = factory.get_model("gpu_ollama")
    response = model.generate_response("Be brief.", "BUY or SELL?", temperature=0.1, max_tokens=50)
    other = factory.get_model("gpu_ollama", "qwen3:32b")
    answers = {
        "type": model.model_type,
        "name": model.model_name,
        "content": response.content,
        "usage": response.usage,
        "other": other.model_name,
        "same": factory.get_model("gpu_ollama").model_name,
        "available": "gpu_ollama" in factory.available_models,
        "said": [text for text in said if "imported before" not in text],
    }
    answers["absent"] = factory.get_model("gpu_ollama", "absent:1b")
    answers["why"] = said[-1]
    pause("the server ends")
    try:
        answers["gone"] = model.generate_response("Be brief.", "BUY or SELL?")
    except Exception as error:
        answers["gone"] = f"raised {type(error).__name__}"
    detach()
    answers["after"] = "gpu_ollama" in ModelFactory.MODEL_IMPLEMENTATIONS
    return answers


def test_the_model_factory_knows_the_gpu_model(stage: Stage) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ollama_server())
        server.says("BUY", prompt_eval_count=5, eval_count=1)
        env = {"IB_OLLAMA_HOST": server.host}
        told = stage.tell(gpu_model, env=env, meanwhile={"the server ends": stack.close}).result
        assert [chat["model"] for chat in server.chats] == ["llama3.1:8b"]
    assert "gpu_ollama is not available" in (why := told.pop("why"))
    assert "absent:1b" in why
    assert told.pop("gone").startswith("raised")
    assert told == {
        "type": "gpu_ollama",
        "name": "llama3.1:8b",
        "content": "BUY",
        "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
        "other": "qwen3:32b",
        "same": "llama3.1:8b",
        "available": True,
        "said": [],
        "absent": None,
        "after": False,
    }
