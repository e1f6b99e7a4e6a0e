"""A paper gateway in a process of its own, under the control of a test: told the time, asked for its books."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

#: Real seconds until it listens, and until it answers a control line.
START, ANSWER = 30.0, 30.0


class Market:
    """Use as ``with Market(folder) as market:``. Market time stands still unless told; marketable orders fill."""

    def __init__(self, folder: Path, arguments: Sequence[str] = ()) -> None:
        self._folder = folder
        self._arguments = arguments
        self._ready_file = folder / "ready.json"
        self._lines: queue.Queue[str] = queue.Queue()

    def __enter__(self) -> Market:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "gateway.log").open("w") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "moondev_ibkr", "gateway", "--tws-port", "0", "--portal-port", "off"),
                    *("--message-rate", "0", "--ready-file", str(self._ready_file), "--control", "stdio"),
                    *self._arguments,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "IB_STATE_DIR": str(self._folder / "state")},
            )
        threading.Thread(target=self._read, name="gateway answers", daemon=True).start()
        deadline = time.monotonic() + START
        while not self._ready_file.exists():
            assert self._process.poll() is None, (self._folder / "gateway.log").read_text()
            assert time.monotonic() < deadline, "the gateway does not listen"
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._process.stdout.close()

    def tell(self, name: str, value: Any = True) -> dict[str, Any]:
        """One control line and its answer; see src/brokers/simulation/control.py."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({name: value}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._lines.get(timeout=ANSWER))
        assert "error" not in answer, answer
        return answer

    def orders(self, *symbols: str) -> list[dict[str, Any]]:
        """Every order in these symbols that reached the exchange, oldest first, as the exchange's books have them."""
        return [row for row in self.tell("books")["orders"] if row["symbol"] in symbols]

    def held(self, symbol: str) -> int:
        """Signed shares by the exchange's books."""
        ((_, account),) = self.tell("books")["accounts"].items()
        return int(float(account["positions"].get(symbol, "0")))

    def flatten(self) -> None:
        """Somebody closes everything by hand, so that no limit on the whole account meets the next story."""
        ((_, account),) = self.tell("books")["accounts"].items()
        for symbol, shares in account["positions"].items():
            self.tell("fault", f"manual-order:{symbol}:{-int(float(shares))}")

    def serve(self, state: Path) -> Path:
        """Lead who uses the state folder `state` to this gateway."""
        folder = state / "simulation"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(self._ready_file, folder / "gateway.json")
        return state
