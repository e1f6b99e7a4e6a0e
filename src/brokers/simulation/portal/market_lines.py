"""The market data lines of one brokerage session: what snapshots have opened and streams keep open.

The first snapshot of a contract only opens its line (the pre-flight). Slow fields come a second of monotonic time
later; values are taken anew when half a second of market time has passed. Source: client-portal.md section 2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ...domain.instrument import InstrumentDetails, SecType
from . import fields
from .chosen_account import Chosen
from .conids import Conid
from .market_faults import MarketFaults
from .sheet import Sheet

if TYPE_CHECKING:
    from .session import PortalSession

#: Market time between two takings of one line's values.
CADENCE = timedelta(milliseconds=500)
#: Monotonic seconds from a line's opening to its slow fields.
SLOW_SECONDS = 1.0
#: Field 6509 of a line that shows nothing.
NOT_SUBSCRIBED = "N"


class MarketLine:
    """One contract that snapshots read. `fields` grows with every request that names some."""

    def __init__(self, session: PortalSession, details: InstrumentDetails, server_id: str) -> None:
        self._session = session
        self._details = details
        self.server_id = server_id
        self._opened = session.door.monotonic()
        self._fields: dict[str, None] = {}
        self._sheet: Sheet | None = None

    def ask(self, codes: Iterable[str]) -> None:
        self._fields.update(dict.fromkeys(codes))

    def row(self, conid: Conid, codes: frozenset[str]) -> dict[str, Any]:
        """`codes` empty: everything that was ever asked for."""
        door = self._session.door
        wanted = codes or frozenset(self._fields)
        slow = door.monotonic() - self._opened >= SLOW_SECONDS
        sheet = self._take()
        shown: dict[str, Any] = dict(fields.values(sheet, wanted | frozenset(fields.ALWAYS), slow=slow))
        return shown | {
            "_updated": sheet.updated,
            "conid": conid.number,
            "conidEx": conid.text,
            "server_id": self.server_id,
        }

    def _take(self) -> Sheet:
        now = self._session.door.now
        if self._sheet is None or (
            now - self._sheet.time >= CADENCE and not self._session.door.state(MarketFaults).silent_feed
        ):
            self._sheet = make_sheet(self._session, self._details, self.server_id)
        return self._sheet


class MarketLines:
    """Snapshots' lines by conid, and the streams that watch the same contracts."""

    def __init__(self, session: PortalSession) -> None:
        self._session = session
        self._lines: dict[int, MarketLine] = {}
        self._streams: dict[int, dict[Callable[[], object], None]] = {}
        self._numbers: dict[int, int] = {}
        #: Symbols that a contract endpoint has shown; derivatives have data only then.
        self._known: set[str] = set()

    def close(self) -> None:
        self._lines.clear()
        self._streams.clear()

    def cool(self) -> None:
        """Every snapshot begins with its pre-flight again."""
        self._lines.clear()

    def learn(self, rows: Iterable[InstrumentDetails]) -> None:
        """A contract endpoint has shown these instruments."""
        self._known.update(row.instrument.symbol for row in rows)

    def snapshot(self, conid: Conid, codes: frozenset[str]) -> dict[str, Any]:
        """One row of the answer; with nothing but the conid while there is nothing to show."""
        bare: dict[str, Any] = {"conid": conid.number, "conidEx": conid.text}
        details = conid.details
        if details is None or not self._is_served(details):
            return bare
        if self.is_withheld(details) or not self.has_room_for(conid.number):
            return bare | {"6509": NOT_SUBSCRIBED}
        line = self._lines.get(conid.number)
        if line is None:
            line = MarketLine(self._session, details, self.server_id(conid.number))
            self._lines[conid.number] = line
            line.ask(codes)
            return bare
        line.ask(codes)
        return line.row(conid, codes)

    def _is_served(self, details: InstrumentDetails) -> bool:
        instrument = details.instrument
        return instrument.sec_type is SecType.STOCK or instrument.symbol in self._known

    def is_withheld(self, details: InstrumentDetails) -> bool:
        """Whether there is no data of the instrument at all."""
        door = self._session.door
        return details.instrument.symbol in door.settings.no_data or door.state(MarketFaults).no_data

    def has_room_for(self, con_id: int) -> bool:
        """Whether `con_id` has a line, or may still get one."""
        used = self._lines.keys() | self._streams.keys()
        return con_id in used or len(used) < self._session.door.settings.market_data_lines

    def server_id(self, con_id: int) -> str:
        """ "q0", "q1", … in the order of the first request."""
        return f"q{self._numbers.setdefault(con_id, len(self._numbers))}"

    def hold(self, con_id: int, end: Callable[[], object]) -> None:
        """A stream watches `con_id`; `end` is called when all data of it is unsubscribed."""
        self._streams.setdefault(con_id, {})[end] = None

    def release(self, con_id: int, end: Callable[[], object]) -> None:
        ends = self._streams.get(con_id)
        if ends is not None:
            ends.pop(end, None)
            if not ends:
                del self._streams[con_id]

    def unsubscribe(self, con_id: int) -> bool:
        """Ends the line and the streams of one contract; False when there was neither."""
        open_line = self._lines.pop(con_id, None) is not None
        ends = tuple(self._streams.pop(con_id, {}))
        for end in ends:
            end()
        return open_line or bool(ends)

    def unsubscribe_all(self) -> None:
        for con_id in tuple(self._lines.keys() | self._streams.keys()):
            self.unsubscribe(con_id)


def make_sheet(session: PortalSession, details: InstrumentDetails, server_id: str) -> Sheet:
    """The market of `details` now, beside the position of the session's chosen account."""
    return Sheet(session.door, details, session.brokerage(Chosen).account, server_id)
