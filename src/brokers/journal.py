"""The order journal (shape; bodies follow)."""

from __future__ import annotations

from pathlib import Path


class Journal:
    """`Journal(path, synchronous="FULL")`; path ":memory:" for tests and the in-process paper broker."""

    def __init__(
        self, path: str | Path = ":memory:", *, synchronous: str = "FULL", busy_timeout: float = 5.0
    ) -> None: ...

    def close(self) -> None: ...
