"""spl: P&L of every account, when it changed, at most once a second of market time and after every fill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..account_rows import pnl_rows
from ..feeds import Repeated
from ..routes import Topic

if TYPE_CHECKING:
    from ..stream import Stream

NAME = "spl"
SECONDS = 1.0


def subscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    door = stream.session.door
    told: dict[str, Any] = {}

    def tell() -> None:
        rows = pnl_rows(door, door.exchange.accounts)
        if rows != told:
            told.clear()
            told.update(rows)
            stream.send({"topic": NAME, "args": rows})

    stream.keep(NAME, Repeated(door, SECONDS, tell, on_booking=True).close)


def unsubscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    stream.drop(NAME)


TOPICS: tuple[Topic, ...] = (
    Topic(NAME, "upl", subscribe, unsubscribe, needs_brokerage=False, about="Profit and loss by account."),
)
