"""Rows of the host's PositionTracker: read with suspicion, written with the executions that they stand for.

The tracker has no column for them, so a row's reasons carry them: `entry_reason` names the executions that opened it,
`exit_reason` the pairs of executions that opened and closed it. A row without them was written by somebody else.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Protocol

from ...brokers.domain.instrument import normalize_symbol
from ...brokers.domain.order import Fill
from ...brokers.errors import InvalidData, InvalidInstrument

if TYPE_CHECKING:
    import pandas as pd

#: Written to the tracker's strategy column, and begins every reason and note.
MARK = "moondev-ibkr"
#: What stands for the opening execution of shares that were adopted, which have none.
ADOPTED = "adopted"

_OPENED = re.compile(r"([^\s=>]+)=(\d+)(?=\s|$)")
_CLOSED = re.compile(r"([^\s=>]+)>([^\s=>]+)=(\d+)(?=\s|$)")
_COLUMNS = ("id", "symbol", "entry_date", "entry_price", "shares", "status", "entry_reason", "exit_reason")
#: The columns of the tracker's note type are short.
_NOTE_TYPE = "broker"


class Tracker(Protocol):
    """What is used of the host's PositionTracker."""

    def add_position(
        self,
        symbol: str,
        entry_price: float,
        shares: int,
        entry_date: str | None = None,
        strategy: str = "",
        entry_reason: str = "",
    ) -> int: ...

    def close_position(
        self, position_id: int, exit_price: float, exit_date: str | None = None, exit_reason: str = ""
    ) -> Mapping[str, Any] | None: ...

    def get_position(self, position_id: int) -> Mapping[str, Any] | None: ...

    def get_all_positions(self) -> pd.DataFrame: ...

    def add_note(self, position_id: int, note: str, note_type: str = "general") -> None: ...


@dataclass(frozen=True, slots=True)
class TrackedRow:
    """An open row. `symbol` normalised, `spelling` the tracker's own; `opened` is shares by execution (base id)."""

    id: int
    symbol: str
    spelling: str
    shares: int
    entry_price: Decimal
    entry_date: str
    opened: Mapping[str, int] = field(default_factory=dict)
    #: Written here for shares that no execution opened.
    is_adopted: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether it names its executions."""
        return bool(self.opened)


@dataclass(frozen=True, slots=True)
class Exit:
    """`shares` that left by `closed`; `opened` None for shares that were adopted, whose entry is not known."""

    opened: Fill | None
    closed: Fill
    shares: int

    @property
    def pair(self) -> tuple[str, str]:
        return (self.opened.base_id if self.opened is not None else ADOPTED, self.closed.base_id)


@dataclass(frozen=True, slots=True)
class TrackerContent:
    """Open rows by age, the shares of each pair of executions that closed rows account for, and unreadable rows."""

    rows: tuple[TrackedRow, ...]
    accounted: Mapping[tuple[str, str], int]
    unreadable: tuple[tuple[str, str], ...]


def read_content(tracker: Tracker) -> TrackerContent:
    """Everything in the tracker that matters; raises InvalidData when it is not the host's table."""
    frame = tracker.get_all_positions()
    missing = [name for name in _COLUMNS if name not in frame.columns]
    if missing:
        raise InvalidData("position tracker", f"it has no column {', '.join(missing)}", "give the host's own tracker")
    rows: list[TrackedRow] = []
    unreadable: list[tuple[str, str]] = []
    accounted: Counter[tuple[str, str]] = Counter()
    for record in frame.to_dict("records"):
        if record["status"] != "OPEN":
            for opened, closed, shares in _CLOSED.findall(_ours(record["exit_reason"])):
                accounted[opened, closed] += int(shares)
            continue
        try:
            rows.append(_row(record))
        except InvalidData as error:
            unreadable.append((str(record["symbol"]), error.why))
    rows.sort(key=lambda row: (row.entry_date, row.id))
    return TrackerContent(tuple(rows), accounted, tuple(unreadable))


def _row(record: Mapping[Any, Any]) -> TrackedRow:
    what = f"row {record['id']} of the position tracker"
    try:
        symbol = normalize_symbol(record["symbol"])
        shares, price = Decimal(str(record["shares"])), Decimal(str(record["entry_price"]))
    except (InvalidInstrument, InvalidOperation) as error:
        raise InvalidData(what, f"it cannot be read: {error}") from None
    if not shares.is_finite() or shares <= 0 or shares != int(shares):
        raise InvalidData(what, f"{shares} shares: the tracker has no sides, a row is whole shares held long")
    if not price.is_finite() or price <= 0:
        raise InvalidData(what, f"entry price {price} is not above zero")
    reason = _ours(record["entry_reason"])
    opened = {name: int(number) for name, number in _OPENED.findall(reason)}
    adopted = bool(reason) and not opened
    date = str(record["entry_date"])
    return TrackedRow(int(record["id"]), symbol, str(record["symbol"]), int(shares), price, date, opened, adopted)


def _ours(reason: object) -> str:
    return reason if isinstance(reason, str) and reason.startswith(MARK) else ""


def tracker_spelling(symbol: str) -> str:
    """The host spells share classes as Yahoo does: BRK-B."""
    return symbol.replace(" ", "-")


