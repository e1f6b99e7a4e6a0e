"""A language model, or a swarm of them, says BUY, SELL or NOTHING; the agent does it."""

from src.config import EXCHANGE

USE_SWARM_MODE = True
LONG_ONLY = True
AI_MODEL_TYPE = "xai"
AI_MODEL_NAME = None
AI_TEMPERATURE = 0.7
AI_MAX_TOKENS = 1024

USE_PORTFOLIO_ALLOCATION = False
MAX_POSITION_PERCENTAGE = 90
LEVERAGE = 9
STOP_LOSS_PERCENTAGE = 5.0
TAKE_PROFIT_PERCENTAGE = 5.0
PNL_CHECK_INTERVAL = 5
usd_size = 25
max_usd_order_size = 3

DAYSBACK_4_DATA = 3
DATA_TIMEFRAME = "1H"
SAVE_OHLCV_DATA = False
slippage = 199
SLEEP_BETWEEN_RUNS_MINUTES = 15

USDC_ADDRESS = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
SOL_ADDRESS = "So11111111111111111111111111111111111111111"
EXCLUDED_TOKENS = [USDC_ADDRESS, SOL_ADDRESS]
MONITORED_TOKENS = ["9BB6NFEcjBCtnNLFko2FqVQBq8HHM13kCyYcdQbgpump"]
SYMBOLS = ["BTC"]

TRADING_PROMPT = "First line: BUY, SELL or NOTHING. Then your reasons. {strategy_context}"
SWARM_TRADING_PROMPT = "One word: Buy, Sell or Do Nothing."

import json
import os
import sys
import time
from pathlib import Path

import pandas as pd

project_root = str(Path(__file__).parent.parent.parent)
if project_root not in sys.path:
    sys.path.append(project_root)

if EXCHANGE.upper() == "ASTER":
    from src import nice_funcs_aster as n
elif EXCHANGE.upper() == "HYPERLIQUID":
    from src import nice_funcs_hyperliquid as n
elif EXCHANGE.upper() == "SOLANA":
    from src import nice_funcs as n
else:
    print(f"Unknown exchange: {EXCHANGE}")
    sys.exit(1)

from src.data.ohlcv_collector import collect_all_tokens
from src.models.model_factory import model_factory
from src.agents.swarm_agent import SwarmAgent

FUTURES = ["ASTER", "HYPERLIQUID"]


def monitor_position_pnl(token, check_interval=PNL_CHECK_INTERVAL):
    try:
        while True:
            if EXCHANGE.upper() in FUTURES:
                position = n.get_position(token)
            else:
                position_usd = n.get_token_balance_usd(token)
                if position_usd == 0:
                    return True
                position = {"position_amount": position_usd}

            if not position or (EXCHANGE.upper() in FUTURES and position.get("position_amount", 0) == 0):
                return True

            if EXCHANGE.upper() in FUTURES:
                pnl_pct = position.get("pnl_percentage", 0)
                position_size = abs(position.get("position_amount", 0)) * position.get("mark_price", 0)
                if pnl_pct <= -STOP_LOSS_PERCENTAGE or pnl_pct >= TAKE_PROFIT_PERCENTAGE:
                    if position["position_amount"] > 0:
                        n.limit_sell(token, position_size, slippage=0, leverage=LEVERAGE)
                    else:
                        n.limit_buy(token, position_size, slippage=0, leverage=LEVERAGE)
                    return True

            time.sleep(check_interval)
    except KeyboardInterrupt:
        raise
    except Exception as e:
        print(f"monitoring failed: {e}")
        return False


def get_account_balance():
    try:
        if EXCHANGE.upper() in FUTURES:
            if EXCHANGE == "ASTER":
                balance_dict = n.get_account_balance()
                return balance_dict.get("total_equity", 0)
            return n.get_account_value(n._get_account_from_env())
        return n.get_token_balance_usd(USDC_ADDRESS)
    except Exception as e:
        print(f"account balance failed: {e}")
        return 0


def calculate_position_size(account_balance):
    if EXCHANGE.upper() in FUTURES:
        margin_to_use = account_balance * (MAX_POSITION_PERCENTAGE / 100)
        return margin_to_use * LEVERAGE
    return account_balance * (MAX_POSITION_PERCENTAGE / 100)


