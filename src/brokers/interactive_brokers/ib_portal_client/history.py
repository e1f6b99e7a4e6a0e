"""Bars of the portal: IB's words in lower case, long spans in pieces, and live bars by asking again."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ...domain.clock import Clock
from ...domain.market_data import Bar, BarSize
from ...errors import BrokerError, InvalidRequest, LinkError, NoData, NoPermission, NotSupported, RequestFailed
from ..config.ib_config import PortalSettings
from ..ib_transport import BarListener, BarRequest
from .answers import expect_object
from .session import Session
from .wire import HttpCall
from .words import BAR_WORDS, SOURCE_WORDS, BarWords, to_float, to_moment

logger = logging.getLogger(__name__)

HISTORY = "/iserver/marketdata/history"
#: Pieces of one request; longer spans are cut by whoever asks.
MOST_PIECES = 40
#: Tries of one piece: the first call of a session may fail while the chart is made.
TRIES, TRY_AGAIN = 3, 1.0
#: A daily bar is told by the moment its session begins; hours added so that the evening before counts as the day.
_SESSION_SHIFT = timedelta(hours=6)
_NEW_YORK = ZoneInfo("America/New_York")
_DURATION = re.compile(r"(\d+) ([SDWMY])")
_UNIT = {"S": 1, "D": 86_400, "W": 7 * 86_400, "M": 30 * 86_400, "Y": 365 * 86_400}


@dataclass(slots=True, eq=False)
class _LiveBars:
    request: BarRequest
    listener: BarListener
    told: dict[datetime, Bar] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


def span_of(duration: str) -> timedelta:
    """IB's duration ("2 D") as calendar time. Raises InvalidRequest."""
    found = _DURATION.fullmatch(duration.strip())
    if found is None:
        raise InvalidRequest(f"duration {duration!r}", "it is not IB's", 'write it as "2 D"')
    return timedelta(seconds=int(found[1]) * _UNIT[found[2]])


def period_of(span: timedelta, size: BarSize, words: BarWords) -> str:
    """The portal's period that covers `span`, at most the longest that these bars may have in one request. Periods
    below an hour take bars of one minute alone."""
    seconds = max(math.ceil(span.total_seconds()), 60)
    if seconds >= words.days * 86_400:
        return words.period
    if size is BarSize.M1 and seconds <= 1_800:
        return f"{math.ceil(seconds / 60)}min"
    if size.is_intraday and seconds <= 8 * 3_600 and size.seconds <= 3_600:
        return f"{math.ceil(seconds / 3_600)}h"
    return f"{math.ceil(seconds / 86_400)}d"