def tracker_date(moment: datetime) -> str:
    """UTC, in the tracker's own format."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


class TrackerWriter:
    """Writes to the tracker; every row that it writes has a note with permIds and execution ids."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._told: set[tuple[int, str]] = set()

    def add(self, spelling: str, price: Decimal, parts: Sequence[tuple[Fill, int]], when: datetime) -> int:
        """A row for shares bought by executions; `price` per share."""
        opened = Counter[str]()
        for fill, shares in parts:
            opened[fill.base_id] += shares
        executions = " ".join(f"{name}={shares}" for name, shares in opened.items())
        row = self._add(spelling, price, opened.total(), tracker_date(when), f"{MARK} entry: executions {executions}")
        self.note(row, f"entry at the average fill price {price:.4f}; {_numbers(f for f, _ in parts)}")
        return row

    def add_adopted(self, spelling: str, price: Decimal, shares: int, when: datetime) -> int:
        """A row for shares that no execution explains; `price` is the broker's average cost."""
        row = self._add(spelling, price, shares, tracker_date(when), f"{MARK} adopted: the broker's average cost")
        self.note(row, f"{shares} shares were adopted; {price:.4f} is the broker's average cost, fees included")
        return row

    def close(self, row: TrackedRow, exits: Sequence[Exit]) -> None:
        """Close a whole row at the average price of its exits, or the part of it that they cover.

        The tracker cannot close a part: then the row is ended at its own entry price (no profit, no loss), the part
        that left is written and closed, and the rest is written again. Cost and profit add up to the same.
        """
        gone = sum(exit.shares for exit in exits)
        if gone == row.shares:
            self._end(row.id, exits)
            return
        part_price = _entry_price(exits) or row.entry_price
        rest = row.shares - gone
        rest_price = (row.entry_price * row.shares - part_price * gone) / rest
        left = Counter(row.opened)
        for exit in exits:
            left[exit.pair[0]] -= exit.shares
        reason = f"{MARK} split, no trade: {gone} of {row.shares} left, {rest} stay"
        self._close(row.id, row.entry_price, row.entry_date, reason)
        opened = " ".join(f"{name}={shares}" for name, shares in left.items() if shares > 0)
        kept = f"{MARK} entry: the rest of row {row.id}; " + (f"executions {opened}" if opened else "not written by us")
        stays = self._add(row.spelling, rest_price, rest, row.entry_date, kept)
        part = self._add(row.spelling, part_price, gone, row.entry_date, f"{MARK} part of row {row.id}")
        self._end(part, exits)
        self.note(row.id, f"split: {gone} shares left (row {part}), {rest} stay (row {stays})")
        self.note(stays, f"the {rest} shares of row {row.id} that stay")

    def note(self, row: int, text: str) -> None:
        """A note, once for each row and text."""
        if (row, text) not in self._told:
            self._told.add((row, text))
            self._tracker.add_note(row, f"{MARK}: {text}", _NOTE_TYPE)

    def _end(self, row: int, exits: Sequence[Exit]) -> None:
        price = sum((exit.closed.price * exit.shares for exit in exits), Decimal(0)) / sum(e.shares for e in exits)
        pairs = Counter[tuple[str, str]]()
        for exit in exits:
            pairs[exit.pair] += exit.shares
        closes = " ".join(f"{opened}>{closed}={shares}" for (opened, closed), shares in pairs.items())
        when = max(exit.closed.time for exit in exits)
        self._close(row, price, tracker_date(when), f"{MARK} exit: executions {closes}")
        self.note(row, f"exit at the average fill price {price:.4f}; {_numbers(exit.closed for exit in exits)}")

    def _add(self, spelling: str, price: Decimal, shares: int, when: str, reason: str) -> int:
        row = self._tracker.add_position(spelling, float(price), shares, when, MARK, reason)
        return int(row)

    def _close(self, row: int, price: Decimal, when: str, reason: str) -> None:
        """The tracker reports success for a row that was closed before: look first, and look after."""
        before = self._tracker.get_position(row)
        if before is None or before["status"] != "OPEN":
            raise InvalidData(f"row {row} of the position tracker", "it was closed meanwhile", "reconcile again")
        self._tracker.close_position(row, float(price), when, reason)
        after = self._tracker.get_position(row)
        if after is None or after["status"] == "OPEN" or not math.isclose(after["exit_price"], float(price)):
            raise InvalidData(f"row {row} of the position tracker", "it was not closed as written", "look at the row")


def _entry_price(exits: Sequence[Exit]) -> Decimal | None:
    """The average price at which what left was bought; None where that is not known of all of it."""
    known = [(exit.opened.price, exit.shares) for exit in exits if exit.opened is not None]
    if len(known) < len(exits):
        return None
    return sum((price * shares for price, shares in known), Decimal(0)) / sum(shares for _, shares in known)


def _numbers(fills: Iterable[Fill]) -> str:
    fills = list(fills)
    perm_ids = dict.fromkeys(str(fill.perm_id) for fill in fills if fill.perm_id is not None)
    executions = dict.fromkeys(fill.exec_id for fill in fills)
    return f"permId {', '.join(perm_ids) or 'not told'}; executions {', '.join(executions)}"
