"""ssd: an account's balances, first all that were asked for, then those that changed.

A change names its account too, unless the client's `keys` leave it out: ibind (0.2.2) drops a frame without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..account_rows import stream_summary_rows
from ..feeds import Repeated
from ..handlers.accounts import known_account
from ..request import PortalRefusal
from ..routes import Topic
from ..stream import names_in

if TYPE_CHECKING:
    from ..stream import Stream

NAME = "ssd"
SECONDS = 10.0
#: Always in a row, whatever `fields` names.
ALWAYS = frozenset({"key", "timestamp"})
ACCOUNT_KEY = "AccountCode"


def account_of(stream: Stream, words: Sequence[str]) -> str:
    """The account that a topic names, "ssd+DU1". Raises PortalRefusal."""
    if not words:
        raise PortalRefusal("Bad Request: the topic names no account")
    return known_account(stream.session, words[0])


def wanted(arguments: dict[str, Any], name: str) -> frozenset[str]:
    """The words of a list argument in lower case, without IB's segment suffix; empty: all."""
    return frozenset(row.lower().removesuffix("-s") for row in names_in(arguments, name))


def chosen(row: dict[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not fields or key in ALWAYS or key.lower() in fields}


def subscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    account, door = account_of(stream, words), stream.session.door
    keys, fields = wanted(arguments, "keys"), wanted(arguments, "fields")
    topic = f"{NAME}+{account}"
    told: dict[str, Any] = {}

    def tell() -> None:
        rows = stream_summary_rows(door.exchange.summary(account))
        rows = [row for row in rows if not keys or row["key"].lower() in keys]
        figures = {row["key"]: row.get("monetaryValue", row.get("value")) for row in rows}
        changed = {key for key, figure in figures.items() if told.get(key) != figure}
        if changed:
            told.update(figures)
            shown = [chosen(row, fields) for row in rows if row["key"] in changed | {ACCOUNT_KEY}]
            stream.send({"topic": topic, "result": shown})

    stream.keep(topic, Repeated(door, SECONDS, tell, on_booking=True).close)


def unsubscribe(stream: Stream, words: Sequence[str], arguments: dict[str, Any]) -> None:
    stream.drop(f"{NAME}+{account_of(stream, words)}")
    stream.send({"result": "unsubscribed from summary"})


TOPICS: tuple[Topic, ...] = (
    Topic(NAME, "usd", subscribe, unsubscribe, needs_brokerage=False, about="Balances of an account."),
)
