"""sbd: a price ladder of one contract, as BookTrader shows it; not the books of single exchanges.

Rows run from the highest ask to the lowest bid. The row of the last trade has the focus, and its price is written with
the size ("100 @ 168.42"). The whole ladder comes again, at most every half second of market time, when it has changed.
One ladder an account. Source: client-portal.md section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ...depth_levels import ASK, BID, Level, depth_levels
from ...events import ExchangeEvent
from ...timers import Timer
from ..conids import read_conid
from ..figures import price_digits, price_text, size_text
from ..market_lines import CADENCE, MarketLines
from ..market_watch import MarketWatch
from ..request import PortalRefusal
from ..routes import Topic

if TYPE_CHECKING:
    from ....domain.instrument import InstrumentDetails
    from ...models import MarketView
    from ..stream import Stream

#: Levels on each side.
LEVELS = 10


def ladder(details: InstrumentDetails, view: MarketView) -> list[dict[str, Any]]:
    """The rows; none without a quote."""
    if view.bid is None or view.ask is None:
        return []
    asks = depth_levels(details, ASK, view.ask, view.ask_size or Decimal(0), LEVELS)
    bids = depth_levels(details, BID, view.bid, view.bid_size or Decimal(0), LEVELS)
    levels: list[tuple[str, Level]] = [("ask", level) for level in reversed(asks)] + [("bid", level) for level in bids]
    digits = price_digits(details)
    focus = _focus([level.price for _, level in levels], view.last)
    rows = []
    for row, (side, level) in enumerate(levels):
        price = price_text(level.price, digits)
        if row == focus and view.last == level.price:
            price = f"{size_text(view.last_size or Decimal(0))} @ {price}"
        rows.append({"row": row, "focus": int(row == focus), "price": price, side: size_text(level.size)})
    return rows


def _focus(prices: Sequence[Decimal], last: Decimal | None) -> int:
    """The row nearest to the last trade; the best bid before there was one."""
    if last is None:
        return len(prices) // 2
    return min(range(len(prices)), key=lambda row: abs(prices[row] - last))


class Ladder:
    """One sbd subscription."""

    def __init__(self, stream: Stream, topic: str, details: InstrumentDetails) -> None:
        self._stream = stream
        self._door = stream.session.door
        self._topic = topic
        self._details = details
        self._con_id = details.instrument.con_id or 0
        self._told: list[dict[str, Any]] = []
        self._told_at = self._door.now - CADENCE
        self._timer: Timer | None = None
        self._stop = self._door.state(MarketWatch).watch(self._con_id, self._on_event)

    def close(self) -> None:
        self._stop()
        if self._timer is not None:
            self._timer.cancel()

    def tell(self) -> None:
        self._told_at = self._door.now
        rows = ladder(self._details, self._door.exchange.market(self._con_id))
        if rows != self._told:
            self._told = rows
            self._stream.send({"topic": self._topic, "data": rows})

    def _on_event(self, event: ExchangeEvent) -> None:
        if self._door.now - self._told_at >= CADENCE:
            self.tell()
        elif self._timer is None or self._timer.cancelled:
            self._timer = self._door.timers.at(self._told_at + CADENCE, self.tell)


def subscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    """ "sbd+DU1+265598[+EXCHANGE]". Raises PortalRefusal: unknown account or contract, no live data of it."""
    session = stream.session
    account, text, exchange = (*words, "", "", "")[:3]
    if account not in session.door.exchange.accounts:
        raise PortalRefusal(f"Unknown account {account}")
    conid = read_conid(session, f"{text}@{exchange}" if exchange else text)
    details = conid.details
    if details is None:
        raise PortalRefusal(f"No contract found for conid {conid.text}")
    lines = session.brokerage(MarketLines)
    if lines.is_withheld(details) or details.instrument.symbol in session.door.settings.not_subscribed:
        raise PortalRefusal(f"Market depth of {conid.text} is not subscribed")
    topic = "+".join(("sbd", account, text, exchange)).rstrip("+")
    book = Ladder(stream, topic, details)
    stream.keep(f"sbd+{account}", book.close)
    book.tell()


def unsubscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    """Silent, whether there was a ladder or not."""
    stream.drop(f"sbd+{words[0] if words else ''}")


TOPICS: tuple[Topic, ...] = (
    Topic("sbd", "ubd", subscribe, unsubscribe, needs_brokerage=True, about="price ladder of one contract"),
)
