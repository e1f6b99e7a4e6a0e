"""`src.nice_funcs_hyperliquid.get_data` answered from IB: the host's ASTER mode reads its bars there."""

from __future__ import annotations

import pandas as pd

from .data_reads import DataReads
from .indicators import hyperliquid_columns, robinhood_columns


class HyperliquidFuncs:
    def __init__(self, data: DataReads) -> None:
        self._data = data

    def get_data(
        self, symbol: str, timeframe: str = "15m", bars: int = 100, add_indicators: bool = True
    ) -> pd.DataFrame:
        """The last `bars` bars with the host's columns; indicators only where asked. Raises NoData for none.

        0 is one bar: the host counts none where a timeframe is longer than its days. Less raises InvalidRequest.
        """
        frame = self._data.last(symbol, timeframe, bars or 1)
        return hyperliquid_columns(frame) if add_indicators else robinhood_columns(frame)
