"""One interface over the exchanges, chosen by name."""

import os

import pandas as pd


class ExchangeManager:
    def __init__(self, exchange=None):
        from src import config

        self.exchange = exchange or config.EXCHANGE
        self.account = None

        if self.exchange.lower() == "hyperliquid":
            from src import nice_funcs_hyperliquid as hl

            self.account = os.getenv("HYPER_LIQUID_KEY")
            if not self.account:
                raise ValueError("HYPER_LIQUID_KEY is not set")
            self.hl = hl
        elif self.exchange.lower() == "solana":
            from src import nice_funcs as solana

            self.solana = solana
        elif self.exchange.lower() == "robinhood":
            from src import nice_funcs_robinhood as rh

            self.rh = rh
        else:
            raise ValueError(f"Unknown exchange: {self.exchange}")

    def market_buy(self, symbol_or_token, usd_amount):
        if self.exchange.lower() == "hyperliquid":
            return self.hl.market_buy(symbol_or_token, usd_amount, self.account)
        elif self.exchange.lower() == "robinhood":
            return self.rh.market_buy(symbol_or_token, usd_amount)
        return self.solana.market_buy(symbol_or_token, usd_amount)

    def market_sell(self, symbol_or_token, usd_amount_or_percent):
        if self.exchange.lower() == "hyperliquid":
            return self.hl.market_sell(symbol_or_token, usd_amount_or_percent, self.account)
        elif self.exchange.lower() == "robinhood":
            return self.rh.market_sell(symbol_or_token, usd_amount_or_percent)
        return self.solana.market_sell(symbol_or_token, usd_amount_or_percent)

    def get_position(self, symbol_or_token):
        flat = {
            "has_position": False,
            "size": 0,
            "symbol": symbol_or_token,
            "entry_price": 0,
            "pnl_percent": 0,
            "is_long": True,
            "raw_data": None,
        }
        if self.exchange.lower() == "hyperliquid":
            raw, held, size, symbol, entry, pnl, is_long = self.hl.get_position(symbol_or_token, self.account)
            if not held:
                return flat
            return flat | {
                "has_position": True,
                "size": float(size),
                "entry_price": entry,
                "pnl_percent": pnl,
                "is_long": is_long,
                "raw_data": raw,
            }
        elif self.exchange.lower() == "robinhood":
            return self.rh.get_position(symbol_or_token)
        try:
            held = self.solana.get_position(symbol_or_token)
            if held and held.get("amount", 0) > 0:
                return flat | {"has_position": True, "size": held.get("amount", 0), "raw_data": held}
            return flat
        except:
            return flat

    def get_token_balance_usd(self, symbol_or_token):
        if self.exchange.lower() == "hyperliquid":
            position = self.get_position(symbol_or_token)
            if position["has_position"]:
                return abs(position["size"]) * self.hl.get_current_price(symbol_or_token)
            return 0
        elif self.exchange.lower() == "robinhood":
            position = self.get_position(symbol_or_token)
            return position.get("market_value", 0) if position["has_position"] else 0
        return self.solana.get_token_balance_usd(symbol_or_token)

    def close_position(self, symbol_or_token):
        if self.exchange.lower() == "hyperliquid":
            return self.hl.kill_switch(symbol_or_token, self.account)
        elif self.exchange.lower() == "robinhood":
            return self.rh.market_sell(symbol_or_token, 100)
        from src.config import max_usd_order_size, slippage

        return self.solana.chunk_kill(symbol_or_token, max_usd_order_size, slippage)

    def ai_entry(self, symbol_or_token, usd_amount):
        if self.exchange.lower() in ("hyperliquid", "robinhood"):
            return self.market_buy(symbol_or_token, usd_amount)
        return self.solana.ai_entry(symbol_or_token, usd_amount)

    def chunk_kill(self, symbol_or_token, max_order_size=None, slippage=None):
        if self.exchange.lower() == "hyperliquid":
            return self.hl.kill_switch(symbol_or_token, self.account)
        elif self.exchange.lower() == "robinhood":
            return self.rh.kill_switch(symbol_or_token)
        from src.config import max_usd_order_size
        from src.config import slippage as default_slippage

        return self.solana.chunk_kill(
            symbol_or_token, max_order_size or max_usd_order_size, slippage or default_slippage
        )

    def get_current_price(self, symbol_or_token):
        if self.exchange.lower() == "hyperliquid":
            return self.hl.get_current_price(symbol_or_token)
        elif self.exchange.lower() == "robinhood":
            return self.rh._get_adapter().get_price(symbol_or_token)
        return self.solana.token_price(symbol_or_token)

    def get_account_value(self):
        if self.exchange.lower() == "hyperliquid":
            return self.hl.get_account_value(self.account)
        elif self.exchange.lower() == "robinhood":
            return self.rh.get_account_value()
        from src.config import address

        rows = self.solana.fetch_wallet_holdings_og(address)
        return sum(row.get("value_usd", 0) for _, row in rows.iterrows())

    def get_balance(self):
        if self.exchange.lower() == "hyperliquid":
            return self.hl.get_balance(self.account)
        elif self.exchange.lower() == "robinhood":
            return self.rh.get_balance()
        from src.config import USDC_ADDRESS

        return self.solana.get_token_balance_usd(USDC_ADDRESS)

    def get_all_positions(self):
        if self.exchange.lower() == "hyperliquid":
            return self.hl.get_all_positions(self.account)
        elif self.exchange.lower() == "robinhood":
            return self.rh.get_all_positions()
        from src.config import EXCLUDED_TOKENS, address

        rows = self.solana.fetch_wallet_holdings_og(address)
        return [
            {"symbol": row.get("token_address", ""), "size": row.get("amount", 0)}
            for _, row in rows.iterrows()
            if row.get("token_address", "") not in EXCLUDED_TOKENS and row.get("value_usd", 0) > 0
        ]

    def set_leverage(self, symbol, leverage):
        if self.exchange.lower() == "hyperliquid":
            return self.hl.set_leverage(symbol, leverage, self.account)
        elif self.exchange.lower() == "robinhood":
            return self.rh.set_leverage(symbol, leverage)
        return None

    def get_data(self, symbol_or_token, days_back, timeframe):
        if self.exchange.lower() == "hyperliquid":
            return pd.DataFrame()
        elif self.exchange.lower() == "robinhood":
            return self.rh.get_ohlcv_data(symbol_or_token, timeframe, days_back)
        return self.solana.get_data(symbol_or_token, days_back, timeframe)

    def fetch_wallet_holdings(self, wallet_address=None):
        if self.exchange.lower() == "hyperliquid":
            return pd.DataFrame(self.get_all_positions() or [])
        elif self.exchange.lower() == "robinhood":
            return self.rh._get_adapter().get_positions()
        from src.config import address

        return self.solana.fetch_wallet_holdings_og(wallet_address or address)

    def __str__(self):
        return f"ExchangeManager(exchange={self.exchange})"


def create_exchange_manager(exchange=None):
    return ExchangeManager(exchange)
