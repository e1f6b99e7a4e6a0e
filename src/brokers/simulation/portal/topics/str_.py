"""str: executions as a stream, first those of the last days, then each as it happens. It tells no commission."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...events import ExchangeEvent, Executed
from ..feeds import listen
from ..handlers.trades import days_of
from ..order_rows import stream_trade_row
from ..order_sight import Fills, sees
from ..routes import Topic

if TYPE_CHECKING:
    from ..stream import Stream

NAME = "str"


def subscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    door = stream.session.door
    days = days_of(str(arguments.get("days") or ""))

    def on_executed(event: ExchangeEvent) -> None:
        assert isinstance(event, Executed)
        if sees(door, event.execution.client_id):
            stream.send({"topic": NAME, "args": [stream_trade_row(door, event.execution)]})

    stream.keep(NAME, listen(door, on_executed, Executed))
    if not arguments.get("realtimeUpdatesOnly"):
        rows = door.state(Fills).rows(days)
        stream.send({"topic": NAME, "args": [stream_trade_row(door, row) for row in rows]})


def unsubscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    stream.drop(NAME)


TOPICS: tuple[Topic, ...] = (
    Topic(NAME, "utr", subscribe, unsubscribe, needs_brokerage=True, about="Executions as they happen."),
)
