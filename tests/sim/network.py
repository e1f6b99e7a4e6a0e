"""The network between adapters and gateway: connections in memory, each way a queue of whole frames with a due time.

network.listen(factory, host, port)        what the loop's `create_server` comes to
await network.open(owner, protocol, ...)   an adapter's opener: a connection, faults and all
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .loop import Owner, VirtualLoop
from .messages import HELLO, INCOMING, OUTGOING, Answers, Cutter, Kind, message_id

if TYPE_CHECKING:
    from .faults import Faults

#: Seconds that a frame takes, each way.
LATENCY = 0.002
#: What TCP_USER_TIMEOUT leaves: bytes that were not acknowledged for so long never arrive.
RETRANSMIT = 9.0


class Part(bytes):
    """A piece of a frame. `whole` is the frame, with its last piece; None before."""

    whole: bytes | None = None


class Pipe:
    """One way of one connection. `silent` frames wait here; `stalled` also tells the writer to stop writing."""

    def __init__(self, link: Link, *, to_server: bool) -> None:
        self.link = link
        self.to_server = to_server
        self.names = OUTGOING if to_server else INCOMING
        self.reader: End | None = None
        self.queue: deque[tuple[float, float, bytes]] = deque()
        self.silent = 0
        self.stalled = 0
        self.ended: BaseException | bool | None = False
        #: A frame was cut short: nothing more passes. And: a frame has begun to arrive.
        self.cut = False
        self._inside = False
        self._cutter = Cutter()
        self._last_due = 0.0
        self._handle: asyncio.Handle | None = None

    def write(self, data: bytes) -> None:
        faults = self.link.network.faults
        for frame in self._cutter.cut(data):
            name, kind = self.names.get(message_id(frame), ("", Kind.REST))
            if self.to_server and frame.startswith(HELLO):
                name, kind = "hello", Kind.REST
            faults.carry(self, frame, name, kind)
            if not self.link.alive:
                return

    def put(self, frame: bytes, delay: float = 0.0) -> None:
        """`frame` is on its way, behind everything that went before."""
        if self.cut:
            return
        loop = self.link.network.loop
        due = max(loop.now + LATENCY + delay, self._last_due)
        self._last_due = due
        self.queue.append((due, loop.now, frame))
        if self._handle is None:
            self._arm()

    def put_aside(self, frame: bytes, delay: float) -> None:
        """`frame` comes after `delay`, whatever has gone before it or meanwhile."""
        self.link.network.later(LATENCY + delay, self._late, frame)

    def _late(self, frame: bytes) -> None:
        if not self.link.alive or self.cut:
            return
        if self.silent or self._inside:
            self.put(frame)
        else:
            self._hand_over([frame])

    def _arm(self) -> None:
        if self.silent or not self.queue:
            return
        network = self.link.network
        self._handle = network.loop.call_at(self.queue[0][0], self._deliver, context=network.context)

    def _deliver(self) -> None:
        self._handle = None
        if self.silent or not self.link.alive:
            return
        now, ready = self.link.network.loop.now, []
        while self.queue and self.queue[0][0] <= now:
            ready.append(self.queue.popleft()[2])
        self._arm()
        if ready:
            self._hand_over(ready)
        if not self.queue and self.ended is not False:
            self.link.finish(self)

    def _hand_over(self, frames: list[bytes]) -> None:
        network = self.link.network
        whole = []
        for frame in frames:
            if isinstance(frame, Part):
                whole.append(frame)
                self._inside = frame.whole is None
                if frame.whole is None:
                    continue
                whole.pop()
                frame, piece = frame.whole, frame
            else:
                piece = frame
            name, _ = self.names.get(message_id(frame), ("", Kind.REST))
            if self.to_server:
                self.link.answers.asked(name)
            elif name and not self.link.answers.ends(name):
                network.trace("lost", self.link.number, name)
                continue
            if name:
                network.trace(">" if self.to_server else "<", self.link.number, name, frame)
            whole.append(piece)
        if whole and self.reader is not None:
            self.reader.hear(b"".join(whole))

    def silence(self) -> None:
        self.silent += 1
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def speak(self) -> None:
        """The end of a silence: what was kept arrives now, in order."""
        if self.silent:
            self.silent -= 1
        if self.silent:
            return
        if self._handle is None:
            self._arm()
        if not self.queue and self.ended is not False:
            self.link.finish(self)

    @property
    def is_busy(self) -> bool:
        return bool(self.queue)


class End(asyncio.Transport):
    """One end of a connection, as the asyncio transport of its protocol."""

    def __init__(self, link: Link, outgoing: Pipe, owner: Owner | None) -> None:
        super().__init__()
        self.link = link
        self.outgoing = outgoing
        self.owner = owner
        self.protocol: Any = None
        self.closing = False
        self.lost = False
        self.paused_writing = False
        self._reading = True
        self._unread: list[bytes] = []
        #: Called with (name, frame) around each order message of a client; may raise Killed.
        self.around: Callable[[str, bytes, Callable[[], None]], None] | None = None

    # asyncio.Transport

    def write(self, data: Any) -> None:
        if self.closing or not self.link.alive or (self.owner is not None and not self.owner.alive):
            return
        data = bytes(data)
        entry = OUTGOING.get(message_id(data)) if self.around is not None else None
        if self.around is not None and entry is not None and entry[1] is Kind.ORDER:
            self.around(entry[0], data, lambda: self.outgoing.write(data))
        else:
            self.outgoing.write(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.link.hang_up(self, None)

    def abort(self) -> None:
        if not self.closing:
            self.closing = True
            self.link.hang_up(self, ConnectionResetError("reset by peer"))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Writes never wait here but for a fault."""

    def get_write_buffer_size(self) -> int:
        return 1 if self.paused_writing else 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 50_000 + self.link.number) if name == "peername" else default

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        unread, self._unread = self._unread, []
        if unread:
            self.hear(b"".join(unread))

    # what the network tells

    def begin(self, protocol: Any) -> None:
        self.protocol = protocol
        self._run(protocol.connection_made, self)

    def hear(self, data: bytes) -> None:
        if self.lost or self.closing:
            return
        if not self._reading:
            self._unread.append(data)
            return
        self._run(self.protocol.data_received, data)

    def lose(self, error: BaseException | None) -> None:
        if not self.lost:
            self.lost = self.closing = True
            self._run(self.protocol.connection_lost, error)

    def pause(self) -> None:
        if not self.paused_writing and not self.lost:
            self.paused_writing = True
            self._run(self.protocol.pause_writing)

    def resume(self) -> None:
        if self.paused_writing:
            self.paused_writing = False
            if not self.lost:
                self._run(self.protocol.resume_writing)

    def _run(self, call: Callable[..., Any], *args: Any) -> None:
        """In the context of whoever owns this end; nothing for the dead."""
        loop = self.link.network.loop
        if self.owner is None:
            loop.call_soon(call, *args, context=self.link.network.context)
        elif self.owner.alive:
            loop.call_soon(call, *args, context=self.owner.context)


