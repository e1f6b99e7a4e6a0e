"""sor: live orders as a stream, first those that there are, then every change.

Whether a change carries the whole row or only what changed is `settings.sor_frames`. A filter, from here or from
/iserver/account/orders, holds for both until it is forced off. Source: client-portal.md section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...events import ExchangeEvent, StatusChanged
from ..feeds import listen
from ..order_rows import live_row
from ..order_sight import LiveOrders
from ..routes import Topic
from ..settings import SorFrames
from ..stream import names_in

if TYPE_CHECKING:
    from ..stream import Stream

NAME = "sor"


class OrderStream:
    """One subscription of one stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._door = stream.session.door
        self._orders = stream.session.brokerage(LiveOrders)
        self._told: dict[int, dict[str, Any]] = {}
        self._stop = listen(self._door, self._on_status, StatusChanged)

    def close(self) -> None:
        self._stop()

    def begin(self, *, told: bool) -> None:
        """`told` False: the client wants changes only."""
        rows = [live_row(self._door, view) for view in self._orders.views()]
        self._told = {row["orderId"]: row for row in rows}
        if told:
            self._stream.send({"topic": NAME, "args": rows})

    def _on_status(self, event: ExchangeEvent) -> None:
        assert isinstance(event, StatusChanged)
        if not self._orders.covers(event.order):
            return
        row = live_row(self._door, event.order)
        number = row["orderId"]
        before = self._told.get(number, {})
        changed = {key: value for key, value in row.items() if before.get(key) != value}
        if not changed:
            return
        self._told[number] = row
        partial = self._door.settings.sor_frames is SorFrames.PARTIAL
        self._stream.send({"topic": NAME, "args": [{"orderId": number, **changed} if partial else row]})


def subscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    stream.session.brokerage(LiveOrders).ask(names_in(arguments, "filters"))
    orders = OrderStream(stream)
    stream.keep(NAME, orders.close)
    orders.begin(told=not arguments.get("realtimeUpdatesOnly"))


def unsubscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    stream.drop(NAME)


TOPICS: tuple[Topic, ...] = (
    Topic(NAME, "uor", subscribe, unsubscribe, needs_brokerage=True, about="Live orders and their changes."),
)
