"""Trading on Aster: symbols, amounts are the notional in USD, None or 0 where something goes wrong."""

import os
import time

ASTER_AVAILABLE = False
try:
    from src.aster_api import AsterAPI

    ASTER_AVAILABLE = True
except ImportError as e:
    print(f"no Aster client: {e}")

api = None
if ASTER_AVAILABLE and os.getenv("ASTER_API_KEY") and os.getenv("ASTER_API_SECRET"):
    api = AsterAPI(os.getenv("ASTER_API_KEY"), os.getenv("ASTER_API_SECRET"))

DEFAULT_LEVERAGE = 5
DEFAULT_SYMBOL_SUFFIX = "USDT"


def format_symbol(token):
    return token if token.endswith(DEFAULT_SYMBOL_SUFFIX) else f"{token}{DEFAULT_SYMBOL_SUFFIX}"


def token_price(address):
    try:
        ask, bid, _ = api.get_ask_bid(format_symbol(address))
        return (ask + bid) / 2
    except Exception as e:
        print(f"price failed: {e}")
        return 0


def get_best_bid_ask(symbol):
    try:
        ask, bid, _ = api.get_ask_bid(symbol)
        return bid, ask
    except Exception as e:
        print(f"book failed: {e}")
        return None, None


def get_position(token_mint_address):
    if not ASTER_AVAILABLE or api is None:
        return None
    try:
        return api.get_position(format_symbol(token_mint_address))
    except Exception as e:
        print(f"position failed: {e}")
        return None


def get_token_balance_usd(token_mint_address):
    try:
        position = get_position(token_mint_address)
        if not position:
            return 0
        return abs(position.get("position_amount", 0) * position.get("mark_price", 0))
    except Exception as e:
        print(f"balance failed: {e}")
        return 0


def _order(token, side, amount, leverage, order_type, reduce_only=False):
    try:
        symbol = format_symbol(token)
        api.change_leverage(symbol, leverage)
        price = token_price(token)
        if price == 0:
            return None
        quantity = round(amount / price, 3)
        if quantity * price < 5.0:
            return None
        return api.place_order(
            symbol=symbol, side=side, order_type=order_type, quantity=quantity, reduce_only=reduce_only
        )
    except Exception as e:
        print(f"order failed: {e}")
        return None


def market_buy(token, amount, slippage, leverage=DEFAULT_LEVERAGE):
    return _order(token, "BUY", amount, leverage, "MARKET")


def limit_buy(token, amount, slippage, leverage=DEFAULT_LEVERAGE):
    return _order(token, "BUY", amount, leverage, "LIMIT")


def market_sell(token, amount, slippage, leverage=DEFAULT_LEVERAGE):
    return _order(token, "SELL", amount, leverage, "MARKET")


def limit_sell(token, amount, slippage, leverage=DEFAULT_LEVERAGE):
    return _order(token, "SELL", amount, leverage, "LIMIT")


def chunk_kill(token_mint_address, max_usd_order_size, slippage):
    try:
        symbol = format_symbol(token_mint_address)
        position = get_position(token_mint_address)
        if not position:
            return True
        side = "SELL" if position["is_long"] else "BUY"
        num_chunks = int(abs(position["position_amount"] * position["mark_price"]) / max_usd_order_size) + 1
        chunk = round(abs(position["position_amount"]) / num_chunks, 3)
        for _ in range(num_chunks):
            left = get_position(token_mint_address)
            if not left or abs(left["position_amount"]) < 0.0001:
                break
            api.place_order(
                symbol=symbol,
                side=side,
                order_type="MARKET",
                quantity=min(chunk, abs(left["position_amount"])),
                reduce_only=True,
            )
            time.sleep(0.01)
        return True
    except Exception as e:
        print(f"exit failed: {e}")
        return False


def ai_entry(symbol, amount, max_chunk_size=None, leverage=DEFAULT_LEVERAGE, use_limit=True):
    try:
        send = limit_buy if use_limit else market_buy
        if max_chunk_size is None or amount <= max_chunk_size:
            return send(symbol, amount, slippage=0, leverage=leverage) is not None
        num_chunks = int(amount / max_chunk_size) + 1
        for _ in range(num_chunks):
            if not send(symbol, amount / num_chunks, slippage=0, leverage=leverage):
                return False
        return True
    except Exception as e:
        print(f"entry failed: {e}")
        return False


def open_short(token, amount, slippage, leverage=DEFAULT_LEVERAGE):
    return _order(token, "SELL", amount, leverage, "MARKET")


def get_account_balance():
    try:
        account = api.get_account_info()
        available = float(account.get("availableBalance", 0))
        margin = float(account.get("totalPositionInitialMargin", 0))
        unrealized = float(account.get("totalUnrealizedProfit", 0))
        return {
            "available": available,
            "total_equity": available + margin + unrealized,
            "position_margin": margin,
            "unrealized_pnl": unrealized,
        }
    except Exception as e:
        print(f"account failed: {e}")
        return None
