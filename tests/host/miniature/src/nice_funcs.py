"""Trading on Solana: tokens are mint addresses, buys are in USD, sells in raw token units."""

from src.config import *
import atexit
import os
import shutil
import time
from datetime import datetime, timedelta

import pandas as pd

from src import wire

BIRDEYE_API_KEY = os.getenv("BIRDEYE_API_KEY")
if not BIRDEYE_API_KEY:
    raise ValueError("BIRDEYE_API_KEY is not set")

os.makedirs("temp_data", exist_ok=True)


def cleanup_temp_data():
    if os.path.exists("temp_data"):
        print("cleaning up")
        shutil.rmtree("temp_data")


atexit.register(cleanup_temp_data)


def token_overview(address):
    try:
        return wire.ask("birdeye", "overview", address=address)
    except ConnectionError:
        return None


def token_security_info(address):
    print(wire.ask("birdeye", "security", address=address))


def token_creation_info(address):
    print(wire.ask("birdeye", "creation", address=address))


def market_buy(token, amount, slippage):
    amount_in_units = int(amount * 1_000_000)
    return str(wire.ask("jupiter", "swap", sell="USDC", buy=token, units=amount_in_units, slippage=slippage))


def market_sell(QUOTE_TOKEN, amount, slippage):
    return str(wire.ask("jupiter", "swap", sell=QUOTE_TOKEN, buy="USDC", units=int(amount), slippage=slippage))


def get_time_range(days_back):
    now = datetime.now()
    return int((now - timedelta(days=days_back)).timestamp()), int(now.timestamp())


def get_data(address, days_back_4_data, timeframe):
    time_from, time_to = get_time_range(days_back_4_data)

    temp_file = f"temp_data/{address}_latest.csv"
    if os.path.exists(temp_file):
        return pd.read_csv(temp_file)

    items = wire.ask("birdeye", "ohlcv", address=address, type=timeframe, time_from=time_from, time_to=time_to)
    if items is None:
        return pd.DataFrame()
    df = pd.DataFrame(
        {
            "Datetime (UTC)": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(item["unixTime"])),
            "Open": item["o"],
            "High": item["h"],
            "Low": item["l"],
            "Close": item["c"],
            "Volume": item["v"],
        }
        for item in items
    )
    df["Datetime (UTC)"]

    if len(df) < 40:
        df = pd.concat([df.iloc[0:1]] * (40 - len(df)) + [df], ignore_index=True)

    df.to_csv(temp_file)

    df["MA20"] = df["Close"].rolling(20).mean()
    gain, loss = df["Close"].diff().clip(lower=0), -df["Close"].diff().clip(upper=0)
    df["RSI"] = 100 - 100 / (1 + gain.rolling(14).mean() / loss.rolling(14).mean())
    df["MA40"] = df["Close"].rolling(40).mean()
    df["Price_above_MA20"] = df["Close"] > df["MA20"]
    df["Price_above_MA40"] = df["Close"] > df["MA40"]
    df["MA20_above_MA40"] = df["MA20"] > df["MA40"]
    return df


def fetch_wallet_holdings_og(address):
    df = pd.DataFrame(columns=["Mint Address", "Amount", "USD Value"])
    items = wire.ask("birdeye", "wallet", wallet=address)
    if items:
        df = pd.DataFrame(items, columns=["Mint Address", "Amount", "USD Value"]).dropna()
        df = df[df["USD Value"] > 0.05]
    return df


def fetch_wallet_token_single(address, token_mint_address):
    df = fetch_wallet_holdings_og(address)
    return df[df["Mint Address"] == token_mint_address]


def token_price(address):
    answer = wire.ask("birdeye", "price", address=address)
    return answer["data"]["value"] if answer["success"] else None


def get_position(token_mint_address):
    df = fetch_wallet_token_single(address, token_mint_address)
    if df.empty:
        return 0
    return df["Amount"].iloc[0]


def get_decimals(token_mint_address):
    return wire.ask("solana", "decimals", mint=token_mint_address)


def pnl_close(token_mint_address):
    balance = get_position(token_mint_address)
    stop_loss = stop_loss_percentage * usd_size
    return balance * token_price(token_mint_address) < stop_loss


def chunk_kill(token_mint_address, max_usd_order_size, slippage):
    try:
        df = fetch_wallet_token_single(address, token_mint_address)
        if df.empty:
            return
        amount = float(df["Amount"].iloc[0])
        decimals = get_decimals(token_mint_address)
        while float(df["USD Value"].iloc[0]) > 0.1:
            for _ in range(3):
                try:
                    market_sell(token_mint_address, int(amount / 3 * 10**decimals), slippage)
                except Exception as e:
                    print(f"a chunk failed: {e}")
            df = fetch_wallet_token_single(address, token_mint_address)
            if df.empty:
                return
            amount = float(df["Amount"].iloc[0])
    except Exception as e:
        print(f"exit failed: {e}")


def sell_token(token_mint_address, amount, slippage):
    print(f"sold {int(amount)} of {token_mint_address[:4]}")


def kill_switch(token_mint_address):
    while get_position(token_mint_address) > 0:
        try:
            market_sell(token_mint_address, get_position(token_mint_address))
        except:
            time.sleep(0.01)


def close_all_positions():
    for token in fetch_wallet_holdings_og(address)["Mint Address"]:
        if token not in dont_trade_list:
            kill_switch(token)


def elegant_entry(symbol, buy_under):
    while get_position(symbol) * token_price(symbol) < usd_size * 0.97 and token_price(symbol) <= buy_under:
        market_buy(symbol, max_usd_order_size, slippage)


def breakout_entry(symbol, BREAKOUT_PRICE):
    while get_position(symbol) * token_price(symbol) < usd_size * 0.97 and token_price(symbol) > BREAKOUT_PRICE:
        market_buy(symbol, max_usd_order_size, slippage)


def ai_entry(symbol, amount):
    target_size = amount
    pos_usd = get_position(symbol) * token_price(symbol)
    if pos_usd >= target_size * 0.97:
        return
    chunk_size = str(int(min(target_size - pos_usd, max_usd_order_size) * 10**6))
    try:
        for _ in range(orders_per_open):
            market_buy(symbol, chunk_size, slippage)
    except Exception as e:
        print(f"entry failed: {e}")
        return


def get_token_balance_usd(token_mint_address):
    try:
        df = fetch_wallet_token_single(address, token_mint_address)
        if df.empty:
            return 0.0
        return float(df["USD Value"].iloc[0])
    except Exception as e:
        print(f"balance failed: {e}")
        return 0.0
