"""smd: market data as a stream, first whole and then what changed, at most every half second of market time.

A stream ends without a word after `stream_seconds` of monotonic time; the same topic sent again renews it.
Source: client-portal.md section 3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from typing import TYPE_CHECKING, Any

from ...events import ExchangeEvent, Halted, Printed, QuoteChanged
from ...past_view import past_changes
from ...timers import Timer
from .. import fields
from ..combos import MARK, ComboSheet, instruments, read_legs
from ..conids import read_conid
from ..market_lines import CADENCE, MarketLines, make_sheet
from ..market_watch import MarketWatch
from ..request import PortalRefusal
from ..routes import Topic
from ..sheet import DELAY
from ..stream import names_in

if TYPE_CHECKING:
    from ....domain.instrument import InstrumentDetails
    from ..session import PortalSession
    from ..stream import Stream

#: Shown when a client names no fields.
DEFAULT_FIELDS = ("31", "84", "86")


@dataclass(frozen=True, slots=True)
class Subject:
    """What one stream shows: an instrument, or a combination of `legs` (details and ratio)."""

    text: str
    number: int
    legs: tuple[tuple[InstrumentDetails, int], ...]
    is_combo: bool

    @property
    def con_ids(self) -> tuple[int, ...]:
        return tuple(details.instrument.con_id or 0 for details, _ in self.legs)

    def values(self, session: PortalSession, codes: frozenset[str], server_id: str) -> tuple[dict[str, str], int]:
        """The fields' texts now, and `_updated`."""
        sheets = [(make_sheet(session, details, server_id), ratio) for details, ratio in self.legs]
        if self.is_combo:
            combo = ComboSheet(sheets, server_id)
            return combo.values(codes), combo.updated
        return fields.values(sheets[0][0], codes, slow=True), sheets[0][0].updated


def read_subject(session: PortalSession, text: str) -> Subject:
    """Raises PortalRefusal: malformed, or no such contract."""
    if MARK in text:
        legs = read_legs(text)
        return Subject(text, legs.number, tuple(instruments(legs, session.door.exchange.details)), True)
    conid = read_conid(session, text)
    if conid.details is None:
        raise PortalRefusal(f"No contract found for conid {conid.text}")
    return Subject(conid.text, conid.number, ((conid.details, 1),), False)


class QuoteStream:
    """One smd subscription of one stream."""

    def __init__(self, stream: Stream, subject: Subject, codes: frozenset[str]) -> None:
        session = stream.session
        self._stream = stream
        self._session = session
        self._door = session.door
        self._lines = session.brokerage(MarketLines)
        self._subject = subject
        self._codes = codes | frozenset(fields.ALWAYS)
        self._topic = f"smd+{subject.text}"
        self._server_id = self._lines.server_id(subject.con_ids[0])
        absent = self._door.settings.not_subscribed
        self._delayed = any(details.instrument.symbol in absent for details, _ in subject.legs)
        self._told: dict[str, str] = {}
        self._told_at: datetime | None = None
        self._timers: deque[Timer] = deque()
        self._closed = False
        watch = self._door.state(MarketWatch)
        self._stops = [watch.watch(con_id, self._on_event) for con_id in subject.con_ids]
        self._expiry = self._door.after(self._door.settings.stream_seconds, self.end)
        for con_id in subject.con_ids:
            self._lines.hold(con_id, self.end)

    def end(self) -> None:
        """The stream stops, and its client is not told."""
        self._stream.drop(self._topic)

    def close(self) -> None:
        self._closed = True
        self._expiry.cancel()
        for stop in self._stops:
            stop()
        for con_id in self._subject.con_ids:
            self._lines.release(con_id, self.end)
        for timer in self._timers:
            timer.cancel()

    def start(self) -> None:
        """The whole frame. A delayed stream goes on with what happened in the last 15 minutes."""
        self.tell()
        door = self._door
        if self._delayed:
            since = door.now - DELAY
            changes = [past_changes(door.source, con_id, since, door.now) for con_id in self._subject.con_ids]
            for moment in merge(*changes):
                self._plan(moment + DELAY)

    def tell(self) -> None:
        """What differs from what was told before; nothing when nothing does."""
        if self._closed:
            return
        self._told_at = self._door.now
        texts, updated = self._subject.values(self._session, self._codes, self._server_id)
        changed = {code: text for code, text in texts.items() if self._told.get(code) != text}
        if changed:
            self._told |= changed
            self._stream.send(self._frame(updated, changed))

    def _frame(self, updated: int, changed: dict[str, str]) -> dict[str, Any]:
        head: dict[str, Any] = {
            "topic": self._topic,
            "conid": self._subject.number,
            "conidEx": self._subject.text,
            "server_id": self._server_id,
            "_updated": updated,
        }
        return head | changed

    def _on_event(self, event: ExchangeEvent) -> None:
        market = isinstance(event, QuoteChanged | Printed | Halted)
        self._plan(event.time + DELAY if self._delayed and market else event.time)

    def _plan(self, moment: datetime) -> None:
        """A frame at `moment`, or half a second after the one before it; a later one that is planned serves too."""
        newest = self._timers[-1].at if self._timers else self._told_at
        if self._timers and newest is not None and newest >= moment:
            return
        at = moment if newest is None else max(moment, newest + CADENCE)
        if at <= self._door.now:
            self.tell()
        else:
            self._timers.append(self._door.timers.at(at, self._ring))

    def _ring(self) -> None:
        self._timers.popleft()
        self.tell()


def subscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    """Raises PortalRefusal: no such contract, no data of it, no line left."""
    session = stream.session
    subject = read_subject(session, words[0] if words else "")
    lines = session.brokerage(MarketLines)
    if any(lines.is_withheld(details) for details, _ in subject.legs):
        raise PortalRefusal(f"Market data of {subject.text} is not subscribed")
    if not all(lines.has_room_for(con_id) for con_id in subject.con_ids):
        raise PortalRefusal("Max number of tickers has been reached")
    codes = frozenset(names_in(arguments, "fields") or DEFAULT_FIELDS)
    topic = f"smd+{subject.text}"
    stream.drop(topic)
    quotes = QuoteStream(stream, subject, codes)
    stream.keep(topic, quotes.close)
    quotes.start()


def unsubscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    """Silent, as IB is, whether there was a subscription or not."""
    stream.drop(f"smd+{words[0] if words else ''}")


TOPICS: tuple[Topic, ...] = (
    Topic("smd", "umd", subscribe, unsubscribe, needs_brokerage=True, about="market data of one contract"),
)
