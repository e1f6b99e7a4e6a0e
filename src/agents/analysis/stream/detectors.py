"""The detectors: pure, one pass, the same cost for every tick. Their parameters are one table.

A detector is given every tick of one symbol in time order and answers what it found, or None. Which sessions it runs
in, its warm-up and its cooldown are its row's, and kept by `SymbolWatch`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from ....brokers.domain.sessions import Session
from .day_figures import DayFigures
from .events import StreamEventKind
from .windows import SlidingExtremes, SlotMedian

MICROSECOND = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1) // MICROSECOND
#: Slots that the window of the spread's median is sampled in.
SPREAD_SLOTS = 180

_REGULAR = frozenset((Session.REGULAR,))
_EXTENDED = frozenset((Session.PRE, Session.REGULAR, Session.POST))
#: Unknown is not closed: a surge needs no session to be one.
_ANY = _EXTENDED | {Session.OVERNIGHT, Session.UNKNOWN}


@dataclass(frozen=True, slots=True)
class DetectorRow:
    """`threshold` in `unit`. No event in the first `warm_up` of a session, none of a kind and symbol within `cooldown`
    of the one before; a cooldown of None means once a session."""

    threshold: float
    unit: str
    sessions: frozenset[Session]
    cooldown: timedelta | None
    window: timedelta = timedelta(0)
    warm_up: timedelta = timedelta(0)


DETECTORS: Mapping[StreamEventKind, DetectorRow] = MappingProxyType(
    {
        StreamEventKind.VOLUME_SPIKE: DetectorRow(
            3.0,
            "times the median of 20 sessions at the same minute, more than",
            _REGULAR,
            cooldown=timedelta(minutes=15),
            warm_up=timedelta(minutes=5),
        ),
        StreamEventKind.PRICE_SURGE: DetectorRow(
            3.0,
            "% from the window's lowest or highest print, at least",
            _ANY,
            cooldown=timedelta(minutes=5),
            window=timedelta(minutes=5),
        ),
        StreamEventKind.SPREAD_TIGHTENING: DetectorRow(
            0.5,
            "times the window's median relative spread, at most",
            _REGULAR,
            cooldown=timedelta(minutes=10),
            window=timedelta(minutes=30),
            warm_up=timedelta(minutes=10),
        ),
        StreamEventKind.NEW_HIGH: DetectorRow(
            0.0,
            "% above the session's high so far, more than",
            _REGULAR,
            cooldown=timedelta(minutes=5),
            warm_up=timedelta(minutes=15),
        ),
        StreamEventKind.GAP: DetectorRow(
            3.0,
            "% from the previous close (after hours: from today's regular close), at least",
            _EXTENDED,
            cooldown=None,
        ),
        StreamEventKind.VOLATILITY_SURGE: DetectorRow(
            2.0,
            "times ATR14 of the days before, the session's range more than",
            _REGULAR,
            cooldown=None,
        ),
    }
)


@dataclass(slots=True)
class Tick:
    """One quote as detectors see it. `price` is set only where a print is proven: the last price changed, or the volume
    rose. `spread` is relative to the mid, None unless two-sided. `high` and `low` are of the session before this tick,
    `whole_range` says whether they are those of all of it. `at` and `since_open` are microseconds."""

    at: int
    session: Session
    since_open: int
    last: float | None
    price: float | None
    close: float | None
    spread: float | None
    volume: float | None
    high: float | None
    low: float | None
    whole_range: bool


@dataclass(frozen=True, slots=True)
class Finding:
    value: float
    detail: str


class Detector(abc.ABC):
    """One kind of event in one symbol. It is given the ticks of every session, its row's or not."""

    __slots__ = ("day", "row")

    def __init__(self, row: DetectorRow) -> None:
        self.row = row
        #: None until they were told.
        self.day: DayFigures | None = None

    @abc.abstractmethod
    def on_tick(self, tick: Tick) -> Finding | None: ...

    def on_day(self, day: DayFigures | None) -> None:
        """The figures of the day, told at its first tick and again after a gap; None when they are out of date."""
        self.day = day

    @abc.abstractmethod
    def on_session(self) -> None:
        """Another session begins with the next tick."""

    @abc.abstractmethod
    def on_break(self) -> None:
        """The stream lost its source for a while: values may be missing between the last tick and the next."""


