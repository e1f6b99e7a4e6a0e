"""The portal door without sockets: one wire for each process, its requests and frames subject to seeded faults.

A request on its way outlives the process that sent it, as its bytes would.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moondev_ibkr.brokers.interactive_brokers.ib_portal_client.wire import Ambiguous, HttpCall, HttpReply, NotSent
from moondev_ibkr.brokers.simulation.portal.request import Answer, PortalRequest

if TYPE_CHECKING:
    from .process import TradingProcess
    from .world import World

#: Seconds that a request, an answer or a frame takes.
LATENCY = 0.003
#: A request that was held up on the way arrives at most so long after its client gave up.
LATEST = 6.0


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of fault. `orders`: only requests that place, change or cancel draw it."""

    name: str
    weight: float
    orders: bool = False


TABLE = (
    Row("portal refuses", 5),
    Row("request lost", 6),
    Row("request late", 4, orders=True),
    Row("answer lost", 10),
    Row("answer never comes", 5),
    Row("answer late", 10),
    Row("503 before", 4),
    Row("503 after commit", 8, orders=True),
    Row("aborted after commit", 8, orders=True),
    Row("429", 1),
    Row("portal silent", 2),
    Row("session kicked", 2),
    Row("bridge gone", 1),
    Row("stream cut", 3),
    Row("portal caches cold", 1),
    Row("TWS reclaims", 2),
)
#: Of frames.
FRAMES = (
    ("frame dropped", 4.0),
    ("frame late", 6.0),
    ("frame twice", 5.0),
    ("frames reordered", 5.0),
    ("stream cut", 1.0),
)
#: Topics whose frames draw faults: orders and trades.
FAULTY_TOPICS = frozenset({"sor", "str"})
#: What the gateway itself can do: fault -> its name there.
AT_GATEWAY = {
    "session kicked": "portal-auth-lost",
    "bridge gone": "portal-no-bridge",
    "stream cut": "portal-drop-streams",
    "portal caches cold": "portal-cold",
    "TWS reclaims": "portal-tws-reclaim",
}


