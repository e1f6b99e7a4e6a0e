"""Sockets of the portal client that are cut at one named step: request bytes, answers and frames.

    wire orders 1 before | half | after     of the bytes of the first POST of orders, handed to TLS
    wire reply 2 …  change 1 …  cancel 1 …  an answer to a question, a modify, a DELETE
    heard answer orders 1                   its answer, read and not yet looked at
    heard orders | trades                   a reading of live orders or of trades, as above
    heard sor Submitted | str               a frame of the stream, decoded and not yet looked at

"half" is in the middle of the body, or of the head where there is no body.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import requests.adapters
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.requests_wire import RequestsWire
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.tls import TlsPolicy
from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import FrameSender, HttpCall, HttpReply
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from .kill_driver import Knife

#: Requests that change something -> how the steps name them.
WRITES = (
    (re.compile(r"POST /iserver/account/[^/]+/orders"), "orders"),
    (re.compile(r"POST /iserver/account/[^/]+/order/\d+"), "change"),
    (re.compile(r"DELETE /iserver/account/[^/]+/order/-?\d+"), "cancel"),
    (re.compile(r"POST /iserver/(reply/.+|notification)"), "reply"),
)
#: Requests that are no reading and change no order; any other without a name is an error of this table.
HARMLESS = re.compile(
    r"/tickle|/iserver/auth/(status|ssodh/init)|/iserver/questions/suppress(/reset)?"
    r"|/portfolio/[^/]+/positions/invalidate|/iserver/account/[^/]+/orders/whatif|/iserver/marketdata/unsubscribe"
)
READS = {"GET /iserver/account/orders": "orders", "GET /iserver/account/trades": "trades"}
SUPPRESS = "/iserver/questions/suppress"
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def write_named(request: str) -> str | None:
    """`request` as "POST /path" below the API's base; None for one that changes nothing."""
    return next((name for pattern, name in WRITES if pattern.fullmatch(request)), None)


class CutSocket:
    """A TLS socket on which every request that changes something has a step before, in the middle and after."""

    def __init__(self, under: Any, wire: CutWire) -> None:
        self._under = under
        self._wire = wire
        #: The step whose body is still to come.
        self._step: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._under, name)

    def sendall(self, data: bytes) -> None:
        step, self._step = self._step, None
        if step is None:
            line = bytes(data).split(b"\r\n", 1)[0].decode().split(" ")
            name = write_named(f"{line[0]} {line[1].removeprefix('/v1/api')}") if len(line) == 3 else None
            if name is None:
                self._under.sendall(data)
                return
            step = self._wire.count(name)
            self._wire.knife.at(f"{step} before")
            length = _LENGTH.search(data)
            if length is not None and int(length[1]):
                self._step = step
                self._under.sendall(data)
                return
        if self._wire.knife.armed == f"{step} half":
            self._under.sendall(data[: len(data) // 2])
        self._wire.knife.at(f"{step} half")
        self._under.sendall(data)
        self._wire.knife.at(f"{step} after")


class CutAdapter(requests.adapters.HTTPAdapter):
    """One connection at most, each with a cut socket."""

    def __init__(self, wire: CutWire) -> None:
        self._wire = wire
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        wire = self._wire

        class Connection(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                self.sock = CutSocket(self.sock, wire)

        class Pool(HTTPSConnectionPool):
            ConnectionCls = Connection

        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"https": Pool}


class CutWire(RequestsWire):
    """`asks`: the suppressions are lost (fault P15), so that every order must answer its questions."""

    def __init__(self, tls: TlsPolicy, knife: Knife, *, asks: bool = False) -> None:
        super().__init__(tls)
        self.knife = knife
        self._asks = asks
        self._counts: dict[str, int] = {}
        self._session.mount("https://", CutAdapter(self))

    def count(self, name: str) -> str:
        """The step of one more request called `name`."""
        self._counts[name] = number = self._counts.get(name, 0) + 1
        return f"wire {name} {number}"

    async def exchange(self, call: HttpCall) -> HttpReply:
        if self._asks and call.path == SUPPRESS:
            call = replace(call, path=f"{SUPPRESS}/reset", body={})
        request = f"{call.method} {call.path}"
        write = write_named(request)
        if write is None and call.method != "GET" and not HARMLESS.fullmatch(call.path):
            raise AssertionError(f"{request} has no step")
        reply = await super().exchange(call)
        if write is not None:
            self.knife.at(f"heard answer {write} {self._counts[write]}")
        elif request in READS:
            self.knife.at(f"heard {READS[request]}")
        return reply

    async def open(self, cookie: str, on_frame: Any, on_closed: Any, deadline: float, suffix: str = "") -> FrameSender:
        def cut(text: str) -> None:
            for label in frame_labels(json.loads(text)):
                self.knife.at(f"heard {label}")
            on_frame(text)

        return await super().open(cookie, cut, on_closed, deadline, suffix)


def frame_labels(frame: dict[str, Any]) -> list[str]:
    """What a frame tells of orders and executions; empty for any other."""
    args = frame.get("args")
    rows = args if isinstance(args, list) else []
    if frame.get("topic") == "sor":
        return [f"sor {row.get('status', 'change')}" for row in rows]
    return ["str"] * bool(rows) if frame.get("topic") == "str" else []
