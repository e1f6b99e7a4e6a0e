"""What the simulated network knows of TWS messages: where one ends, what it is, and which rows belong to an answer.

A TCP stream does not lose a message, but what stands between an account and its client does. What must stay true even
then: an answer that lost a row never comes to its end marker. Without that rule "lost" would mean "lied to".
"""

from __future__ import annotations

from enum import Enum
from struct import Struct

LENGTH = Struct(">I")
HELLO = b"API\0"


class Kind(Enum):
    """What a message is for, from the point of view of orders."""

    ORDER = "order"  #: an order, a change, a cancel; a status, an execution, a commission, an error
    ROW = "row"  #: one row of an answer
    QUERY = "query"  #: a question, or the end of its answer
    REST = "rest"  #: log-on, market data, and whatever else; no fault hits it alone


#: Client to server.
OUTGOING = {
    b"3": ("placeOrder", Kind.ORDER),
    b"4": ("cancelOrder", Kind.ORDER),
    b"58": ("reqGlobalCancel", Kind.ORDER),
    b"16": ("reqAllOpenOrders", Kind.QUERY),
    b"99": ("reqCompletedOrders", Kind.QUERY),
    b"7": ("reqExecutions", Kind.QUERY),
    b"61": ("reqPositions", Kind.QUERY),
    b"62": ("reqAccountSummary", Kind.QUERY),
    b"9": ("reqContractDetails", Kind.QUERY),
    b"49": ("reqCurrentTime", Kind.QUERY),
}
#: Server to client. Some are rows while their question is open, and news otherwise; see `Answers`.
INCOMING = {
    b"3": ("orderStatus", Kind.ORDER),
    b"4": ("error", Kind.ORDER),
    b"5": ("openOrder", Kind.ORDER),
    b"11": ("execDetails", Kind.ORDER),
    b"59": ("commissionReport", Kind.ORDER),
    b"10": ("contractDetails", Kind.ROW),
    b"61": ("position", Kind.ROW),
    b"63": ("accountSummary", Kind.ROW),
    b"101": ("completedOrder", Kind.ROW),
    b"49": ("currentTime", Kind.QUERY),
    b"52": ("contractDetailsEnd", Kind.QUERY),
    b"53": ("openOrderEnd", Kind.QUERY),
    b"55": ("execDetailsEnd", Kind.QUERY),
    b"62": ("positionEnd", Kind.QUERY),
    b"64": ("accountSummaryEnd", Kind.QUERY),
    b"102": ("completedOrdersEnd", Kind.QUERY),
}
#: Name of a question -> the answer that it opens; name of an end marker -> the answer that it closes.
OPENS = {"reqAllOpenOrders": "open", "reqPositions": "positions"}
CLOSES = {
    "openOrderEnd": "open",
    "positionEnd": "positions",
    "completedOrdersEnd": "completed",
    "execDetailsEnd": "executions",
    "accountSummaryEnd": "summary",
    "contractDetailsEnd": "details",
}
#: Rows of answers. Those of the first table are rows only while the answer is open.
SOMETIMES_ROWS = {"openOrder": "open", "orderStatus": "open", "position": "positions"}
ALWAYS_ROWS = {"completedOrder": "completed", "accountSummary": "summary", "contractDetails": "details"}


def message_id(frame: bytes) -> bytes:
    end = frame.find(b"\0", 4)
    return frame[4:end] if end > 0 else b""


def fields(frame: bytes) -> list[str]:
    return frame[4:].decode(errors="replace").split("\0")[:-1]


class Cutter:
    """Whole frames out of written bytes; the client's first four bytes travel with its first frame."""

    def __init__(self) -> None:
        self._carry = b""

    def cut(self, data: bytes) -> list[bytes]:
        if self._carry:
            data = self._carry + data
        frames, position, size = [], 0, len(data)
        while size - position >= 4:
            start = position + 4 if data.startswith(HELLO, position) else position
            if size - start < 4:
                break
            end = start + 4 + LENGTH.unpack_from(data, start)[0]
            if end > size:
                break
            frames.append(data[position:end])
            position = end
        self._carry = data[position:]
        return frames


class Answers:
    """Which answers are under way on one connection, and which of them have lost a row."""

    def __init__(self) -> None:
        self._open = {"open": 0, "positions": 0}
        self._broken: set[str] = set()

    def asked(self, name: str) -> None:
        answer = OPENS.get(name)
        if answer is not None:
            self._open[answer] += 1

    def row_of(self, name: str, frame: bytes) -> str | None:
        """The answer that this message is a row of; None for news."""
        answer = SOMETIMES_ROWS.get(name)
        if answer is not None and self._open[answer]:
            return answer
        if name == "execDetails":
            return "executions" if fields(frame)[1] != "-1" else None
        return ALWAYS_ROWS.get(name)

    def lose(self, answer: str) -> None:
        self._broken.add(answer)

    def ends(self, name: str) -> bool:
        """Whether this end marker may be told: an answer that lost a row has no end."""
        answer = CLOSES.get(name)
        if answer is None:
            return True
        if self._open.get(answer):
            self._open[answer] -= 1
        if answer in self._broken:
            self._broken.discard(answer)
            return False
        return True