class History:
    """Questions about bars."""

    def __init__(self, session: Session, clock: Clock, settings: PortalSettings) -> None:
        self._session = session
        self._clock = clock
        self._settings = settings
        self._live: dict[int, _LiveBars] = {}
        self._next_handle = 1_000_000

    async def bars(self, request: BarRequest) -> list[Bar]:
        """Ascending. Raises NotSupported, NoData, and what asking raises."""
        words, source = _words(request)
        end = request.end or self._clock.now()
        start = end - span_of(request.duration)
        found: dict[datetime, Bar] = {}
        until: datetime | None = request.end
        edge = end
        for _ in range(MOST_PIECES):
            piece = await self._piece(request, words, source, period_of(edge - start, request.size, words), until)
            for bar in piece:
                found.setdefault(bar.time, bar)
            # a piece may hold less than its period, the present session alone say: go on from what came
            reached = piece[0].time if piece and piece[0].time < edge else edge - timedelta(days=words.days)
            if reached <= start:
                break
            until = edge = reached
        if not found:
            raise NoData(f"bars of {request.instrument}", "the portal has none for this span")
        return [found[time] for time in sorted(found) if request.end is None or time < request.end]

    async def _piece(
        self, request: BarRequest, words: BarWords, source: str, period: str, until: datetime | None
    ) -> list[Bar]:
        query = {
            "conid": str(request.instrument.con_id),
            "period": period,
            "bar": words.word,
            "outsideRth": "false" if request.regular_hours else "true",
            "source": source,
        }
        if until is not None:
            query["startTime"] = until.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S")
        call = HttpCall(
            "GET", HISTORY, query, deadline=self._settings.history_deadline, what=f"bars of {request.instrument}"
        )
        for attempt in range(1, TRIES + 1):
            try:
                body = expect_object(call, await self._session.ask(call))
            except NoData:
                if attempt == 1:
                    # a chart that is being made says the same as one that has nothing
                    await asyncio.sleep(TRY_AGAIN)
                    continue
                return []
            except RequestFailed:
                if attempt == TRIES:
                    raise
                await asyncio.sleep(TRY_AGAIN)
                continue
            return _read(body, request)
        return []

    # Live bars

    async def live(self, request: BarRequest, listener: BarListener) -> tuple[int, list[Bar]]:
        """The portal keeps no bars up to date: they are asked for again every few seconds."""
        bars = await self.bars(replace(request, end=None))
        live = _LiveBars(request, listener, {bar.time: bar for bar in bars[-2:]})
        handle = self._next_handle
        self._next_handle += 1
        self._live[handle] = live
        live.task = self._session.spawn(self._keep(handle, live), f"live bars of {request.instrument}")
        return handle, bars

    async def _keep(self, handle: int, live: _LiveBars) -> None:
        latest = replace(live.request, duration=_recent(live.request.size), end=None)
        while self._live.get(handle) is live:
            await asyncio.sleep(self._settings.bars_every)
            try:
                bars = await self.bars(latest)
            except NoPermission as error:
                self._end(handle, error)
                return
            except BrokerError as error:
                logger.info("live bars of %s: %s", live.request.instrument, error)
                continue
            if self._live.get(handle) is not live:
                return
            oldest = min(live.told, default=None)
            for bar in bars:
                if (oldest is None or bar.time >= oldest) and live.told.get(bar.time) != bar:
                    live.told[bar.time] = bar
                    live.listener.on_bar(bar)
            for time in sorted(live.told)[:-2]:
                del live.told[time]

    def _end(self, handle: int, error: Exception) -> None:
        live = self._live.pop(handle, None)
        if live is not None:
            live.listener.on_bars_ended(error)

    def unsubscribe(self, handle: int) -> bool:
        live = self._live.pop(handle, None)
        if live is not None and live.task is not None:
            live.task.cancel()
        return live is not None

    def on_session_lost(self, error: LinkError) -> None:
        for handle, live in list(self._live.items()):
            if live.task is not None:
                live.task.cancel()
            self._end(handle, error)


def _words(request: BarRequest) -> tuple[BarWords, str]:
    """Raises NotSupported for bars that this door lacks."""
    words, source = BAR_WORDS.get(request.size), SOURCE_WORDS.get(request.source)
    if words is None:
        sizes = ", ".join(size.value for size in BAR_WORDS)
        raise NotSupported(
            f"bars of {request.size}", f"the portal has bars of {sizes}", "ask through TWS, or for another size"
        )
    if source is None:
        kinds = ", ".join(SOURCE_WORDS)
        raise NotSupported(f"bars of {request.source}", f"the portal has {kinds}", "ask through TWS")
    return words, source


def _recent(size: BarSize) -> str:
    """A span that holds the last two bars, over a week-end."""
    return f"{max(4, math.ceil(size.seconds * 3 / 86_400))} D" if not size.is_intraday else "1 D"


def _read(body: Mapping[str, Any], request: BarRequest) -> list[Bar]:
    """Ascending bars with prices; `v` counts in units of `volumeFactor` shares (P 2.2, an inference)."""
    factor = to_float(body.get("volumeFactor")) or 1.0
    bars = []
    for row in body.get("data") or ():
        moment = to_moment(row.get("t"))
        prices = [to_float(row.get(name)) for name in "ohlc"]
        if moment is None or any(price is None or price <= 0 for price in prices):
            continue
        opened, high, low, close = (price or 0.0 for price in prices)
        volume = to_float(row.get("v"))
        time = moment if request.size.is_intraday else _day_of(moment)
        bars.append(Bar(time, opened, high, low, close, None if volume is None else volume * factor))
    bars.sort(key=lambda bar: bar.time)
    return bars


def _day_of(moment: datetime) -> datetime:
    """Midnight UTC of the trading day whose session begins at `moment`."""
    local = moment.astimezone(_NEW_YORK) + _SESSION_SHIFT
    return datetime(local.year, local.month, local.day, tzinfo=UTC)
