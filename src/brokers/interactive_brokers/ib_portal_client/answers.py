"""What an HTTP answer of the portal means: the error catalogue of client-portal.md section 1.4 as a table.

The status alone decides little: 200 carries errors (fault P03), and one fault comes under several statuses. So a row
names the statuses it may come under and the words that tell it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ...errors import (
    BrokerError,
    LinkLost,
    NoData,
    NotConnected,
    PacingViolation,
    ProtocolViolation,
    RequestFailed,
)
from .wire import HttpCall, HttpReply


class Trouble(StrEnum):
    """Kinds of refusal that call for something."""

    NO_LOGIN = "no login"  #: the outer session is gone: a person must log in
    NO_BRIDGE = "no brokerage session"  #: ssodh/init, once (fault P05)
    ASK_ACCOUNTS = "accounts first"
    REPLY_LOST = "reply id not found"  #: the question has expired; what became of the order is unknown (P02)
    DUPLICATE = "duplicate cOID"  #: the order exists
    COMPETING = "competing session"
    PACING = "pacing"
    NO_DATA = "no data"
    NO_SUCH_ORDER = "no such order"
    UNAVAILABLE = "unavailable"  #: upstream time-out, maintenance, internal errors: a write may have been done
    REFUSED = "refused"  #: a definite no, in words


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """The first row that fits counts. `words` are looked for in the error's text, lower case; none fits any text.
    `sent` is whether a write under this answer may have been done: None where nothing can be said."""

    statuses: frozenset[int]
    words: tuple[str, ...]
    trouble: Trouble
    done: bool | None
    source: str


_ANY: frozenset[int] = frozenset()
_BAD = frozenset({200, 400, 401, 403, 404, 500, 503})

ANSWERS: Sequence[AnswerRow] = (
    AnswerRow(frozenset({429}), (), Trouble.PACING, False, "P 1.4"),
    AnswerRow(
        _BAD, ("no bridge", "init session first", "no session", "not authenticated"), Trouble.NO_BRIDGE, False, "P 1.4"
    ),
    AnswerRow(_BAD, ("query /accounts first",), Trouble.ASK_ACCOUNTS, False, "P 1.4"),
    AnswerRow(_BAD, ("reply id not found",), Trouble.REPLY_LOST, None, "P 1.4"),
    AnswerRow(_ANY, ("is already registered",), Trouble.DUPLICATE, True, "P 5"),
    AnswerRow(_BAD, ("different ip address", "competing"), Trouble.COMPETING, False, "P 1.2"),
    AnswerRow(
        frozenset({200, 400, 404, 500}), ("doesn't exist", "does not exist"), Trouble.NO_SUCH_ORDER, False, "P 2.5"
    ),
    AnswerRow(_BAD, ("too many history charts",), Trouble.PACING, False, "P 2.2"),
    AnswerRow(
        _BAD, ("no data", "chart data unavailable", "no symbol found", "no contract"), Trouble.NO_DATA, False, "P 2.2"
    ),
    AnswerRow(frozenset({401}), (), Trouble.NO_LOGIN, False, "P 1.4"),
    AnswerRow(frozenset({410}), (), Trouble.NO_BRIDGE, None, "P 1.4"),
    AnswerRow(frozenset({500, 502, 503, 504}), (), Trouble.UNAVAILABLE, None, "P 1.4, P 2.5"),
    AnswerRow(_ANY, (), Trouble.REFUSED, False, "P 1.4"),
)


def judge(reply: HttpReply) -> AnswerRow | None:
    """The row of a refusal; None for an answer that is none."""
    text = reply.error
    if reply.status == 200 and not text:
        return None
    words = (text or reply.text).lower()
    for row in ANSWERS:
        if (not row.statuses or reply.status in row.statuses) and (
            not row.words or any(word in words for word in row.words)
        ):
            return row
    raise AssertionError("the last row fits everything")


def told(reply: HttpReply) -> str:
    """The refusal in the portal's own words, for errors; HTML pages are left out."""
    text = reply.error or ("" if "<" in reply.text else reply.text)
    return f"HTTP {reply.status}" + (f", {text.strip()[:300]}" if text.strip() else "")


_ERRORS: Mapping[Trouble, tuple[type[RequestFailed], str]] = {
    Trouble.PACING: (PacingViolation, "ask less often"),
    Trouble.NO_DATA: (NoData, "nothing is known for what was asked"),
}


def failure(call: HttpCall, reply: HttpReply, row: AnswerRow) -> BrokerError:
    """The error for a question that was refused."""
    what, why = str(call), told(reply)
    if row.trouble in (Trouble.NO_LOGIN, Trouble.NO_BRIDGE):
        advice = "log in to the gateway" if row.trouble is Trouble.NO_LOGIN else "it is begun again"
        return NotConnected(what, f"{row.trouble}: {why}", advice)
    if row.trouble is Trouble.COMPETING:
        return NotConnected(what, why, "another session of this user holds the brokerage session")
    if row.trouble is Trouble.UNAVAILABLE:
        return LinkLost(what, why, "ask again")
    kind, advice = _ERRORS.get(row.trouble, (RequestFailed, ""))
    return kind(what, why, advice, code=reply.status)


def expect_list(call: HttpCall, body: Any) -> list[dict[str, Any]]:
    """A JSON list of objects. Raises ProtocolViolation: something else is not an empty list (promise Q13)."""
    if not isinstance(body, list):
        raise ProtocolViolation(str(call), f"the answer is {_kind(body)}, not a list", "ask again")
    return [row for row in body if isinstance(row, dict)]


def expect_object(call: HttpCall, body: Any) -> dict[str, Any]:
    """A JSON object. Raises ProtocolViolation."""
    if not isinstance(body, dict):
        raise ProtocolViolation(str(call), f"the answer is {_kind(body)}, not an object", "ask again")
    return body


def _kind(body: Any) -> str:
    return "empty" if body is None else f"a {type(body).__name__}"