class PortalDrive:
    """Runs the door's alarms on the loop, once for all wires."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._handle: asyncio.TimerHandle | None = None
        world.gateway.portal.alarms.on_earlier = self._arm
        self._arm()

    def serve(self, request: PortalRequest) -> Answer:
        answer = self._world.gateway.portal.serve(request)
        self.settle()
        return answer

    def settle(self) -> None:
        """What is due at this moment of market time has happened."""
        gateway = self._world.gateway
        gateway.timers.run_until(gateway.now)
        self._arm()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        world, due = self._world, self._world.gateway.portal.alarms.next_time()
        self._handle = None if due is None else world.loop.call_at(due, self._ring, context=world.network.context)

    def _ring(self) -> None:
        self._world.gateway.portal.alarms.run_due()
        self.settle()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()


class PortalLine:
    """A PortalWire of one process."""

    def __init__(self, process: TradingProcess) -> None:
        self._process = process
        self._world = process.world
        self._outlets: list[Outlet] = []
        self.silent_until = 0.0

    # requests

    async def exchange(self, call: HttpCall) -> HttpReply:
        world, process = self._world, self._process
        name = _named(call)
        is_order = _is_order(call)
        if is_order:
            process.step(f"wire {name} before")
            self._note(call)
        future: asyncio.Future[HttpReply] = world.loop.create_future()
        flight = Flight(self, call, name, future)
        flight.begin(world.faults.draw_portal(is_order, name))
        if is_order:
            process.step(f"wire {name} after")
        try:
            async with asyncio.timeout(call.deadline):
                return await future
        except TimeoutError:
            raise Ambiguous("no answer in time") from None

    def _note(self, call: HttpCall) -> None:
        """Tell the oracle what leaves now."""
        oracle, process = self._world.oracle, self._process
        if call.method == "POST" and call.path.endswith("/orders"):
            for ticket in call.body["orders"]:
                # the children of a bracket go with their entry, and carry no reference of their own
                if "cOID" in ticket:
                    oracle.placed_at_portal(str(ticket["cOID"]))
        elif call.method == "POST" and "/order/" in call.path:
            oracle.changed_at_portal(process.name)

    # streams

    async def open(
        self,
        cookie: str,
        on_frame: Callable[[str], None],
        on_closed: Callable[[str], None],
        deadline: float,
        suffix: str = "",
    ) -> Outlet:
        world = self._world
        await asyncio.sleep(2 * LATENCY)
        if world.loop.now < self.silent_until:
            await asyncio.sleep(deadline)
            raise NotSent("no answer in time")
        outlet = Outlet(self, on_frame, on_closed)
        self._outlets.append(outlet)
        request = PortalRequest("GET", "/ws", cookies={"api": cookie.removeprefix("api=")}, peer=self.peer)
        portal = world.gateway.portal
        world.network.context.copy().run(outlet.attach, portal, request)
        return outlet

    async def close(self) -> None:
        for outlet in self._outlets:
            outlet.close()

    @property
    def peer(self) -> str:
        return f"10.0.0.{self._process.number + 1}"

    def die(self) -> None:
        """The process is gone: the operating system closes what it had open."""
        for outlet in self._outlets:
            self._world.network.later(LATENCY, outlet.close)

    def fall_silent(self, seconds: float) -> None:
        self.silent_until = max(self.silent_until, self._world.loop.now + seconds)

    def heal(self) -> None:
        self.silent_until = 0.0
        for outlet in self._outlets:
            if outlet.scarred:
                outlet.abort()


class Flight:
    """One request and its answer, on their way."""

    def __init__(self, line: PortalLine, call: HttpCall, name: str, future: asyncio.Future[HttpReply]) -> None:
        self._line = line
        self._world = line._world
        self._call = call
        self._name = name
        self._future = future
        self._fault = ""

    def begin(self, fault: str) -> None:
        world, call = self._world, self._call
        self._fault, later, random = fault, world.network.later, world.faults.random
        silent = max(0.0, self._line.silent_until - world.loop.now)
        if fault == "portal refuses":
            self._fail(NotSent("connection refused"))
        elif fault == "request lost":
            world.trace("lost", "portal", self._name)
        elif fault == "request late":
            later(call.deadline + random.uniform(0.0, LATEST), self._arrive)
        elif fault == "503 before":
            later(2 * LATENCY, self._reply, HttpReply(503, ""))
        elif fault == "429":
            later(2 * LATENCY, self._reply, HttpReply(429, json.dumps({"error": "Too Many Requests"})))
        elif fault == "portal silent":
            self._line.fall_silent(random.uniform(0.5, 25.0))
            later(LATENCY, self._arrive)
        elif silent:
            # a half-open way: it arrives when the way is back, unless the client's system gave up before
            if silent < min(call.deadline, 9.0):
                later(silent + LATENCY, self._arrive)
        else:
            if fault in AT_GATEWAY:
                later(0.0, world.at_portal, AT_GATEWAY[fault])
            later(LATENCY, self._arrive)

    def _arrive(self) -> None:
        world, call = self._world, self._call
        body = {} if call.body is None else json.loads(json.dumps(call.body))
        request = PortalRequest(
            call.method, call.path, dict(call.query), body, arrived=world.loop.now, peer=self._line.peer
        )
        world.trace(">", "portal", self._name, json.dumps(body)[:120])
        answer = world.portal.serve(request)
        self._answered(answer)

    def _answered(self, answer: Answer) -> None:
        world, fault = self._world, self._fault
        later, random = world.network.later, world.faults.random
        if fault in ("answer lost", "aborted after commit") or answer.abort:
            later(LATENCY, self._fail, Ambiguous("the connection was reset"))
        elif fault in ("answer never comes", "request late"):
            world.trace("lost", "portal", "answer", self._name)
        elif fault == "503 after commit":
            later(10.0, self._reply, HttpReply(503, ""))
        else:
            delay = LATENCY + answer.delay
            if fault == "answer late":
                delay += random.uniform(0.05, 1.2 * self._call.deadline)
            delay += max(0.0, self._line.silent_until - world.loop.now)
            later(delay, self._reply, HttpReply(answer.status, answer.encoded().decode(), {}, delay))

    def _reply(self, reply: HttpReply) -> None:
        if not self._future.done():
            self._world.trace("<", "portal", self._name, reply.status, reply.text[:160])
            self._future.set_result(reply)

    def _fail(self, error: Exception) -> None:
        if not self._future.done():
            self._world.trace("<", "portal", self._name, type(error).__name__)
            self._future.set_exception(error)


class Outlet:
    """One WebSocket: the door's end (`write`, `close(code)`, `abort`), and the client's (`send`, `close()`)."""

    def __init__(self, line: PortalLine, on_frame: Callable[[str], None], on_closed: Callable[[str], None]) -> None:
        self._line = line
        self._world = line._world
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._stream: Any = None
        self._last = 0.0
        self.open = True
        #: A frame of it was lost: healing makes it anew.
        self.scarred = False

    def attach(self, portal: Any, request: PortalRequest) -> None:
        self._stream = portal.open_stream(portal.stream_session(request), self)
        self._world.portal.settle()

    # the door's calls

    def write(self, frame: dict[str, Any]) -> None:
        if not self.open:
            return
        world, text = self._world, json.dumps(frame)
        topic = str(frame.get("topic", "")).split("+")[0]
        fault = world.faults.draw_frame(topic) if topic in FAULTY_TOPICS else ""
        if fault == "frame dropped":
            self.scarred = True
        elif fault == "stream cut":
            world.network.later(0.0, self.abort)
        elif fault == "frame late":
            self._send(text, world.faults.random.uniform(0.05, 5.0))
        elif fault == "frames reordered":
            world.network.later(LATENCY + world.faults.random.uniform(0.01, 1.0), self._deliver, topic, text)
        else:
            self._send(text, 0.0)
            if fault == "frame twice":
                world.network.later(LATENCY + world.faults.random.uniform(0.0, 3.0), self._deliver, topic, text)

    def _send(self, text: str, delay: float) -> None:
        """In order behind what went before."""
        now = self._world.loop.now
        silent = max(0.0, self._line.silent_until - now)
        self._last = max(self._last, now + LATENCY + delay + silent)
        topic = json.loads(text).get("topic", "")
        self._world.network.later(self._last - now, self._deliver, topic, text)

    def _deliver(self, topic: str, text: str) -> None:
        if self.open and topic not in ("smd", "system") and not str(topic).startswith("smd+"):
            self._world.trace("<", "stream", topic, text[:160])
        self._call(self._on_frame, text)

    def _call(self, target: Callable[[str], None], text: str) -> None:
        process = self._line._process
        if process.alive and (self.open or target is self._on_closed):
            self._world.loop.call_soon(target, text, context=process.context)

    def abort(self) -> None:
        self._end("it was cut off")

    def _end(self, why: str) -> None:
        if self.open:
            self._world.trace("stream", "ends", why)
            self._call(self._on_closed, why)
            self.open = False
            if self._stream is not None:
                self._stream.leave()

    # the client's calls

    def send(self, text: str) -> None:
        if self.open:
            silent = max(0.0, self._line.silent_until - self._world.loop.now)
            self._world.network.later(LATENCY + silent, self._receive, text)

    def _receive(self, text: str) -> None:
        if self.open:
            self._stream.receive(text)
            self._world.portal.settle()

    def close(self, code: int | None = None) -> None:
        if code is not None:
            self._end(f"closed with {code}")
        elif self.open:
            self.open = False
            if self._stream is not None:
                self._stream.leave()


def _is_order(call: HttpCall) -> bool:
    path = call.path
    return (call.method == "POST" and (path.endswith("/orders") or "/order/" in path or "/reply/" in path)) or (
        call.method == "DELETE"
    )


def _named(call: HttpCall) -> str:
    return f"{call.method} {call.path}"
