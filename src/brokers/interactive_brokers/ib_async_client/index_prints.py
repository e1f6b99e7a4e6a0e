"""Prints of an index before its session: computed from yesterday's prices and today's first few, and often far off."""

from __future__ import annotations

import math
from datetime import datetime

from ib_async.ticker import Ticker

from ...calendar import calendar_for
from ...domain.instrument import Instrument, SecType


def drop_early_print(ticker: Ticker, instrument: Instrument, time: datetime) -> None:
    """Take the last price of a US index out of `ticker` on a trading day that has not opened yet (fault D19).

    `time` is market time. After the close and on other days the last price stands: it was printed in a session.
    """
    if instrument.sec_type is not SecType.INDEX or instrument.currency != "USD":
        return
    day = calendar_for().today(time)
    if day is not None and time < day.open:
        ticker.last = ticker.lastSize = math.nan
