"""Scores the symbols of a registry by their daily bars; places no order."""

import json
import os

import numpy as np
import pandas as pd
import yfinance as yf


class AEGSEnhancedScanner:
    def __init__(self):
        self.registry_file = "aegs_goldmine_registry.json"
        self.load_registry()
        self.build_symbol_list()
        self.buy_signals = []
        self.near_signals = []

    def load_registry(self):
        if os.path.exists(self.registry_file):
            with open(self.registry_file) as f:
                self.registry = json.load(f)
            print(f"{self.registry['metadata']['total_symbols']} symbols in the registry")
        else:
            self.registry = {"goldmine_symbols": {}, "categories": {}}

    def build_symbol_list(self):
        self.symbol_info = {}
        for tier, data in self.registry["goldmine_symbols"].items():
            for symbol, info in data.get("symbols", {}).items():
                if info.get("active", True):
                    self.symbol_info[symbol] = {
                        "tier": tier,
                        "excess_return": info.get("excess_return", 0),
                        "category": info.get("category", "Unknown"),
                    }
        self.all_symbols = sorted(self.symbol_info, key=lambda x: self.symbol_info[x]["excess_return"], reverse=True)

    def scan_all_symbols(self):
        for symbol in self.all_symbols:
            info = self.symbol_info[symbol]
            try:
                self._scan_symbol(symbol, info["category"], info["excess_return"])
            except Exception as e:
                print(f"{symbol} failed: {str(e)[:50]}")
        self._display_results()

    def _scan_symbol(self, symbol, category, historical_excess):
        df = yf.Ticker(symbol).history(period="200d")
        if len(df) < 50:
            print(f"{symbol}: insufficient data")
            return
        df = self._calculate_indicators(df)
        latest = df.iloc[-1]

        score, signals = 0, []
        if pd.notna(latest.get("RSI", np.nan)):
            if latest["RSI"] < 30:
                score, signals = score + 35, [*signals, "RSI"]
            elif latest["RSI"] < 35:
                score, signals = score + 20, [*signals, "RSI"]
        if pd.notna(latest.get("BB_Position", np.nan)):
            if latest["BB_Position"] < 0:
                score, signals = score + 35, [*signals, "BB_Below"]
            elif latest["BB_Position"] < 0.2:
                score, signals = score + 20, [*signals, "BB"]
        if pd.notna(latest.get("Volume_Ratio", np.nan)):
            if latest["Volume_Ratio"] > 2.0 and latest.get("Daily_Change", 0) < -0.02:
                score, signals = score + 30, [*signals, "Vol"]
            elif latest["Volume_Ratio"] > 1.5:
                score += 10
        daily_change = latest.get("Daily_Change", 0) * 100
        if daily_change < -10:
            score, signals = score + 35, [*signals, "Drop"]
        elif daily_change < -5:
            score, signals = score + 20, [*signals, "Drop"]

        row = {
            "symbol": symbol,
            "category": category,
            "price": latest["Close"],
            "signal_strength": score,
            "signals": signals,
            "historical_excess": historical_excess,
            "daily_change": daily_change,
        }
        if score >= 50:
            self.buy_signals.append(row)
        elif score >= 30:
            self.near_signals.append(row)
        print(f"{symbol}: {score}/100 on {len(df)} bars")

    def _calculate_indicators(self, df):
        change = df["Close"].diff()
        gain = change.where(change > 0, 0).rolling(window=14).mean()
        loss = (-change.where(change < 0, 0)).rolling(window=14).mean()
        df["RSI"] = 100 - 100 / (1 + gain / loss)
        middle, width = df["Close"].rolling(20).mean(), df["Close"].rolling(20).std() * 2
        df["BB_Position"] = (df["Close"] - (middle - width)) / (2 * width)
        df["Volume_Ratio"] = df["Volume"] / df["Volume"].rolling(20).mean()
        df["Daily_Change"] = df["Close"].pct_change()
        return df

    def _display_results(self):
        for signal in sorted(self.buy_signals, key=lambda x: x["signal_strength"], reverse=True):
            print(f"BUY {signal['symbol']} at ${signal['price']:.2f}, {signal['signal_strength']}/100")
        print(f"scanned {len(self.all_symbols)}, {len(self.buy_signals)} to buy, {len(self.near_signals)} near")


def main():
    scanner = AEGSEnhancedScanner()
    scanner.scan_all_symbols()


if __name__ == "__main__":
    main()
