"""Closes everything when the account loses, or gains, more than it may."""

MODEL_OVERRIDE = "0"
RISK_OVERRIDE_PROMPT = "We hit {limit_type}. OVERRIDE or RESPECT_LIMIT? {position_data}"

import anthropic
import json
import os
import time
from datetime import datetime, timedelta

import openai
import pandas as pd

from src import config
from src import nice_funcs as n
from src.data.ohlcv_collector import collect_all_tokens
from src.config import *
from src.agents.base_agent import BaseAgent


class RiskAgent(BaseAgent):
    def __init__(self):
        super().__init__("risk")
        openai_key = os.getenv("OPENAI_KEY")
        anthropic_key = os.getenv("ANTHROPIC_KEY")
        if not openai_key:
            raise ValueError("OPENAI_KEY is not set")
        if not anthropic_key:
            raise ValueError("ANTHROPIC_KEY is not set")
        self.ai_model = AI_MODEL
        self.deepseek_client = openai.OpenAI(openai_key) if MODEL_OVERRIDE == "deepseek-chat" else None
        self.client = anthropic.Anthropic(api_key=anthropic_key)
        self.override_active = False
        self.last_override_check = None
        self.start_balance = self.get_portfolio_value()
        self.current_value = self.start_balance

    def get_portfolio_value(self):
        total_value = 0.0
        try:
            try:
                total_value += n.get_token_balance_usd(config.USDC_ADDRESS)
            except Exception as e:
                print(f"no USDC balance: {e}")
            for token in config.MONITORED_TOKENS:
                if token != config.USDC_ADDRESS:
                    try:
                        token_value = n.get_token_balance_usd(token)
                        if token_value > 0:
                            total_value += token_value
                    except Exception as e:
                        print(f"no balance of {token[:8]}: {e}")
            return total_value
        except Exception as e:
            print(f"portfolio value failed: {e}")
            return 0.0

    def log_daily_balance(self):
        try:
            os.makedirs("src/data", exist_ok=True)
            balance_file = "src/data/portfolio_balance.csv"
            if os.path.exists(balance_file):
                df = pd.read_csv(balance_file)
                if not df.empty:
                    last = pd.to_datetime(df["timestamp"]).max()
                    if (datetime.now() - last).total_seconds() / 3600 < config.MAX_LOSS_GAIN_CHECK_HOURS:
                        return
            else:
                df = pd.DataFrame(columns=["timestamp", "balance"])
            row = {"timestamp": datetime.now().strftime("%Y-%m-%d %H:%M:%S"), "balance": self.get_portfolio_value()}
            pd.concat([df, pd.DataFrame([row])], ignore_index=True).to_csv(balance_file, index=False)
        except Exception as e:
            print(f"balance log failed: {e}")

    def get_position_data(self, token):
        try:
            data_15m = n.get_data(token, 0.33, "15m")
            data_5m = n.get_data(token, 0.083, "5m")
            return {
                "15m": data_15m.to_dict() if data_15m is not None else None,
                "5m": data_5m.to_dict() if data_5m is not None else None,
            }
        except Exception as e:
            print(f"no data of {token}: {e}")
            return None

    def should_override_limit(self, limit_type):
        try:
            if self.last_override_check and datetime.now() - self.last_override_check < timedelta(minutes=15):
                return self.override_active
            positions = self._monitored(n.fetch_wallet_holdings_og(address))
            if positions.empty:
                return False
            position_data = {}
            for _, row in positions.iterrows():
                if row["USD Value"] > 0:
                    data = self.get_position_data(row["Mint Address"])
                    if data:
                        position_data[row["Mint Address"]] = {"value_usd": row["USD Value"], "data": data}
            if not position_data:
                return False
            response_text = self._ask(
                RISK_OVERRIDE_PROMPT.format(limit_type=limit_type, position_data=json.dumps(position_data))
            )
            self.last_override_check = datetime.now()
            self.override_active = "OVERRIDE" in response_text.upper()
            return self.override_active
        except Exception as e:
            print(f"override check failed: {e}")
            return False

    def _ask(self, prompt):
        message = self.client.messages.create(
            model=self.ai_model,
            max_tokens=AI_MAX_TOKENS,
            temperature=AI_TEMPERATURE,
            messages=[{"role": "user", "content": prompt}],
        )
        response_text = str(message.content)
        if "TextBlock" in response_text:
            match = re.search(r"text='([^']*)'", response_text)
            if match:
                response_text = match.group(1)
        return response_text

    def _monitored(self, positions):
        return positions[
            positions["Mint Address"].isin(MONITORED_TOKENS) & ~positions["Mint Address"].isin(EXCLUDED_TOKENS)
        ]

    def check_pnl_limits(self):
        try:
            self.current_value = self.get_portfolio_value()
            if USE_PERCENTAGE:
                percent = (self.current_value - self.start_balance) / self.start_balance * 100
                return percent <= -MAX_LOSS_PERCENT or percent >= MAX_GAIN_PERCENT
            usd_change = self.current_value - self.start_balance
            return usd_change <= -MAX_LOSS_USD or usd_change >= MAX_GAIN_USD
        except Exception as e:
            print(f"limits failed: {e}")
            return False

    def close_all_positions(self):
        try:
            positions = self._monitored(n.fetch_wallet_holdings_og(address))
            if positions.empty:
                return
            for _, row in positions.iterrows():
                try:
                    n.chunk_kill(row["Mint Address"], max_usd_order_size, slippage)
                except Exception as e:
                    print(f"closing failed: {e}")
        except Exception as e:
            print(f"closing all failed: {e}")

    def check_risk_limits(self):
        try:
            current_pnl = self.get_current_pnl()
            current_balance = self.get_portfolio_value()
            print(f"P&L ${current_pnl:.2f}, balance ${current_balance:.2f}")
            if current_balance < MINIMUM_BALANCE_USD:
                self.handle_limit_breach("MINIMUM_BALANCE", current_balance)
                return True
            if USE_PERCENTAGE:
                if abs(current_pnl) >= MAX_LOSS_PERCENT:
                    self.handle_limit_breach("PNL_PERCENT", current_pnl)
                    return True
            elif abs(current_pnl) >= MAX_LOSS_USD:
                self.handle_limit_breach("PNL_USD", current_pnl)
                return True
            return False
        except Exception as e:
            print(f"risk limits failed: {e}")
            return False

    def handle_limit_breach(self, breach_type, current_value):
        try:
            if not USE_AI_CONFIRMATION:
                self.close_all_positions()
                return
            positions_str = "".join(
                f"{row['Mint Address']}: {row['Amount']} (${row['USD Value']:.2f})\n"
                for _, row in n.fetch_wallet_holdings_og(address).iterrows()
                if row["USD Value"] > 0
            )
            response_text = self._ask(
                f"{breach_type} at {current_value}. CLOSE_ALL or HOLD_POSITIONS?\n{positions_str}"
            )
            if response_text.split("\n")[0].strip() == "CLOSE_ALL":
                self.close_all_positions()
            else:
                print("holding")
        except Exception as e:
            print(f"breach failed: {e}; closing all positions")
            self.close_all_positions()

    def get_current_pnl(self):
        try:
            return self.get_portfolio_value() - self.start_balance
        except Exception as e:
            print(f"P&L failed: {e}")
            return 0.0

    def run(self):
        return self.check_risk_limits()


def main():
    agent = RiskAgent()
    while True:
        try:
            agent.log_daily_balance()
            agent.check_pnl_limits()
            time.sleep(300)
        except KeyboardInterrupt:
            break
        except Exception as e:
            print(f"error: {e}")
            time.sleep(300)


if __name__ == "__main__":
    main()
