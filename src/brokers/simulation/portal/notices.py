"""Notices to the user (FYI): kept to be read, and told to every open stream as `ntf` when they come.

Source: client-portal.md sections 2.6 and 3. `ntf` carries a list, as IBKR's own sample reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .door import PortalDoor

#: IB's type code of what an alert tells.
USER_ALERT = "UA"
#: Notices that are kept at most.
MOST_KEPT = 200
#: Shown when a client names no number.
SHOWN = 10


@dataclass
class Notice:
    number: int
    time: datetime
    title: str
    text: str
    read: bool = False

    def row(self) -> dict[str, Any]:
        """As /fyi/notifications lists it; `D` in epoch seconds as text."""
        return {
            "R": int(self.read),
            "D": f"{int(self.time.timestamp())}.0",
            "MS": self.title,
            "MD": f"<p>{self.text}</p>",
            "ID": str(self.number),
            "HT": 0,
            "FC": USER_ALERT,
        }


@dataclass
class Device:
    """Something that notices are pushed to."""

    number: str
    name: str
    interface: str
    enabled: bool


class Notices:
    """All notices of this door, newest first; those told first are given up first."""

    def __init__(self, door: PortalDoor) -> None:
        self._door = door
        self._rows: list[Notice] = []
        self._last = 0
        #: Whether notices of alerts are wanted, and whether their disclaimer was read.
        self.enabled = True
        self.disclaimed = False
        #: Whether notices go out by e-mail too.
        self.email = False
        self.devices: dict[str, Device] = {}

    @property
    def unread(self) -> int:
        return sum(1 for row in self._rows if not row.read)

    def rows(self, most: int = SHOWN, before: str = "") -> list[Notice]:
        """The newest `most`, or those older than the one with the id `before`."""
        older = [row for row in self._rows if not before or row.number < _number(before)]
        return older[:most]

    def find(self, number: str) -> Notice | None:
        return next((row for row in self._rows if str(row.number) == number), None)

    def tell(self, title: str, text: str) -> None:
        if not self.enabled:
            return
        self._last += 1
        notice = Notice(self._last, self._door.now, title, text)
        self._rows.insert(0, notice)
        del self._rows[MOST_KEPT:]
        frame = {
            "topic": "ntf",
            "args": [{"id": str(notice.number), "text": text, "title": title, "url": ""}],
        }
        for session in self._door.sessions.values():
            if session.authenticated:
                session.publish(frame)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
