"""Bars for the agents, from the source that the exchange's name leads to."""

from src.config import *
from src import nice_funcs as n
from src import nice_funcs_hyperliquid as hl
from src import nice_funcs_aster as aster
import os


def collect_token_data(token, days_back=DAYSBACK_4_DATA, timeframe=DATA_TIMEFRAME, exchange="SOLANA"):
    try:
        bars_per_day = {
            **{"1m": 1440, "3m": 480, "5m": 288, "15m": 96, "30m": 48},
            **{"1H": 24, "2H": 12, "4H": 6, "6H": 4, "8H": 3, "12H": 2},
            **{"1h": 24, "2h": 12, "4h": 6, "6h": 4, "8h": 3, "12h": 2},
            **{"1D": 1, "3D": 1 / 3, "1W": 1 / 7, "1M": 1 / 30},
            **{"1d": 1, "3d": 1 / 3, "1w": 1 / 7, "1month": 1 / 30},
        }
        bars_needed = int(days_back * bars_per_day.get(timeframe, 24))
        hl_timeframe = timeframe.replace("H", "h").replace("D", "d").replace("W", "w").replace("M", "month")

        if exchange == "HYPERLIQUID":
            data = hl.get_data(symbol=token, timeframe=hl_timeframe, bars=bars_needed, add_indicators=True)
        elif exchange == "ASTER":
            data = hl.get_data(symbol=token, timeframe=hl_timeframe, bars=bars_needed, add_indicators=True)
        else:
            data = n.get_data(token, days_back, timeframe)

        if data is None or data.empty:
            print(f"no data for {token}")
            return None

        save_path = f"data/{token}_latest.csv" if SAVE_OHLCV_DATA else f"temp_data/{token}_latest.csv"
        os.makedirs(os.path.dirname(save_path), exist_ok=True)
        data.to_csv(save_path)
        return data
    except Exception as e:
        print(f"data failed: {e}")
        return None


def collect_all_tokens(tokens=None, days_back=None, timeframe=None, exchange="SOLANA"):
    market_data = {}
    if tokens is None:
        tokens = MONITORED_TOKENS
    if days_back is None:
        days_back = DAYSBACK_4_DATA
    if timeframe is None:
        timeframe = DATA_TIMEFRAME
    for token in tokens:
        data = collect_token_data(token, days_back, timeframe, exchange=exchange)
        if data is not None:
            market_data[token] = data
    return market_data