class VolumeSpike(Detector):
    """Volume since the open against what the median of 20 sessions had by the end of the same minute.

    The day's volume is a running sum, so a gap inside the regular session takes nothing away from it.
    """

    __slots__ = ("_before", "_opened")

    def __init__(self, row: DetectorRow) -> None:
        super().__init__(row)
        #: The day's volume when the regular session began: brokers may count the hours before it as well.
        self._before: float | None = None
        self._opened = False

    def on_day(self, day: DayFigures | None) -> None:
        if day is None or self.day is None or day.date != self.day.date:
            self._before, self._opened = None, False
        self.day = day

    def on_tick(self, tick: Tick) -> Finding | None:
        day, volume = self.day, tick.volume
        if day is None or volume is None:
            return None
        if tick.session is Session.PRE:
            self._before = volume
        if tick.session is not Session.REGULAR:
            return None
        before = self._opening(volume, day)
        usual = day.usual_volume(tick.since_open // MINUTE)
        if usual is None:
            return None
        traded = volume - before
        if traded <= self.row.threshold * usual:
            return None
        return Finding(traded / usual, f"{traded:,.0f} shares since the open, {usual:,.0f} are usual by now")

    def _opening(self, volume: float, day: DayFigures) -> float:
        self._opened = True
        if self._before is None:
            self._before = 0.0 if day.loaded_before_open else max(0.0, volume - day.traded)
        if volume < self._before:
            # what was counted before the open was another day's
            self._before = 0.0
        return self._before

    def on_session(self) -> None:
        """The volume before the open is what the regular session begins with."""

    def on_break(self) -> None:
        if not self._opened:
            # more may have traded before the open than was seen: wait for new figures
            self._before = self.day = None


class PriceSurge(Detector):
    """A print against the lowest and the highest of the window that ends with it."""

    __slots__ = ("_extremes",)

    def __init__(self, row: DetectorRow) -> None:
        super().__init__(row)
        self._extremes = SlidingExtremes(row.window // MICROSECOND)

    def on_tick(self, tick: Tick) -> Finding | None:
        price = tick.price
        if price is None:
            return None
        low, high = self._extremes.add(tick.at, price)
        up, down = (price / low - 1) * 100, (price / high - 1) * 100
        value, start = (up, low) if up >= -down else (down, high)
        if abs(value) < self.row.threshold:
            return None
        return Finding(value, f"{value:+.2f} % from {start:g} to {price:g} within {_minutes(self.row.window)}")

    def on_session(self) -> None:
        """The window is one of time alone."""

    def on_break(self) -> None:
        self._extremes.clear()


class SpreadTightening(Detector):
    """The relative spread against its median over the window, sampled at the ends of its slots."""

    __slots__ = ("_enough", "_median")

    def __init__(self, row: DetectorRow) -> None:
        super().__init__(row)
        width = row.window // MICROSECOND // SPREAD_SLOTS
        self._median = SlotMedian(width, SPREAD_SLOTS)
        self._enough = max(1, row.warm_up // MICROSECOND // width)

    def on_tick(self, tick: Tick) -> Finding | None:
        if tick.session is not Session.REGULAR:
            return None
        spread = tick.spread
        self._median.add(tick.at, spread)
        if spread is None or self._median.filled < self._enough:
            return None
        usual = self._median.median()
        if not usual or spread > self.row.threshold * usual:
            return None
        return Finding(spread / usual, f"spread {spread * 1e4:.1f} bps, median {usual * 1e4:.1f} bps")

    def on_session(self) -> None:
        self._median.clear()

    def on_break(self) -> None:
        self._median.clear()


class NewHigh(Detector):
    """A print above the session's high before it, where that is known for the whole session."""

    __slots__ = ()

    def on_tick(self, tick: Tick) -> Finding | None:
        price, high = tick.price, tick.high
        if price is None or high is None or not tick.whole_range:
            return None
        value = (price / high - 1) * 100
        if value <= self.row.threshold:
            return None
        return Finding(value, f"{price:g}, the session's high was {high:g}")

    def on_session(self) -> None:
        """The range is kept by the watch."""

    def on_break(self) -> None:
        """The range is kept by the watch."""


class PriceGap(Detector):
    """A print against the close before the session: before and in regular hours the previous day's, after hours
    today's own, as the daily bar has it. The last print before the close would not do: the closing auction prints
    after it."""

    __slots__ = ()

    def on_tick(self, tick: Tick) -> Finding | None:
        if tick.price is None or self.day is None:
            return None
        base, name = self._base(tick, self.day)
        if base is None or base <= 0:
            return None
        value = (tick.price / base - 1) * 100
        if abs(value) < self.row.threshold:
            return None
        return Finding(value, f"{tick.price:g}, {name} {base:g}")

    @staticmethod
    def _base(tick: Tick, day: DayFigures) -> tuple[float | None, str]:
        if tick.session is Session.POST:
            return day.regular_close, "today's regular close"
        return (tick.close if day.previous_close is None else day.previous_close), "previous close"

    def on_session(self) -> None:
        """Every session has its own base in the figures."""

    def on_break(self) -> None:
        """Nothing is kept from tick to tick."""


class VolatilitySurge(Detector):
    """The session's range, this tick included, against ATR14 of the days before."""

    __slots__ = ()

    def on_tick(self, tick: Tick) -> Finding | None:
        day, high, low = self.day, tick.high, tick.low
        if tick.price is None or day is None or not day.atr:
            return None
        high = tick.price if high is None else max(high, tick.price)
        low = tick.price if low is None else min(low, tick.price)
        value = (high - low) / day.atr
        if value <= self.row.threshold:
            return None
        return Finding(value, f"range {low:g} to {high:g}, ATR14 {day.atr:.4g}")

    def on_session(self) -> None:
        """The range is kept by the watch."""

    def on_break(self) -> None:
        """A range can only be too small for what was missed, which invents nothing."""


MAKERS: Mapping[StreamEventKind, Callable[[DetectorRow], Detector]] = MappingProxyType(
    {
        StreamEventKind.VOLUME_SPIKE: VolumeSpike,
        StreamEventKind.PRICE_SURGE: PriceSurge,
        StreamEventKind.SPREAD_TIGHTENING: SpreadTightening,
        StreamEventKind.NEW_HIGH: NewHigh,
        StreamEventKind.GAP: PriceGap,
        StreamEventKind.VOLATILITY_SURGE: VolatilitySurge,
    }
)


def _minutes(window: timedelta) -> str:
    return f"{window.total_seconds() / 60:g} min"