class Link:
    """One connection."""

    def __init__(self, network: Network, number: int, owner: Owner) -> None:
        self.network = network
        self.number = number
        self.owner = owner
        self.alive = True
        self.answers = Answers()
        self.up, self.down = Pipe(self, to_server=True), Pipe(self, to_server=False)
        self.client, self.server = End(self, self.up, owner), End(self, self.down, None)
        self.up.reader, self.down.reader = self.server, self.client
        #: Something of it was dropped or reordered; healing makes it anew.
        self.scarred = False

    @property
    def is_busy(self) -> bool:
        return self.up.is_busy or self.down.is_busy

    def hang_up(self, end: End, error: BaseException | None) -> None:
        """One side closed: what it wrote still arrives, then its end; it hears its own end at once.

        Behind a silence the bytes are repeated for a while; what is older than that never arrives.
        """
        if not self.alive:
            return
        self.network.trace("hang up", self.number, "client" if end is self.client else "server")
        loop = self.network.loop
        if end is self.client:
            if end.owner is not None and end.owner.alive:
                end.lost = True
                loop.call_soon(end.protocol.connection_lost, None, context=end.owner.context)
        else:
            end.lose(None)
        pipe, other = end.outgoing, self.down if end is self.client else self.up
        other.queue.clear()
        pipe.ended = error
        if pipe.silent:
            self.network.later(RETRANSMIT, self._give_up, pipe)
        elif not pipe.queue:
            self.network.later(LATENCY, self.finish, pipe)

    def _give_up(self, pipe: Pipe) -> None:
        if self.alive and pipe.silent:
            pipe.queue.clear()
            self.finish(pipe)

    def finish(self, pipe: Pipe) -> None:
        """All that one side wrote has arrived: the other side hears of the end."""
        if self.alive and pipe.ended is not False:
            self.alive = False
            error = pipe.ended if isinstance(pipe.ended, BaseException) else None
            if pipe.reader is not None:
                pipe.reader.lose(error)
            self.network.links.pop(self.number, None)

    def reset(self, text: str) -> None:
        """RST: whatever is under way is lost, and both sides hear of it."""
        if not self.alive:
            return
        self.alive = False
        self.network.trace("reset", self.number, text)
        self.up.queue.clear()
        self.down.queue.clear()
        error = ConnectionResetError(104, text)
        self.client.lose(error)
        self.server.lose(error)
        self.network.links.pop(self.number, None)


class Network:
    def __init__(self, loop: VirtualLoop, faults: Faults, trace: Callable[..., None], context: Any) -> None:
        self.loop = loop
        self.faults = faults
        self.trace = trace
        self.context = context
        self.links: dict[int, Link] = {}
        self._listeners: dict[int, Callable[[], Any]] = {}
        self._numbers = 0
        loop.listen = self.listen

    def later(self, delay: float, call: Callable[..., Any], *args: Any) -> None:
        """A timer of the network's own: it outlives whichever process sets it off."""
        self.loop.call_later(delay, call, *args, context=self.context)

    def listen(self, factory: Callable[[], Any], _host: Any, port: int) -> Any:
        port = port or 4_000 + len(self._listeners)
        if port in self._listeners:
            raise OSError(98, "address already in use")
        self._listeners[port] = factory
        return _Listening(self, port)

    def unlisten(self, port: int) -> None:
        self._listeners.pop(port, None)

    async def open(self, owner: Owner, protocol: Any, port: int) -> Link:
        """Raises ConnectionRefusedError when nobody listens."""
        await asyncio.sleep(2 * LATENCY)
        factory = self._listeners.get(port)
        if factory is None:
            raise ConnectionRefusedError(111, "connection refused")
        self._numbers += 1
        link = self.links[self._numbers] = Link(self, self._numbers, owner)
        self.trace("connect", link.number)
        link.server.begin(factory())
        link.client.protocol = protocol
        protocol.connection_made(link.client)
        return link

    def heal(self) -> None:
        """Every silence ends; connections that lost something are made anew."""
        for link in list(self.links.values()):
            for pipe, writer in ((link.up, link.client), (link.down, link.server)):
                pipe.stalled = 0
                writer.resume()
                while pipe.silent:
                    pipe.speak()
            if link.scarred:
                link.reset("healed")


class _Listening:
    """What asyncio's server shows: a socket with a name, and an end."""

    def __init__(self, network: Network, port: int) -> None:
        self._network = network
        self._port = port
        self.sockets = (self,)

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", self._port)

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self._network.unlisten(self._port)
