"""One interface over two exchanges, chosen by name."""

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
            self.hl = hl
        elif self.exchange.lower() == "solana":
            from src import nice_funcs as solana

            self.solana = solana
        else:
            raise ValueError(f"Unknown exchange: {self.exchange}")

    def _is_hyperliquid(self):
        return self.exchange.lower() == "hyperliquid"

    def market_buy(self, symbol_or_token, usd_amount):
        if self._is_hyperliquid():
            return self.hl.market_buy(symbol_or_token, usd_amount, self.account)
        return self.solana.market_buy(symbol_or_token, usd_amount)

    def market_sell(self, symbol_or_token, usd_amount_or_percent):
        if self._is_hyperliquid():
            return self.hl.market_sell(symbol_or_token, usd_amount_or_percent, self.account)
        return self.solana.market_sell(symbol_or_token, usd_amount_or_percent)

    def get_position(self, symbol_or_token):
        if self._is_hyperliquid():
            raw, held, size, symbol, entry, pnl, is_long = self.hl.get_position(symbol_or_token, self.account)
            return {"has_position": held, "size": float(size), "symbol": symbol, "entry_price": entry}
        return {"has_position": False, "size": 0, "symbol": symbol_or_token, "entry_price": 0}

    def get_token_balance_usd(self, symbol_or_token):
        if self._is_hyperliquid():
            return self.hl.get_token_balance_usd(symbol_or_token, self.account)
        return self.solana.get_token_balance_usd(symbol_or_token)

    def close_position(self, symbol_or_token):
        return self.chunk_kill(symbol_or_token)

    def ai_entry(self, symbol_or_token, usd_amount):
        if self._is_hyperliquid():
            return self.market_buy(symbol_or_token, usd_amount)
        return self.solana.ai_entry(symbol_or_token, usd_amount)

    def chunk_kill(self, symbol_or_token, max_order_size=None, slippage=None):
        if self._is_hyperliquid():
            return self.hl.kill_switch(symbol_or_token, self.account)
        return self.solana.chunk_kill(symbol_or_token, max_order_size or 3, slippage or 199)

    def get_current_price(self, symbol_or_token):
        if self._is_hyperliquid():
            return self.hl.get_current_price(symbol_or_token)
        return self.solana.token_price(symbol_or_token)

    def get_account_value(self):
        return self.hl.get_account_value(self.account) if self._is_hyperliquid() else 0

    def get_balance(self):
        return self.hl.get_balance(self.account) if self._is_hyperliquid() else 0

    def get_all_positions(self):
        return self.hl.get_all_positions(self.account) if self._is_hyperliquid() else []

    def set_leverage(self, symbol, leverage):
        return self.hl.set_leverage(symbol, leverage, self.account) if self._is_hyperliquid() else None

    def get_data(self, symbol_or_token, days_back, timeframe):
        if self._is_hyperliquid():
            return pd.DataFrame()
        return self.solana.get_data(symbol_or_token, days_back, timeframe)

    def fetch_wallet_holdings(self, wallet_address=None):
        return pd.DataFrame(self.get_all_positions())


def create_exchange_manager(exchange=None):
    return ExchangeManager(exchange)
