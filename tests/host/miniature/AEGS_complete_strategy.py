"""Indicators of the AEGS scanners, on daily bars."""

import pandas as pd
import yfinance as yf


class AlphaEnsembleGoldmineStrategy:
    def __init__(self, symbol):
        self.symbol = symbol
        self.hold_period_max = 61

    def calculate_indicators(self, df):
        if isinstance(df.columns, pd.MultiIndex):
            df.columns = df.columns.get_level_values(0)
        close = df["Close"]
        change = close.diff()
        gain = change.where(change > 0, 0).rolling(14).mean()
        loss = (-change.where(change < 0, 0)).rolling(14).mean()
        df["RSI"] = 100 - 100 / (1 + gain / loss)
        middle, width = close.rolling(20).mean(), close.rolling(20).std() * 2
        df["BB_Upper"], df["BB_Lower"] = middle + width, middle - width
        df["BB_Position"] = (close - df["BB_Lower"]) / (df["BB_Upper"] - df["BB_Lower"])
        df["SMA20"] = middle
        df["Distance_Pct"] = (close - middle) / middle * 100
        df["MACD"] = close.ewm(span=12).mean() - close.ewm(span=26).mean()
        df["MACD_Signal"] = df["MACD"].ewm(span=9).mean()
        df["Volume_Ratio"] = df["Volume"] / df["Volume"].rolling(20).mean()
        df["Daily_Change_Pct"] = close.pct_change() * 100
        df["3Day_Change_Pct"] = close.pct_change(3) * 100
        return df
