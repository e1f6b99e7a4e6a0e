"""The gateway as a process of its own, as a user starts it; market time moves only when told."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_DEADLINE = 60.0


class Served:
    """`port` of the TWS door, `url` and `ca_file` of the `portal`; `advance` answers when all that happened until then
    has been sent."""

    def __init__(self, process: subprocess.Popen[str], ready: dict[str, Any]) -> None:
        self._process = process
        self.port: int = ready["tws"]["port"]
        self.portal: dict[str, str] = ready["portal"]

    def tell(self, **command: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer
        return answer

    def advance(self, seconds: float) -> None:
        self.tell(advance_by=seconds)


@contextmanager
def gateway_process(folder: Path, *options: str) -> Iterator[Served]:
    """The synthetic market with a million dollars; it must end with 0, and with no failure counted."""
    ready, log = folder / "ready.json", folder / "gateway.log"
    command = [sys.executable, "-m", "moondev_ibkr", "gateway", "--tws-port", "0", "--control", "stdio"]
    command += ["--prices", "synthetic", "--cash", "1000000", "--message-rate", "0", "--ready-file", str(ready)]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        served = Served(process, _ready(process, ready, log))
        yield served
        status = served.tell(status=True)
        assert not status["failures"], log.read_text()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(START_DEADLINE) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _ready(process: subprocess.Popen[str], ready: Path, log: Path) -> dict[str, Any]:
    end = time.monotonic() + START_DEADLINE
    while not ready.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)
    content: dict[str, Any] = json.loads(ready.read_text())
    return content
