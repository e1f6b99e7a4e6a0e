"""What this machine asked of a portal a moment ago, for the next process: IB counts by address, not by process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

#: Seconds after which a departure can hold nobody back any more: the longest limit.
OLDEST = 900.0


class PaceFile:
    """One JSON file: address -> the wall-clock moment of each limited row's last answer, and until when the address is
    to be left alone. A file that cannot be read or written costs the memory, nothing else."""

    def __init__(self, path: Path, address: str, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._address = address
        self._now = now
        self._failed = False

    def recall(self) -> tuple[dict[str, float], float]:
        """Row name -> seconds since its last answer, and the seconds for which the address is to be left alone."""
        now = self._now()
        told = self._read().get(self._address, {})
        rows, closed = told.get("rows"), told.get("closed_until")
        ages = {
            str(name): now - moment
            for name, moment in (rows if isinstance(rows, dict) else {}).items()
            if isinstance(moment, (int, float)) and 0 <= now - moment <= OLDEST
        }
        left = closed - now if isinstance(closed, (int, float)) else 0.0
        return ages, left if 0 < left <= OLDEST else 0.0

    def note(self, row: str) -> None:
        """`row` was answered now."""
        self._change(lambda told: told.setdefault("rows", {}).__setitem__(row, self._now()))

    def close(self, seconds: float) -> None:
        self._change(lambda told: told.__setitem__("closed_until", self._now() + seconds))

    def _change(self, change: Callable[[dict[str, Any]], object]) -> None:
        content = self._read()
        change(content.setdefault(self._address, {}))
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(content))
            part.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            if not self._failed:
                logger.warning("what was asked of the portal is not remembered: %s", error)
            self._failed = True

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return {key: row for key, row in content.items() if isinstance(row, dict)} if isinstance(content, dict) else {}
