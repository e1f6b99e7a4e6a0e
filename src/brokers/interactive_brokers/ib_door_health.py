"""Health by door, as a table: what was seen, when, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from .ib_transport import LinkEvent, LinkEventKind


class Sign(StrEnum):
    """What can be seen of a door."""

    NOT_TRIED = "NOT_TRIED"
    READY = "READY"
    REFUSED = "REFUSED"
    LOST = "LOST"
    BROKER_DOWN = "BROKER_DOWN"
    FARM_DOWN = "FARM_DOWN"
    ALARM = "ALARM"
    FENCED = "FENCED"
    PEN = "PEN"
    DATA = "DATA"
    SEES_OTHER = "SEES_OTHER"
    BLIND = "BLIND"


#: Sign -> what it means for whoever trades through the door.
MEANINGS: Mapping[Sign, str] = {
    Sign.NOT_TRIED: "nothing is known of it yet",
    Sign.READY: "its session stands and its start-up questions are answered",
    Sign.REFUSED: "it could not be connected; it is tried again",
    Sign.LOST: "no message can be trusted to arrive; orders without an answer are in doubt",
    Sign.BROKER_DOWN: "the gateway answers, IB behind it does not, or another session of this user holds the account",
    Sign.FARM_DOWN: "orders pass; some market data does not come",
    Sign.ALARM: "a person should look at it",
    Sign.FENCED: "this side has closed it, so that only the other door writes",
    Sign.PEN: "orders are written here and nowhere else",
    Sign.DATA: "market data comes from here",
    Sign.SEES_OTHER: "it shows orders that the other door placed: what is absent here is absent",
    Sign.BLIND: "it does not show the other door's orders: absence here proves nothing",
}

#: Link events -> the sign that they leave, and the one that they lift.
_SIGNS: Mapping[LinkEventKind, tuple[Sign | None, Sign | None]] = {
    LinkEventKind.UP: (Sign.READY, Sign.LOST),
    LinkEventKind.LOST: (Sign.LOST, Sign.READY),
    LinkEventKind.RESTORED: (Sign.READY, Sign.LOST),
    LinkEventKind.FARM_DOWN: (Sign.FARM_DOWN, None),
    LinkEventKind.FARM_UP: (None, Sign.FARM_DOWN),
    LinkEventKind.SUBSCRIPTIONS_RESTORED: (None, None),
    LinkEventKind.ALARM: (Sign.ALARM, None),
}
#: Signs that exclude each other: a later one takes the place of the earlier.
_EXCLUSIVE = (
    frozenset({Sign.NOT_TRIED, Sign.READY, Sign.REFUSED, Sign.LOST, Sign.BROKER_DOWN, Sign.FENCED}),
    frozenset({Sign.SEES_OTHER, Sign.BLIND}),
)


@dataclass(frozen=True, slots=True)
class Note:
    """One row: `at` is market time (aware UTC), `text` the door's own words."""

    door: str
    sign: Sign
    at: datetime
    text: str = ""

    @property
    def meaning(self) -> str:
        return MEANINGS[self.sign]


class DoorHealth:
    """What is to be said of one door now."""

    def __init__(self, door: str, at: datetime) -> None:
        self.door = door
        self._notes: dict[Sign, Note] = {}
        self.note(Sign.NOT_TRIED, at)

    def note(self, sign: Sign, at: datetime, text: str = "") -> None:
        for group in _EXCLUSIVE:
            if sign in group:
                for other in group:
                    self._notes.pop(other, None)
        self._notes[sign] = Note(self.door, sign, at, text)

    def lift(self, sign: Sign) -> None:
        self._notes.pop(sign, None)

    def has(self, sign: Sign) -> bool:
        return sign in self._notes

    def hear(self, event: LinkEvent) -> None:
        """Take over what a link event says of the door."""
        left, lifted = _SIGNS[event.kind]
        if lifted is not None:
            self.lift(lifted)
        if left is not None:
            self.note(left, event.time, event.text)

    def rows(self) -> list[Note]:
        """Latest first."""
        return sorted(self._notes.values(), key=lambda note: note.at, reverse=True)
