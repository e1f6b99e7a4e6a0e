"""Who reported what of a stock and when: decided by seed, symbol and day; and headlines that a test scripts.

desk.headlines(con_id, providers, start, end, count)   newest first, and whether there are more
desk.next_time(con_id, moment)                          when the next one comes
desk.at(con_id, moment)                                 what came at that time
desk.article(provider, article_id)
desk.publish(symbol, text)                              now, whatever it says
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random

from ...domain.instrument import InstrumentDetails, SecType, normalize_symbol
from ...domain.market_data import BarSize, BarSource
from ...domain.sessions import TradingDay
from ...errors import BrokerError, InvalidRequest
from ..exchange import Exchange
from ..hours import trade_date
from ..models import TradingCalendar
from ..walk import seed_for
from .stories import PROVIDERS, choose, scripted_article, worded

#: How many stories a trading day has, by chance.
_STORIES_A_DAY = (0, 0, 0, 1, 1, 1, 2, 2, 3)
#: Days that are looked through for older headlines, and for the next one.
_LOOK_BACK, _LOOK_AHEAD = 400, 30
_ID = re.compile(r"(?P<con_id>\d+)-(?P<day>\d{8})-(?P<number>\d+)")
_SCRIPTED = "scripted"
#: Days of one stock that are kept worded.
_KEPT = 2_000


@dataclass(frozen=True, slots=True)
class Story:
    """`time` is aware UTC, on a whole second."""

    con_id: int
    time: datetime
    provider: str
    article_id: str
    headline: str
    body: str


StoryListener = Callable[[Story], None]


class NewsDesk:
    """News of every stock that the exchange lists. Nothing of it is known before its time."""

    def __init__(self, exchange: Exchange, calendar: TradingCalendar) -> None:
        self._exchange = exchange
        self._calendar = calendar
        self._seed = exchange.settings.seed
        self._days: dict[tuple[int, date], tuple[Story, ...]] = {}
        self._scripted: list[Story] = []
        self._listeners: dict[StoryListener, None] = {}

    def subscribe(self, listener: StoryListener) -> Callable[[], None]:
        """`listener` gets every scripted headline; returns how to stop it. The others have their time: `next_after`."""
        self._listeners[listener] = None
        return lambda: self._listeners.pop(listener, None)

    def headlines(
        self,
        con_id: int,
        providers: Collection[str],
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        count: int,
    ) -> tuple[list[Story], bool]:
        """Those after `start`, up to `end` and to now, newest first; True when older ones were left out."""
        now = self._exchange.now
        until = now if end is None else min(end, now)
        found: list[Story] = []
        for story in self._backwards(con_id, until):
            if start is not None and story.time <= start:
                break
            if story.provider in providers:
                if len(found) == count:
                    return found, True
                found.append(story)
        return found, False

    def _backwards(self, con_id: int, until: datetime) -> Iterator[Story]:
        last = trade_date(until)
        for back in range(_LOOK_BACK):
            for story in reversed(self._on(con_id, last - timedelta(days=back))):
                if story.time <= until:
                    yield story

    def next_time(self, con_id: int, moment: datetime) -> datetime | None:
        """When the first unscripted story after `moment` comes; None within a month."""
        first = trade_date(moment)
        days = (first + timedelta(days=ahead) for ahead in range(_LOOK_AHEAD))
        return next((time for day in days for time in self._times(con_id, day) if time > moment), None)

    def at(self, con_id: int, moment: datetime) -> list[Story]:
        """Unscripted stories of exactly that moment, which has come."""
        return [row for row in self._on(con_id, trade_date(moment), scripted=False) if row.time == moment]

    def article(self, provider: str, article_id: str) -> Story | None:
        """None for an id that names nothing published by now."""
        name = article_id.removeprefix(f"{provider}$")
        found = _ID.fullmatch(name)
        if found is not None:
            try:
                day = datetime.strptime(found["day"], "%Y%m%d").replace(tzinfo=UTC).date()
            except ValueError:
                return None
            rows = self._on(int(found["con_id"]), day)
        else:
            rows = tuple(self._scripted)
        now = self._exchange.now
        return next((row for row in rows if row.article_id == f"{provider}${name}" and row.time <= now), None)

    def publish(self, symbol: str, text: str, provider: str = "PPRW", body: str | None = None) -> Story:
        """A headline of the caller's own, now, exactly as it is: also what no honest provider would send. Raises
        InvalidRequest for a stock that is not listed, a provider that there is not, or no text."""
        name = normalize_symbol(symbol)
        stock = next((row for row in self._stocks() if row.instrument.symbol == name), None)
        if stock is None or provider not in PROVIDERS or not text or "\0" in text + (body or ""):
            why = "it takes a listed stock, a text without NUL, and one of the providers " + ", ".join(PROVIDERS)
            raise InvalidRequest(f"a headline of {symbol} from {provider}", why, "as in headline:AAPL:PPRW:words")
        con_id = stock.instrument.con_id or 0
        article_id = f"{provider}${_SCRIPTED}-{len(self._scripted) + 1}"
        now = self._exchange.now.replace(microsecond=0)
        story = Story(con_id, now, provider, article_id, text, body or scripted_article(text))
        self._scripted.append(story)
        for listener in tuple(self._listeners):
            listener(story)
        return story

    def _stocks(self) -> Iterator[InstrumentDetails]:
        return (row for row in self._exchange.catalogue() if row.instrument.sec_type is SecType.STOCK)

    def _on(self, con_id: int, day: date, *, scripted: bool = True) -> tuple[Story, ...]:
        """A stock's stories of one day that has begun, ascending; also those whose time has not come."""
        rows = self._days.get((con_id, day))
        if rows is None:
            session = self._calendar.trading_day(day)
            if session is None or session.pre_open > self._exchange.now:
                return ()
            if len(self._days) >= _KEPT:
                self._days.clear()
            rows = self._days[con_id, day] = tuple(self._made(con_id, session))
        own = [row for row in self._scripted if row.con_id == con_id and trade_date(row.time) == day]
        return tuple(sorted((*rows, *own), key=lambda row: row.time)) if scripted and own else rows

    def _times(self, con_id: int, day: date) -> list[datetime]:
        """Whole seconds between the first and the last trade of the day."""
        stock, session = self._exchange.details(con_id), self._calendar.trading_day(day)
        if stock is None or session is None or stock.instrument.sec_type is not SecType.STOCK:
            return []
        chance = Random(seed_for("news times", self._seed, stock.instrument.symbol, day))
        seconds = int((session.post_close - session.pre_open).total_seconds())
        offsets = sorted(chance.sample(range(seconds), chance.choice(_STORIES_A_DAY)))
        return [session.pre_open + timedelta(seconds=offset) for offset in offsets]

    def _made(self, con_id: int, session: TradingDay) -> Iterator[Story]:
        times, stock = self._times(con_id, session.day), self._exchange.details(con_id)
        if not times or stock is None:
            return
        name, move = stock.long_name or stock.instrument.symbol, self._last_move(con_id, session.pre_open)
        chance = Random(seed_for("news", self._seed, stock.instrument.symbol, session.day))
        for number, time in enumerate(times):
            template = choose(chance, move, recap=number == 0 and chance.random() < 0.6)
            headline, body = worded(template, name, move)
            article_id = f"{template.provider}${con_id}-{session.day:%Y%m%d}-{number}"
            yield Story(con_id, time, template.provider, article_id, headline, body)

    def _last_move(self, con_id: int, morning: datetime) -> float | None:
        """Change from close to close of the session before, as a share; None where the past does not reach."""
        start = morning - timedelta(days=14)
        try:
            bars = self._exchange.prices.history(
                con_id, BarSize.D1, BarSource.TRADES, start=start, end=morning, now=morning
            )
        except BrokerError:
            return None
        closes = [bar.close for bar in bars if bar.complete]
        return closes[-1] / closes[-2] - 1 if len(closes) > 1 and closes[-2] > 0 else None
