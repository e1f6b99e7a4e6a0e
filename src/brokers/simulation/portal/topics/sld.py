"""sld: an account's ledger every ten seconds of market time; a currency in which nothing changed is a blank row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..account_rows import stream_ledger_rows
from ..feeds import Repeated
from ..routes import Topic
from .ssd import account_of, chosen, wanted

if TYPE_CHECKING:
    from ..stream import Stream

NAME = "sld"
SECONDS = 10.0


def subscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    account, door = account_of(stream, words), stream.session.door
    keys, fields = wanted(arguments, "keys"), wanted(arguments, "fields")
    topic = f"{NAME}+{account}"
    told: dict[str, dict[str, Any]] = {}

    def tell() -> None:
        rows = []
        for row in stream_ledger_rows(door, account):
            key = row["key"]
            if keys and key.lower() not in keys:
                continue
            figures = {name: value for name, value in row.items() if name != "timestamp"}
            blank = {"key": key, "timestamp": row["timestamp"]}
            rows.append(blank if told.get(key) == figures else chosen(row, fields))
            told[key] = figures
        stream.send({"topic": topic, "result": rows})

    stream.keep(topic, Repeated(door, SECONDS, tell).close)


def unsubscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    stream.drop(f"{NAME}+{account_of(stream, words)}")
    stream.send({"result": "unsubscribed from ledger"})


TOPICS: tuple[Topic, ...] = (
    Topic(NAME, "uld", subscribe, unsubscribe, needs_brokerage=False, about="Cash and values by currency."),
)
