from collections.abc import Callable
from typing import Any

from .frames import FrameReader

INTERFACE: int

class RowWriter:
    table: Any
    def __init__(self, table: Any, updates: Any, changed: Any, row: int) -> None: ...

class TickDispatcher:
    read: Callable[[bytes], int]
    def __init__(self, reader: FrameReader) -> None: ...
