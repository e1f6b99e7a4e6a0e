"""Faults of the network and of processes: drawn by seed for each message, counted when they hit something in flight.

A fault of a message is in flight by construction. A fault of a connection begins with the message that draws it. A
kill counts when an order was on its way: an intent, a change or a cancel without its answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from . import portal
from .messages import CLOSES, Kind
from .network import Link, Part, Pipe

_BOTH = (True, False)


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of fault: `weight` against the others, who may draw it, and on which way (True: to the gateway)."""

    name: str
    weight: float
    kinds: frozenset[Kind]
    ways: Sequence[bool] = _BOTH


_NEWS = frozenset({Kind.ORDER})
_ANY = frozenset({Kind.ORDER, Kind.QUERY, Kind.ROW})
_ASKED = frozenset({Kind.ORDER, Kind.QUERY})

TABLE: tuple[Row, ...] = (
    Row("drop", 12, _ANY),
    Row("delay", 14, _ANY),
    Row("duplicate", 10, _NEWS),
    Row("reorder", 10, _NEWS),
    Row("split", 8, _ANY),
    Row("reset before", 3, _ASKED),
    Row("reset after", 4, _ASKED),
    Row("reset inside", 2, _ANY),
    Row("closed by gateway", 2, _ASKED),
    Row("half-open", 3, _ASKED),
    Row("half-open, to gateway", 2, _ASKED, (True,)),
    Row("half-open, from gateway", 2, _ASKED),
    Row("stops reading", 2, _ASKED),
    Row("gateway restarts", 0.4, _ASKED),
    Row("broker down", 0.6, _ASKED),
)


class Faults:
    """Draws and does. `rate` is the chance of a message to draw a fault; 0 while everything is healed."""

    def __init__(self, random: Random, trace: Callable[..., None], rate: float) -> None:
        self.random = random
        self.trace = trace
        self.rate = rate
        self.counts: Counter[str] = Counter()
        #: What the gateway can do: name -> action. Filled by the world.
        self.gateway: dict[str, Callable[[], None]] = {}
        self._tables: dict[tuple[Kind, bool], tuple[list[str], list[float]]] = {}
        for kind in Kind:
            for way in _BOTH:
                rows = [row for row in TABLE if kind in row.kinds and way in row.ways]
                self._tables[kind, way] = ([row.name for row in rows], [row.weight for row in rows])

    def draw_portal(self, is_order: bool, name: str) -> str:
        """The fault of one request to the portal, counted; "" for none."""
        if not self.rate or self.random.random() >= self.rate:
            return ""
        rows = [row for row in portal.TABLE if is_order or not row.orders]
        chosen = self.random.choices([row.name for row in rows], [row.weight for row in rows])[0]
        self.count(chosen, name)
        return chosen

    def draw_frame(self, topic: str) -> str:
        """The fault of one frame of the portal's stream, counted; "" for none."""
        if not self.rate or self.random.random() >= self.rate:
            return ""
        names, weights = zip(*portal.FRAMES, strict=True)
        chosen: str = self.random.choices(names, weights)[0]
        self.count(chosen, topic)
        return chosen

    def count(self, name: str, *what: Any) -> None:
        self.counts[name] += 1
        self.trace("FAULT", name, *what)

    def heal(self) -> None:
        self.rate = 0.0

    def carry(self, pipe: Pipe, frame: bytes, name: str, kind: Kind) -> None:
        """Send one message on its way, whatever happens to it there."""
        if kind is Kind.REST or not self.rate or self.random.random() >= self.rate:
            pipe.put(frame)
            return
        names, weights = self._tables[kind, pipe.to_server]
        chosen = self.random.choices(names, weights)[0]
        self._act(chosen, pipe, frame, name)

    def _act(self, chosen: str, pipe: Pipe, frame: bytes, name: str) -> None:
        link, random = pipe.link, self.random
        row = None if pipe.to_server else link.answers.row_of(name, frame)
        if (row is not None and chosen in ("reorder", "duplicate")) or (chosen == "split" and name in CLOSES):
            chosen = "delay"
        self.count(chosen, link.number, name)
        if chosen == "drop":
            link.scarred = True
            if row is not None:
                link.answers.lose(row)
        elif chosen == "delay":
            pipe.put(frame, self._moment(0.01, 6.0))
        elif chosen == "duplicate":
            pipe.put(frame)
            if name in ("openOrder", "error") or pipe.to_server:
                pipe.put(frame)
            else:
                pipe.put_aside(frame, self._moment(0.001, 5.0))
        elif chosen == "reorder":
            pipe.put_aside(frame, self._moment(0.005, 1.0))
        elif chosen == "split":
            at = random.randrange(1, len(frame))
            rest = Part(frame[at:])
            rest.whole = frame
            pipe.put(Part(frame[:at]))
            pipe.put(rest, random.choice((0.0, 0.05, 0.5)))
        elif chosen == "gateway restarts" or chosen == "broker down":
            pipe.put(frame)
            # in the network's name: the gateway outlives whoever wrote the message
            link.network.later(0.0, self.gateway[chosen])
        else:
            self._break(chosen, pipe, frame)

    def _break(self, chosen: str, pipe: Pipe, frame: bytes) -> None:
        """A fault of the whole connection, around one message."""
        link, later = pipe.link, pipe.link.network.later
        if chosen == "reset before":
            link.reset(chosen)
        elif chosen == "reset after":
            pipe.put(frame)
            later(self._moment(0.0021, 0.05), link.reset, chosen)
        elif chosen == "reset inside":
            pipe.put(Part(frame[: max(1, len(frame) // 2)]))
            pipe.cut = True
            later(0.003, link.reset, chosen)
        elif chosen == "closed by gateway":
            pipe.put(frame)
            later(self._moment(0.0, 0.02), link.server.close)
        elif chosen == "stops reading":
            writer = link.client if pipe.to_server else link.server
            pipe.silence()
            pipe.put(frame)
            writer.pause()
            later(self._moment(0.1, 8.0), self._read_on, pipe, writer)
        else:
            pipes = {
                "half-open": (link.up, link.down),
                "half-open, to gateway": (link.up,),
                "half-open, from gateway": (link.down,),
            }[chosen]
            seconds = self._moment(0.3, 25.0)
            for one in pipes:
                one.silence()
                later(seconds, one.speak)
            pipe.put(frame)

    @staticmethod
    def _read_on(pipe: Pipe, writer: Any) -> None:
        pipe.speak()
        writer.resume()

    def _moment(self, least: float, most: float) -> float:
        """Short more often than long."""
        return least + (most - least) * self.random.random() ** 3


def cut_connections(links: dict[int, Link], owner: Any) -> None:
    """What the operating system does with the connections of a process that died: what was written still arrives."""
    for link in list(links.values()):
        if link.owner is owner and link.alive and not link.client.closing:
            link.client.closing = True
            link.hang_up(link.client, None)
