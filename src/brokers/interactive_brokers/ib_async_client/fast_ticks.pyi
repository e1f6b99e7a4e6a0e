from collections.abc import Callable
from datetime import datetime
from typing import Any

from ib_async.ticker import Ticker

from ...domain.instrument import Instrument
from ...domain.market_data import Quote
from .frames import FrameReader

INTERFACE: int

class RowWriter:
    table: Any
    def __init__(self, table: Any, updates: Any, changed: Any, row: int) -> None: ...

class TickDispatcher:
    read: Callable[[bytes], int]
    def __init__(self, reader: FrameReader) -> None: ...

def to_quote(ticker: Ticker, instrument: Instrument, time: datetime, source: str) -> Quote: ...
