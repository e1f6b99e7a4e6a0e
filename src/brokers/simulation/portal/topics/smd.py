"""smd: market data as a stream, first whole and then what changed, at most every half second of market time.

A stream ends without a word after `stream_seconds` of monotonic time; the same topic sent again renews it.
Source: client-portal.md section 3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ...events import ExchangeEvent, Halted, Printed, QuoteChanged
from ...past_view import past_changes
from ...timers import Timer
from .. import fields
from ..conids import Conid, read_conid
from ..market_lines import CADENCE, MarketLines, make_sheet
from ..market_watch import MarketWatch
from ..request import PortalRefusal
from ..routes import Topic
from ..sheet import DELAY, Sheet

if TYPE_CHECKING:
    from ....domain.instrument import InstrumentDetails
    from ..stream import Stream

#: Shown when a client names no fields.
DEFAULT_FIELDS = ("31", "84", "86")


class QuoteStream:
    """One smd subscription of one stream."""

    def __init__(self, stream: Stream, conid: Conid, details: InstrumentDetails, codes: frozenset[str]) -> None:
        session = stream.session
        self._stream = stream
        self._session = session
        self._door = session.door
        self._lines = session.brokerage(MarketLines)
        self._conid = conid
        self._details = details
        self._codes = codes | frozenset(fields.ALWAYS)
        self._topic = f"smd+{conid.text}"
        self._server_id = self._lines.server_id(conid.number)
        self._delayed = details.instrument.symbol in self._door.settings.not_subscribed
        self._told: dict[str, str] = {}
        self._told_at: datetime | None = None
        self._timers: deque[Timer] = deque()
        self._closed = False
        self._stop = self._door.state(MarketWatch).watch(conid.number, self._on_event)
        self._expiry = self._door.after(self._door.settings.stream_seconds, self.end)
        self._lines.hold(conid.number, self.end)

    def end(self) -> None:
        """The stream stops, and its client is not told."""
        self._stream.drop(self._topic)

    def close(self) -> None:
        self._closed = True
        self._stop()
        self._expiry.cancel()
        self._lines.release(self._conid.number, self.end)
        for timer in self._timers:
            timer.cancel()

    def start(self) -> None:
        """The whole frame. A delayed stream goes on with what happened in the last 15 minutes."""
        self.tell()
        door = self._door
        if self._delayed:
            for moment in past_changes(door.source, self._conid.number, door.now - DELAY, door.now):
                self._plan(moment + DELAY)

    def tell(self) -> None:
        """What differs from what was told before; nothing when nothing does."""
        if self._closed:
            return
        self._told_at = self._door.now
        sheet = make_sheet(self._session, self._details, self._server_id)
        texts = fields.values(sheet, self._codes, slow=True)
        changed = {code: text for code, text in texts.items() if self._told.get(code) != text}
        if changed:
            self._told |= changed
            self._stream.send(self._frame(sheet, changed))

    def _frame(self, sheet: Sheet, changed: dict[str, str]) -> dict[str, Any]:
        head: dict[str, Any] = {
            "topic": self._topic,
            "conid": self._conid.number,
            "conidEx": self._conid.text,
            "server_id": self._server_id,
            "_updated": sheet.updated,
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
    conid = read_conid(session, words[0] if words else "")
    if conid.details is None:
        raise PortalRefusal(f"No contract found for conid {conid.text}")
    lines = session.brokerage(MarketLines)
    if lines.is_withheld(conid.details):
        raise PortalRefusal(f"Market data of {conid.text} is not subscribed")
    if not lines.has_room_for(conid.number):
        raise PortalRefusal("Max number of tickers has been reached")
    codes = frozenset(str(code) for code in arguments.get("fields") or DEFAULT_FIELDS)
    topic = f"smd+{conid.text}"
    stream.drop(topic)
    quotes = QuoteStream(stream, conid, conid.details, codes)
    stream.keep(topic, quotes.close)
    quotes.start()


def unsubscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    """Silent, as IB is, whether there was a subscription or not."""
    stream.drop(f"smd+{words[0] if words else ''}")


TOPICS: tuple[Topic, ...] = (
    Topic("smd", "umd", subscribe, unsubscribe, needs_brokerage=True, about="market data of one contract"),
)
