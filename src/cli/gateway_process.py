"""A paper gateway in a process of its own: started, told the time, joined by its ready-file, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from ..brokers.errors import ConfigurationError, ConnectFailed, DeadlineExceeded, LinkLost, UsageError
from .boundary import USAGE

#: Real seconds until a gateway listens, answers a control line, or ends after its input was closed.
START_DEADLINE = 30.0
CONTROL_DEADLINE = 60.0
END_DEADLINE = 10.0
#: Bytes of one control answer: the books of a long run.
LONGEST_ANSWER = 64 * 1024 * 1024
#: Real seconds for a TCP connect to a gateway on this machine.
PROBE_DEADLINE = 2.0


@dataclass(frozen=True, slots=True)
class Ready:
    """What a ready-file tells: where the doors listen, which accounts there are, which process it is.

    `portal_url` None: that door is closed. `ca_file` holds the authority that its clients trust.
    """

    host: str
    port: int
    accounts: tuple[str, ...]
    pid: int
    portal_url: str | None = None
    ca_file: Path | None = None

    @classmethod
    def read(cls, path: Path) -> Ready:
        """Raises OSError when there is none, ConfigurationError for a file that no gateway wrote."""
        try:
            content = json.loads(path.read_text())
            door = content["tws"]
            # A server on every address is reached on this machine's own.
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(door["host"], str(door["host"]))
            portal = content["portal"] or {}
            ca_file = portal.get("ca_file")
            return cls(
                host,
                int(door["port"]),
                tuple(content["accounts"]),
                int(content["pid"]),
                portal.get("url"),
                Path(ca_file) if ca_file else None,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError("ready-file", f"it is not one of a gateway: {error}", "delete it") from None


async def running_gateway(ready_file: Path) -> Ready | None:
    """The gateway that `ready_file` names, if somebody listens there; None otherwise."""
    try:
        ready = Ready.read(ready_file)
        if sys.platform != "win32":
            os.kill(ready.pid, 0)
        _, writer = await asyncio.wait_for(asyncio.open_connection(ready.host, ready.port), PROBE_DEADLINE)
    except (OSError, TimeoutError, ConfigurationError):
        return None
    writer.close()
    return ready


class GatewayProcess:
    """A child gateway that ends with its input, so that it never outlives us. When `driven`, its market time moves
    only when told; else by itself.

    Use as ``async with GatewayProcess(arguments, folder) as gateway:``; `folder` holds ready-file and log.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, *, driven: bool = True) -> None:
        self._arguments = ["--control", "stdio" if driven else "end", *arguments]
        self._ready_file = folder / f"gateway-{os.getpid()}.json"
        self.log_file = folder / "gateway.log"
        self._process: asyncio.subprocess.Process | None = None
        self._control = asyncio.Lock()
        self._log_start = 0
        self._ready: Ready | None = None

    @property
    def where(self) -> Ready:
        """Raises LinkLost before the gateway listens."""
        if self._ready is None:
            raise LinkLost("paper gateway", "it is not running", self._hint)
        return self._ready

    async def __aenter__(self) -> GatewayProcess:
        self._ready_file.unlink(missing_ok=True)
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "moondev_ibkr", "gateway", "--tws-port", "0", "--portal-port", "off"),
                *("--ready-file", str(self._ready_file), *self._arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=LONGEST_ANSWER,
                # Ctrl-C is for the parent: it closes orders and reports before the gateway may go.
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(START_DEADLINE):
                await self._wait_until_ready(self._process)
        except TimeoutError:
            await self._end()
            raise DeadlineExceeded(
                "start of the paper gateway", timedelta(seconds=START_DEADLINE), self._hint
            ) from None
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def advance_to(self, moment: datetime) -> dict[str, Any]:
        """Let market time run to `moment`; returns when all that happened until then has been sent."""
        return await self.tell({"advance_to": moment.isoformat()})

    async def tell(self, command: dict[str, Any]) -> dict[str, Any]:
        """One control line and its answer. Raises LinkLost when the gateway is gone, ConfigurationError when it
        refuses the command."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise LinkLost("gateway control", "the gateway is not running")
        async with self._control:
            try:
                process.stdin.write(json.dumps(command).encode() + b"\n")
                await process.stdin.drain()
                # Not wait_for: in 3.11 it loses a Ctrl-C that comes together with the answer.
                async with asyncio.timeout(CONTROL_DEADLINE):
                    line = await process.stdout.readline()
            except TimeoutError:
                raise DeadlineExceeded(f"gateway control {command}", timedelta(seconds=CONTROL_DEADLINE)) from None
            except (BrokenPipeError, ConnectionResetError):
                line = b""
        if not line:
            raise LinkLost("gateway control", f"the gateway ended with {process.returncode}", self._hint)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ConfigurationError(f"gateway control {command}", str(answer["error"]))
        return answer

    @property
    def _hint(self) -> str:
        return f"see {self.log_file}"

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        ended = asyncio.ensure_future(process.wait())
        try:
            while not self._ready_file.exists():
                await asyncio.wait({ended}, timeout=0.02)
                if ended.done():
                    raise self._ended_early(process.returncode)
        finally:
            ended.cancel()
        self._ready = Ready.read(self._ready_file)

    def _ended_early(self, code: int | None) -> Exception:
        """Why the gateway never listened, in its own words: a usage error of its options is one of ours."""
        words = ""
        with contextlib.suppress(OSError), self.log_file.open(errors="replace") as log:
            log.seek(self._log_start)
            words = ([line for line in log.read().splitlines() if line.strip()] or [""])[-1]
        if code == USAGE and words:
            return UsageError(words.removeprefix("moondev-ibkr: "))
        return ConnectFailed(
            "paper gateway", words or f"it ended with {code} before it listened", self._hint, kind="closed_early"
        )

    async def _end(self) -> None:
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), END_DEADLINE)
        except TimeoutError:
            process.kill()
            await process.wait()
        self._ready_file.unlink(missing_ok=True)
        self._process = None