class TradingAgent:
    def __init__(self):
        if USE_SWARM_MODE:
            self.swarm = SwarmAgent()
            self.model = model_factory.get_model(AI_MODEL_TYPE, AI_MODEL_NAME)
        else:
            self.model = model_factory.get_model(AI_MODEL_TYPE, AI_MODEL_NAME)
            self.swarm = None
            if not self.model:
                print(f"no {AI_MODEL_TYPE} model among {list(model_factory._models)}")
                sys.exit(1)
        self.recommendations_df = pd.DataFrame(columns=["token", "action", "confidence", "reasoning"])

    def chat_with_ai(self, system_prompt, user_content):
        try:
            response = self.model.generate_response(
                system_prompt=system_prompt,
                user_content=user_content,
                temperature=AI_TEMPERATURE,
                max_tokens=AI_MAX_TOKENS,
            )
            return response.content if hasattr(response, "content") else str(response)
        except Exception as e:
            print(f"model failed: {e}")
            return None

    def _format_market_data_for_swarm(self, token, market_data):
        try:
            if isinstance(market_data, pd.DataFrame):
                span = f"{market_data.index[0]} to {market_data.index[-1]}"
                return f"{token} {DATA_TIMEFRAME} {span}\n{market_data.tail(10).to_string()}"
            return f"{token}\n{market_data}"
        except Exception as e:
            print(f"formatting failed: {e}")
            return str(market_data)

    def _calculate_swarm_consensus(self, swarm_result):
        try:
            votes = {"BUY": 0, "SELL": 0, "NOTHING": 0}
            for _provider, data in swarm_result["responses"].items():
                if not data["success"]:
                    continue
                text = data["response"].strip().upper()
                if "BUY" in text:
                    votes["BUY"] += 1
                elif "SELL" in text:
                    votes["SELL"] += 1
                else:
                    votes["NOTHING"] += 1
            total = sum(votes.values())
            if total == 0:
                return "NOTHING", 0, "no votes"
            action = max(votes, key=votes.get)
            return action, int(votes[action] / total * 100), str(votes)
        except Exception as e:
            print(f"counting failed: {e}")
            return "NOTHING", 0, str(e)

    def _recommend(self, token, action, confidence, reasoning):
        row = {"token": token, "action": action, "confidence": confidence, "reasoning": reasoning}
        self.recommendations_df = pd.concat([self.recommendations_df, pd.DataFrame([row])], ignore_index=True)

    def analyze_market_data(self, token, market_data):
        try:
            if token in EXCLUDED_TOKENS:
                return None

            if USE_SWARM_MODE:
                result = self.swarm.query(
                    prompt=self._format_market_data_for_swarm(token, market_data), system_prompt=SWARM_TRADING_PROMPT
                )
                if not result:
                    return None
                self._recommend(token, *self._calculate_swarm_consensus(result))
                return result

            strategy_context = "No strategy signals available."
            if "strategy_signals" in market_data:
                strategy_context = json.dumps(market_data["strategy_signals"])
            response = self.chat_with_ai(
                TRADING_PROMPT.format(strategy_context=strategy_context), f"Market Data to Analyze:\n{market_data}"
            )
            if not response:
                return None
            lines = response.split("\n")
            action = lines[0].strip() if lines else "NOTHING"
            confidence = 0
            for line in lines:
                if "confidence" in line.lower():
                    try:
                        confidence = int("".join(filter(str.isdigit, line)))
                    except:
                        confidence = 50
            self._recommend(token, action, confidence, "\n".join(lines[1:]))
            return response
        except Exception as e:
            print(f"analysis failed: {e}")
            self._recommend(token, "NOTHING", 0, str(e))
            return None

    def allocate_portfolio(self):
        try:
            available = SYMBOLS if EXCHANGE.upper() in FUTURES else MONITORED_TOKENS
            prompt = f"Split ${usd_size} over {available}, keep {CASH_PERCENTAGE}% in {USDC_ADDRESS}, as JSON."
            response = self.chat_with_ai("", prompt)
            return self.parse_allocation_response(response) if response else None
        except Exception as e:
            print(f"allocation failed: {e}")
            return None

    def parse_allocation_response(self, response):
        try:
            return json.loads(response[response.find("{") : response.rfind("}") + 1])
        except Exception as e:
            print(f"allocation is not JSON: {e}")
            return None

    def execute_allocations(self, allocation_dict):
        for token, amount in allocation_dict.items():
            if token in EXCLUDED_TOKENS:
                continue
            try:
                if n.get_token_balance_usd(token) < amount:
                    if EXCHANGE.upper() in FUTURES:
                        n.ai_entry(token, amount, leverage=LEVERAGE)
                    else:
                        n.ai_entry(token, amount)
            except Exception as e:
                print(f"entry failed: {e}")

    def handle_exits(self):
        for _, row in self.recommendations_df.iterrows():
            token = row["token"]
            if token in EXCLUDED_TOKENS:
                continue
            action = row["action"]
            current_position = n.get_token_balance_usd(token)
            print(f"{token}: {action} with ${current_position:.2f}")

            if current_position > 0:
                if action == "SELL":
                    try:
                        n.chunk_kill(token, max_usd_order_size, slippage)
                    except Exception as e:
                        print(f"exit failed: {e}")
                elif action == "NOTHING":
                    print("held")
                else:
                    print("kept")
            else:
                if action == "SELL":
                    if LONG_ONLY:
                        print("nothing to sell")
                    else:
                        position_size = calculate_position_size(get_account_balance())
                        try:
                            if hasattr(n, "open_short"):
                                n.open_short(token, position_size, slippage, leverage=LEVERAGE)
                            else:
                                n.market_sell(token, position_size, slippage, leverage=LEVERAGE)
                        except Exception as e:
                            print(f"short failed: {e}")
                elif action == "NOTHING":
                    print("staying out")
                else:
                    self._enter(token)

    def _enter(self, token):
        if USE_PORTFOLIO_ALLOCATION:
            return
        position_size = calculate_position_size(get_account_balance())
        try:
            if EXCHANGE.upper() in FUTURES:
                success = n.ai_entry(token, position_size, leverage=LEVERAGE)
            else:
                success = n.ai_entry(token, position_size)
            if not success:
                print("not opened")
                return
            time.sleep(0.05)
            if EXCHANGE.upper() in FUTURES:
                position = n.get_position(token)
                if position and position.get("position_amount", 0) != 0:
                    usd = abs(position.get("position_amount", 0)) * position.get("mark_price", 0)
                    print(f"opened ${usd:,.2f} {position.get('pnl_percentage', 0):+.2f}%")
                else:
                    print("no position found")
            else:
                print(f"opened ${n.get_token_balance_usd(token):,.2f}")
        except Exception as e:
            print(f"entry failed: {e}")

    def run(self):
        self.run_trading_cycle()

    def run_trading_cycle(self, strategy_signals=None):
        try:
            tokens_to_trade = SYMBOLS if EXCHANGE.upper() in FUTURES else MONITORED_TOKENS
            market_data = collect_all_tokens(
                tokens=tokens_to_trade, days_back=DAYSBACK_4_DATA, timeframe=DATA_TIMEFRAME, exchange=EXCHANGE
            )
            for token, data in market_data.items():
                if strategy_signals and token in strategy_signals:
                    data["strategy_signals"] = strategy_signals[token]
                self.analyze_market_data(token, data)

            print(self.recommendations_df[["token", "action", "confidence"]].to_string(index=False))
            self.handle_exits()

            buys = self.recommendations_df[self.recommendations_df["action"] == "BUY"]
            if USE_PORTFOLIO_ALLOCATION and len(buys) > 0:
                allocation = self.allocate_portfolio()
                if allocation:
                    self.execute_allocations(allocation)

            for file in os.listdir("temp_data"):
                if file.endswith("_latest.csv"):
                    os.remove(os.path.join("temp_data", file))
        except Exception as e:
            print(f"trading cycle failed: {e}")


def main():
    agent = TradingAgent()
    INTERVAL = SLEEP_BETWEEN_RUNS_MINUTES * 60
    while True:
        try:
            agent.run_trading_cycle()
            monitored_token = None
            for token in SYMBOLS if EXCHANGE.upper() in FUTURES else MONITORED_TOKENS:
                if EXCHANGE.upper() in FUTURES:
                    position = n.get_position(token)
                    if position and position.get("position_amount", 0) != 0:
                        monitored_token = token
                        break
                elif n.get_token_balance_usd(token) > 0:
                    monitored_token = token
                    break
            if monitored_token:
                monitor_position_pnl(monitored_token)
            else:
                time.sleep(INTERVAL)
        except KeyboardInterrupt:
            break
        except Exception as e:
            print(f"error: {e}")
            time.sleep(INTERVAL)


if __name__ == "__main__":
    main()
