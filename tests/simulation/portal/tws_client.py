"""A client of the TWS door in memory, beside the portal's: what it is told, decoded."""

from __future__ import annotations

from typing import Any

from moondev_ibkr.brokers.simulation.tws import requests as r
from moondev_ibkr.brokers.simulation.tws.codec import FrameReader, unpack
from moondev_ibkr.brokers.simulation.tws.contract import Contract
from moondev_ibkr.brokers.simulation.tws.messages_out import decode
from moondev_ibkr.brokers.simulation.tws.outbox import Outbox
from moondev_ibkr.brokers.simulation.tws.request import Request
from moondev_ibkr.brokers.simulation.tws.session import Session

from .rig import Rig

VERSION = 178


class TwsClient:
    """Joins at once; `greeting` holds the codes that came with that. `codes`: every error since, but for farms."""

    def __init__(self, rig: Rig, client_id: int = 1) -> None:
        self._rig = rig
        self._frames = FrameReader()
        self._new: list[tuple[str, dict[str, Any]]] = []
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.session = Session(rig.gateway.door, client_id, VERSION, Outbox(self._write), lambda: None)
        rig.gateway.door.join(self.session)
        self.greeting = [values["errorCode"] for name, values in self.read() if name == "error"]
        self.seen.clear()

    def _write(self, data: bytes) -> None:
        self._new += [decode(VERSION, unpack(payload)) for payload in self._frames.feed(data)]

    def read(self) -> list[tuple[str, dict[str, Any]]]:
        """What came since the last look."""
        self._rig.gateway.timers.run_until(self._rig.gateway.now)
        self._rig.gateway.door.flush()
        new, self._new = self._new, []
        self.seen += new
        return new

    def names(self) -> list[str]:
        """The names of what came since the last look."""
        return [name for name, _ in self.read()]

    def errors(self, code: int) -> list[dict[str, Any]]:
        self.read()
        return [values for name, values in self.seen if name == "error" and values["errorCode"] == code]

    def codes(self) -> list[int]:
        """The codes of every error since the greeting."""
        self.read()
        return [values["errorCode"] for name, values in self.seen if name == "error"]

    def send(self, request: Request) -> None:
        self._rig.gateway.door.serve(self.session, request)

    def quote(self, req_id: int, con_id: int) -> None:
        contract = Contract(conId=con_id, exchange="SMART")
        self.send(
            r.ReqMktData(reqId=req_id, contract=contract, genericTickList="", snapshot=False, regulatorySnapshot=False)
        )
