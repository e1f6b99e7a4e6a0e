"""Signals of strategies, approved by a language model, done through the exchange manager."""

from src.config import *
import json
import os
import time

import anthropic

try:
    from src.exchange_manager import ExchangeManager

    USE_EXCHANGE_MANAGER = True
except ImportError:
    from src import nice_funcs as n

    USE_EXCHANGE_MANAGER = False

STRATEGY_EVAL_PROMPT = "EXECUTE or REJECT each, separated by commas: {strategy_signals} {market_data}"


class StrategyAgent:
    def __init__(self):
        self.enabled_strategies = []
        self.client = anthropic.Anthropic(api_key=os.getenv("ANTHROPIC_KEY"))
        self.em = ExchangeManager() if USE_EXCHANGE_MANAGER else None
        if ENABLE_STRATEGIES:
            try:
                from src.strategies.custom.example_strategy import ExampleStrategy
                from src.strategies.custom.private_my_strategy import MyStrategy

                self.enabled_strategies.extend([ExampleStrategy(), MyStrategy()])
            except Exception as e:
                print(f"no strategies: {e}")

    def evaluate_signals(self, signals, market_data):
        try:
            if not signals:
                return None
            message = self.client.messages.create(
                model=AI_MODEL,
                max_tokens=AI_MAX_TOKENS,
                temperature=AI_TEMPERATURE,
                messages=[
                    {
                        "role": "user",
                        "content": STRATEGY_EVAL_PROMPT.format(
                            strategy_signals=json.dumps(signals), market_data=market_data
                        ),
                    }
                ],
            )
            response = message.content
            if isinstance(response, list):
                response = response[0].text if hasattr(response[0], "text") else str(response[0])
            lines = response.split("\n")
            return {"decisions": lines[0].strip().split(","), "reasoning": "\n".join(lines[1:])}
        except Exception as e:
            print(f"evaluation failed: {e}")
            return None

    def get_signals(self, token):
        try:
            signals = []
            for strategy in self.enabled_strategies:
                signal = strategy.generate_signals()
                if signal and signal["token"] == token:
                    signals.append(
                        {
                            "token": signal["token"],
                            "strategy_name": strategy.name,
                            "signal": signal["signal"],
                            "direction": signal["direction"],
                            "metadata": signal.get("metadata", {}),
                        }
                    )
            if not signals:
                return []
            try:
                from src.data.ohlcv_collector import collect_token_data

                market_data = collect_token_data(token)
            except Exception as e:
                print(f"no market data: {e}")
                market_data = {}
            evaluation = self.evaluate_signals(signals, market_data)
            if not evaluation:
                return []
            approved = [
                signal for signal, decision in zip(signals, evaluation["decisions"]) if "EXECUTE" in decision.upper()
            ]
            if approved:
                self.execute_strategy_signals(approved)
            return approved
        except Exception as e:
            print(f"signals failed: {e}")
            return []

    def execute_strategy_signals(self, approved_signals):
        for signal in approved_signals:
            try:
                token = signal.get("token")
                strength = signal.get("signal", 0)
                direction = signal.get("direction", "NOTHING")
                if not token or token in EXCLUDED_TOKENS:
                    continue
                target_size = usd_size * (MAX_POSITION_PERCENTAGE / 100) * strength
                if self.em:
                    current_position = self.em.get_token_balance_usd(token)
                else:
                    current_position = n.get_token_balance_usd(token)
                print(f"{token}: {direction} ${target_size:.2f} with ${current_position:.2f}")
                if direction == "BUY":
                    if current_position < target_size:
                        if self.em:
                            self.em.ai_entry(token, target_size)
                        else:
                            n.ai_entry(token, target_size)
                elif direction == "SELL":
                    if current_position > 0:
                        if self.em:
                            self.em.chunk_kill(token)
                        else:
                            n.chunk_kill(token, max_usd_order_size, slippage)
                time.sleep(0.05)
            except Exception as e:
                print(f"signal failed: {e}")
