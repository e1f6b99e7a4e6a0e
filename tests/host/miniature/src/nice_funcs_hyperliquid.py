"""Trading on HyperLiquid: most functions want the account as well, which some callers forget."""

import os

import pandas as pd

from src import wire

DEFAULT_LEVERAGE = 5
MAX_ROWS = 5000


def get_position(symbol, account):
    held = [p for p in wire.ask("hyperliquid", "state", account=account) if p["coin"] == symbol]
    if not held:
        return [], False, 0, symbol, 0, 0, True
    first = held[0]
    return held, True, first["szi"], symbol, first["entryPx"], first["pnl"], float(first["szi"]) > 0


def set_leverage(symbol, leverage, account):
    return wire.ask("hyperliquid", "leverage", symbol=symbol, leverage=leverage)


def cancel_all_orders(account):
    return wire.ask("hyperliquid", "cancel_all", account=account)


def limit_order(coin, is_buy, sz, limit_px, reduce_only, account):
    return wire.ask("hyperliquid", "order", symbol=coin, buy=is_buy, size=sz, price=limit_px, reduce_only=reduce_only)


def kill_switch(symbol, account):
    _, held, size, _, _, _, is_long = get_position(symbol, account)
    if held:
        return limit_order(symbol, not is_long, abs(float(size)), get_current_price(symbol), True, account)


def pnl_close(symbol, target, max_loss, account):
    pnl = get_position(symbol, account)[5]
    if pnl >= target or pnl <= max_loss:
        kill_switch(symbol, account)
        return True
    return False


def get_current_price(symbol):
    return float(wire.ask("hyperliquid", "mid", symbol=symbol))


def get_account_value(account):
    return float(wire.ask("hyperliquid", "value", account=account))


def market_buy(symbol, usd_size, account):
    price = get_current_price(symbol)
    return limit_order(symbol, True, usd_size / price, price * 1.001, False, account)


def market_sell(symbol, usd_size, account):
    price = get_current_price(symbol)
    return limit_order(symbol, False, usd_size / price, price * 0.999, False, account)


def close_position(symbol, account):
    return kill_switch(symbol, account)


def get_balance(account):
    return float(wire.ask("hyperliquid", "value", account=account))


def get_all_positions(account):
    return wire.ask("hyperliquid", "state", account=account)


def _get_account_from_env():
    return os.environ["HYPER_LIQUID_KEY"]


def get_data(symbol, timeframe="15m", bars=100, add_indicators=True):
    rows = wire.ask("hyperliquid", "candles", symbol=symbol, timeframe=timeframe, bars=min(bars, MAX_ROWS))
    if not rows:
        return pd.DataFrame()
    df = pd.DataFrame(rows, columns=["timestamp", "open", "high", "low", "close", "volume"]).tail(bars)
    df = df.reset_index(drop=True)
    if add_indicators:
        df["sma_20"] = df["close"].rolling(20).mean()
        df["sma_50"] = df["close"].rolling(50).mean()
    return df


def get_token_balance_usd(token_mint_address, account):
    held = get_position(token_mint_address, account)
    return abs(float(held[2])) * get_current_price(token_mint_address) if held[1] else 0


def ai_entry(symbol, amount, max_chunk_size=None, leverage=DEFAULT_LEVERAGE, account=None):
    return bool(market_buy(symbol, amount, account or _get_account_from_env()))


def open_short(token, amount, slippage=None, leverage=DEFAULT_LEVERAGE, account=None):
    return market_sell(token, amount, account or _get_account_from_env())
