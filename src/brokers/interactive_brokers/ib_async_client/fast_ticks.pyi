from collections.abc import Callable
from typing import Any

from .frames import FrameReader

INTERFACE: int

class RowWriter:
    def __init__(self, cells: Any, updates: Any, changed: Any, row: int) -> None: ...

class TickDispatcher:
    read: Callable[[bytes], int]
    def __init__(self, reader: FrameReader) -> None: ...
