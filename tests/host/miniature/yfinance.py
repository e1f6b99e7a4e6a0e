"""Yahoo's bars."""

import pandas as pd
from src import wire


def _bars(symbol, **question):
    rows = wire.ask("yahoo", "bars", symbol=symbol, **question)
    return pd.DataFrame(rows, columns=["Open", "High", "Low", "Close", "Volume"])


def download(tickers, start=None, end=None, period=None, interval="1d", progress=True, **rest):
    return _bars(tickers, period=period, interval=interval)


class Ticker:
    def __init__(self, symbol):
        self.ticker = symbol

    def history(self, period="1mo", interval="1d", start=None, end=None, **rest):
        return _bars(self.ticker, period=period, interval=interval)
