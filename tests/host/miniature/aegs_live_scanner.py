"""Scores symbols by their daily bars, and tells which ones to buy; places no order."""

import pandas as pd
import yfinance as yf

from AEGS_complete_strategy import AlphaEnsembleGoldmineStrategy


class AEGSLiveScanner:
    def __init__(self):
        self.priority_symbols = {"Large": ["AAPL", "MSFT", "IBM"], "Delisted": ["HMNY"]}
        self.all_symbols = [symbol for symbols in self.priority_symbols.values() for symbol in symbols]
        self.buy_signals = []
        self.near_signals = []

    def scan_all_symbols(self):
        for category, symbols in self.priority_symbols.items():
            for symbol in symbols:
                try:
                    self._scan_symbol(symbol, category)
                except Exception as e:
                    print(f"{symbol} failed: {str(e)[:50]}")
        self._display_scan_results()

    def _scan_symbol(self, symbol, category):
        strategy = AlphaEnsembleGoldmineStrategy(symbol)
        df = yf.download(symbol, period="200d", progress=False)
        if len(df) < 100:
            print(f"{symbol}: insufficient data")
            return
        if isinstance(df.columns, pd.MultiIndex):
            df.columns = df.columns.get_level_values(0)
        df = strategy.calculate_indicators(df)
        latest, prev = df.iloc[-1], df.iloc[-2]

        score, signals = 0, []

        def add(points, name):
            nonlocal score
            score += points
            signals.append(name)

        if pd.notna(latest["RSI"]):
            if latest["RSI"] < 30:
                add(30, "RSI")
            elif latest["RSI"] < 35:
                add(15, "RSI")
        if pd.notna(latest["BB_Position"]):
            if latest["BB_Position"] < 0:
                add(30, "BB_Below")
            elif latest["BB_Position"] < 0.1:
                add(20, "BB_Low")
        if pd.notna(latest["Distance_Pct"]):
            if latest["Distance_Pct"] < -5:
                add(25, "Dist")
            elif latest["Distance_Pct"] < -3:
                add(15, "Dist")
        if pd.notna(latest["Volume_Ratio"]):
            if latest["Volume_Ratio"] > 2.0 and latest["Daily_Change_Pct"] < -2:
                add(30, "VolSpike")
            elif latest["Volume_Ratio"] > 1.5:
                add(10, "Vol")
        if pd.notna(latest["Daily_Change_Pct"]):
            if latest["Daily_Change_Pct"] < -10:
                add(30, "Crash")
            elif latest["Daily_Change_Pct"] < -5:
                add(15, "Drop")
        if latest["MACD"] > latest["MACD_Signal"] and prev["MACD"] <= prev["MACD_Signal"]:
            add(20, "MACD_Cross")

        row = {
            "symbol": symbol,
            "category": category,
            "price": latest["Close"],
            "signal_strength": score,
            "signals": signals,
            "volume": latest["Volume"],
            "daily_change": latest.get("Daily_Change_Pct", 0),
        }
        if score >= 50:
            self.buy_signals.append(row)
        elif score >= 30:
            self.near_signals.append(row)
        print(f"{symbol}: {score}/100 on {len(df)} bars")

    def _display_scan_results(self):
        for signal in sorted(self.buy_signals, key=lambda x: x["signal_strength"], reverse=True):
            print(f"BUY {signal['symbol']} at ${signal['price']:.2f}, {signal['signal_strength']}/100")
        print(f"scanned {len(self.all_symbols)}, {len(self.buy_signals)} to buy, {len(self.near_signals)} near")


def main():
    scanner = AEGSLiveScanner()
    scanner.scan_all_symbols()
    print("scan complete")


if __name__ == "__main__":
    main()
