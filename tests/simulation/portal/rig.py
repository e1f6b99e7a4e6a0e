"""The portal door in memory: a gateway that never listens, requests as calls, streams that collect their frames."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from moondev_ibkr.brokers.calendar import calendar_for
from moondev_ibkr.brokers.simulation.flat import FlatPrices
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.portal.door import PortalDoor, below_base
from moondev_ibkr.brokers.simulation.portal.request import Answer, PortalRequest
from moondev_ibkr.brokers.simulation.portal.session import PortalSession
from moondev_ibkr.brokers.simulation.portal.settings import PortalSettings
from moondev_ibkr.brokers.simulation.portal.stream import Stream

#: A Wednesday, 11:00 in New York.
START = datetime(2026, 4, 15, 15, 0, tzinfo=UTC)
PRICES = {"AAPL": 265.0, "MSFT": 408.0, "MES": 7039.5}
AAPL_ID, MSFT_ID, MES_ID = 265598, 272093, 770561194
ACCOUNT = "DU0000001"


class Clock:
    """Monotonic seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeStream:
    """A WebSocket without a socket: `frames` came, oldest first; `closed` holds the close code, -1 for an abort."""

    def __init__(self, door: PortalDoor, cookie: str | None) -> None:
        self.frames: list[dict[str, Any]] = []
        self.closed: int | None = None
        cookies = {} if cookie is None else {"api": cookie}
        session = door.stream_session(PortalRequest("GET", "/ws", cookies=cookies))
        self.stream: Stream = door.open_stream(session, self)

    def write(self, frame: dict[str, Any]) -> None:
        self.frames.append(frame)

    def close(self, code: int) -> None:
        self.closed = code

    def abort(self) -> None:
        self.closed = -1

    def say(self, text: str) -> list[dict[str, Any]]:
        """Sends `text`; returns the frames that came at once."""
        begin = len(self.frames)
        self.stream.receive(text)
        return self.frames[begin:]

    def of(self, topic: str) -> list[dict[str, Any]]:
        """The frames of this topic, `smd` standing for every smd+…."""
        return [frame for frame in self.frames if str(frame.get("topic", "")).split("+")[0] == topic]


class Rig:
    """Market time and monotonic time pass only when told. Pacing is off, unless a setting says otherwise.

    `warm` True: /iserver/accounts and /portfolio/accounts count as asked.
    """

    def __init__(
        self,
        prices: Mapping[str, float] | None = None,
        *,
        source: Any = None,
        warm: bool = True,
        gateway: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.clock = Clock()
        chosen = {"port": None, "requests_per_second": 0, **settings}
        self.gateway = Gateway(
            GatewaySettings(clock=ClockMode.CONTROL, portal=PortalSettings(**chosen), **(gateway or {})),
            prices=source or FlatPrices(prices or PRICES, calendar_for(), START),
            monotonic=self.clock,
        )
        self.exchange = self.gateway.exchange
        if warm:
            self.warm()

    @property
    def door(self) -> PortalDoor:
        return self.gateway.portal

    @property
    def session(self) -> PortalSession:
        return self.door.session

    def warm(self) -> None:
        self.session.accounts_asked = self.session.portfolio_asked = True

    # requests

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        peer: str = "127.0.0.1",
        **query: Any,
    ) -> Answer:
        """One request; what it makes due at this market moment has happened when it returns."""
        request = PortalRequest(
            method,
            below_base(path),
            {name: str(value) for name, value in query.items()},
            {} if body is None else body,
            headers or {},
            peer=peer,
            arrived=self.clock(),
        )
        answer = self.door.serve(request)
        self.gateway.timers.run_until(self.gateway.now)
        return answer

    def get(self, path: str, **query: Any) -> Answer:
        return self.ask("GET", path, **query)

    def post(self, path: str, body: Any = None, **query: Any) -> Answer:
        return self.ask("POST", path, body, **query)

    def delete(self, path: str, **query: Any) -> Answer:
        return self.ask("DELETE", path, **query)

    def put(self, path: str, body: Any = None, **query: Any) -> Answer:
        return self.ask("PUT", path, body, **query)

    def stream(self, cookie: str | None = "") -> FakeStream:
        """A greeted stream; `cookie` None sends none."""
        return FakeStream(self.door, self.session.session_id if cookie == "" else cookie)

    # time

    def wait(self, seconds: float) -> None:
        """Monotonic time passes, alarm by alarm; market time stands still."""
        end = self.clock.now + seconds
        while (due := self.door.alarms.next_time()) is not None and due <= end:
            self.clock.now = max(self.clock.now, due)
            self.door.alarms.run_due()
        self.clock.now = end

    def advance(self, seconds: float) -> None:
        """Market time passes; monotonic time stands still."""
        self.gateway.go_to(self.gateway.now + timedelta(seconds=seconds))

    # sound ends

    def check(self) -> None:
        """Nothing failed for a fault of our own."""
        assert not self.door.failures
        assert not self.door.alarms.failures
        assert not self.gateway.timers.failures
        assert not self.gateway.door.failures
