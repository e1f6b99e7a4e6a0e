"""One symbol's detectors over its quotes: sessions, warm-up, cooldown, and what a gap takes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from ....brokers.domain.market_data import Quote
from ....brokers.domain.sessions import Session, TradingDay
from .day_figures import DayFigures
from .detectors import DETECTORS, MAKERS, MICROSECOND, MINUTE, Detector, DetectorRow, Finding, Tick
from .events import StreamEvent, StreamEventKind
from .windows import SessionRange

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: After a late start or a gap the source's own high and low are taken this long: brokers tell them piece by piece.
_SETTLE = 15 * MINUTE
#: The closing auction has printed this long after the close, and is in the daily bar.
_AUCTION = MINUTE
_NEVER = -(1 << 62)


class SymbolWatch:
    """Feed it the quotes of one symbol in the order they come; it does no input or output of its own.

    `set_day` gives the figures of a day; until then, and after the exchange's midnight, `needs_day` is True and only
    detectors that need no figures run. `skipped` counts quotes left out, by reason.
    """

    def __init__(self, symbol: str, table: Mapping[StreamEventKind, DetectorRow] = DETECTORS) -> None:
        self.symbol = symbol
        self.skipped: Counter[str] = Counter()
        self.day: DayFigures | None = None
        self._detectors: list[tuple[StreamEventKind, Detector]] = [
            (kind, MAKERS[kind](row)) for kind, row in table.items()
        ]
        #: Kind -> time of its last event, and whether that was in this session.
        self._told_at: dict[StreamEventKind, int] = {}
        self._told_in: dict[StreamEventKind, tuple[object, Session]] = {}
        self._range = SessionRange(_SETTLE)
        self._spans: tuple[tuple[int, Session], ...] = ()
        self._valid = (0, 0)
        self._open = self._close_due = _NEVER
        self._session: Session | None = None
        self._at = _NEVER
        self._last: float | None = None
        self._volume: float | None = None
        #: Whether the regular session's first tick will show that nothing of it was missed.
        self._before_open = False

    @property
    def needs_day(self) -> bool:
        """Whether figures are to be read (again): there are none of today, or today's close is due."""
        if self.day is None:
            return True
        return self._session is Session.POST and self.day.regular_close is None and self._at >= self._close_due

    def set_day(self, day: DayFigures) -> None:
        """Figures of the day that the next quotes belong to."""
        zone = ZoneInfo(day.hours.time_zone)
        start = datetime.combine(day.date, datetime.min.time(), zone)
        end = datetime.combine(day.date + timedelta(days=1), datetime.min.time(), zone)
        self._valid = _micros(start), _micros(end)
        self._spans = _spans(day.hours.day) if day.hours.day is not None else ((_NEVER, day.hours.session),)
        self._open = _micros(day.hours.day.open) if day.hours.day is not None else _NEVER
        self._close_due = _micros(day.hours.day.close) + _AUCTION if day.hours.day is not None else _NEVER
        if self.day is not None and day.date != self.day.date:
            self._session = None
        self._give_day(day)

    def on_gap(self) -> None:
        """The stream lost its source. What windows hold is given up, and nothing is compared across the gap."""
        self._last = self._volume = None
        self._before_open = False
        self._range.broken()
        for _kind, detector in self._detectors:
            detector.on_break()

    def on_quote(self, quote: Quote) -> list[StreamEvent]:
        """The events that the quote shows, mostly none."""
        at = (quote.time - _EPOCH) // MICROSECOND
        if at < self._at:
            self.skipped["older than the quote before it"] += 1
            return []
        if quote.halted or quote.suspect is not None:
            self.skipped["halted" if quote.halted else "suspect"] += 1
            return []
        self._at = at
        if self.day is not None and not self._valid[0] <= at < self._valid[1]:
            self._give_day(None)
        session = self._session_at(at)
        if session is not self._session:
            self._enter(session)
        tick = self._tick(at, session, quote)
        events = []
        for kind, detector in self._detectors:
            finding = detector.on_tick(tick)
            if finding is not None and self._may_tell(kind, detector.row, tick):
                events.append(self._event(kind, detector.row, quote, session, finding))
        if session is Session.REGULAR:
            self._range.add(at, tick.price, quote.high, quote.low)
        self._before_open = session not in (Session.REGULAR, Session.UNKNOWN)
        return events

    def _tick(self, at: int, session: Session, quote: Quote) -> Tick:
        last, volume = quote.last, quote.volume
        if last is not None and last <= 0:
            last = None
        price = None
        if last is not None and self._last is not None:
            risen = volume is not None and self._volume is not None and volume > self._volume
            price = last if last != self._last or risen else None
        self._last = last if last is not None else self._last
        self._volume = volume if volume is not None else self._volume
        mid = quote.mid
        spread = None if mid is None or quote.bid is None or quote.ask is None else (quote.ask - quote.bid) / mid
        followed = self._range
        if session is Session.REGULAR and not followed.begun:
            followed.begin(at, from_open=self._before_open or at == self._open)
        return Tick(
            at,
            session,
            at - self._open,
            last,
            price,
            quote.close,
            spread,
            volume,
            followed.high,
            followed.low,
            followed.whole(at),
        )

    def _session_at(self, at: int) -> Session:
        if self.day is None:
            return Session.UNKNOWN
        found = Session.CLOSED
        for start, session in self._spans:
            if at < start:
                break
            found = session
        return found

    def _enter(self, session: Session) -> None:
        self._session = session
        if session is Session.REGULAR:
            self._range.restart()
        for _kind, detector in self._detectors:
            detector.on_session()

    def _give_day(self, day: DayFigures | None) -> None:
        self.day = day
        for _kind, detector in self._detectors:
            detector.on_day(day)

    def _may_tell(self, kind: StreamEventKind, row: DetectorRow, tick: Tick) -> bool:
        if tick.session not in row.sessions:
            return False
        if row.warm_up and (tick.session is not Session.REGULAR or tick.since_open < row.warm_up // MICROSECOND):
            return False
        place = (self.day.date if self.day is not None else None, tick.session)
        if row.cooldown is None:
            if self._told_in.get(kind) == place:
                return False
        elif tick.at - self._told_at.get(kind, _NEVER) < row.cooldown // MICROSECOND:
            return False
        self._told_at[kind], self._told_in[kind] = tick.at, place
        return True

    def _event(
        self, kind: StreamEventKind, row: DetectorRow, quote: Quote, session: Session, finding: Finding
    ) -> StreamEvent:
        return StreamEvent(
            kind,
            self.symbol,
            quote.time,
            finding.value,
            row.threshold,
            finding.detail,
            session,
            quote.data_type,
        )


def _spans(day: TradingDay) -> tuple[tuple[int, Session], ...]:
    """(start, session from then on) of a day, ascending."""
    return (
        (_micros(day.pre_open), Session.PRE),
        (_micros(day.open), Session.REGULAR),
        (_micros(day.close), Session.POST),
        (_micros(day.post_close), Session.CLOSED),
    )


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // MICROSECOND
