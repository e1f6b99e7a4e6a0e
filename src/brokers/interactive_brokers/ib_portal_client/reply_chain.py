"""An order's way through the portal's questions: four shapes of answer, one chain, one verdict.

Nothing else may leave between a question and its reply, so that whoever runs a chain holds the lanes meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ...errors import LinkError, PacingViolation
from .answers import Trouble, judge, told
from .limits import Lanes, Priority
from .wire import Ambiguous, HttpCall, HttpReply, NotSent
from .words import to_int

REPLY = "/iserver/reply/"
NOTIFICATION = "/iserver/notification"
#: Questions of one order; IB has been seen to ask three.
MOST_QUESTIONS = 12
#: Words of a prompt's options that say yes, and those that say no.
_YES, _NO = ("yes", "submit", "ok", "confirm", "accept"), ("no", "cancel", "reject", "decline")


class Outcome(StrEnum):
    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"  #: a definite no: nothing works, or the order is as it was
    NOT_SENT = "NOT_SENT"  #: proven that the portal did nothing
    EXISTS = "EXISTS"  #: the cOID is taken: the order is there
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rows` of an accepted order, one a ticket; else `why` in the portal's words, and what the last answer told."""

    outcome: Outcome
    why: str = ""
    rows: tuple[dict[str, Any], ...] = ()
    trouble: Trouble | None = None
    #: Message ids of the question that was not confirmed.
    asked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """Shape 2, or shape 4 when `is_prompt`: then `options` are the words to choose from."""

    id: str
    text: str
    ids: tuple[str, ...]
    is_prompt: bool = False
    order_id: int | None = None
    options: tuple[str, ...] = ()

    def reply(self, confirmed: bool, deadline: float) -> HttpCall:
        if not self.is_prompt:
            body: dict[str, Any] = {"confirmed": confirmed}
            return HttpCall("POST", REPLY + self.id, body=body, deadline=deadline, what="reply to a question")
        body = {"orderId": self.order_id, "reqId": self.id, "text": self._option(confirmed)}
        return HttpCall("POST", NOTIFICATION, body=body, deadline=deadline, what="answer to a prompt")

    def _option(self, confirmed: bool) -> str:
        words = _YES if confirmed else _NO
        fitting = next((option for option in self.options if option.strip().lower() in words), None)
        if fitting is not None:
            return fitting
        return self.options[0 if confirmed else -1] if self.options else ("Yes" if confirmed else "No")


def read_shape(body: Any) -> Question | tuple[dict[str, Any], ...] | None:
    """A question, the rows of an acceptance, or None for what is neither."""
    rows = body if isinstance(body, list) else [body]
    first = rows[0] if rows and isinstance(rows[0], dict) else None
    if first is None:
        return None
    if first.get("prompt") is True or "reqId" in first:
        texts = str(first.get("text") or "")
        options = tuple(str(option) for option in first.get("options") or ())
        message = (str(first["messageId"]),) if first.get("messageId") else ()
        return Question(str(first.get("reqId")), texts, message, True, to_int(first.get("orderId")), options)
    if "id" in first and "message" in first:
        parts = first["message"] if isinstance(first["message"], list) else [first["message"]]
        text = " ".join(str(part) for part in parts).strip()
        return Question(str(first["id"]), text, tuple(str(one) for one in first.get("messageIds") or ()))
    if all(isinstance(row, dict) and ("order_id" in row or "error" in row) for row in rows):
        return tuple(rows)
    return None


class ReplyChain:
    """Runs one order or change to its verdict. `allowed` are the message ids that are confirmed; a question without an
    id is not."""

    def __init__(self, lanes: Lanes, allowed: frozenset[str], deadline: float) -> None:
        self._lanes = lanes
        self._allowed = allowed
        self._deadline = deadline

    async def run(self, call: HttpCall, on_leave: Callable[[], None] = lambda: None) -> Verdict:
        """`on_leave` is called when the first request leaves. Never raises for what the portal or the wire does."""
        with self._lanes.reserved():
            try:
                reply = await self._lanes.call(call, Priority.ORDER, on_leave)
            except (NotSent, PacingViolation, LinkError) as error:
                # a LinkError comes from the signing of the request, before it left
                return Verdict(Outcome.NOT_SENT, error.why)
            except Ambiguous as error:
                return Verdict(Outcome.UNKNOWN, error.why)
            return await self._follow(reply)

    async def _follow(self, reply: HttpReply) -> Verdict:
        confirmed = False
        for _ in range(MOST_QUESTIONS):
            row = judge(reply)
            if row is not None:
                return _refusal(row.trouble, row.done, reply, confirmed)
            shape = read_shape(reply.json())
            if shape is None:
                return Verdict(Outcome.UNKNOWN, f"the answer is not understood: {reply.text[:120]!r}")
            if isinstance(shape, tuple):
                return Verdict(Outcome.ACCEPTED, rows=shape)
            allowed = bool(shape.ids) and self._allowed.issuperset(shape.ids)
            try:
                reply = await self._lanes.call(shape.reply(allowed, self._deadline), Priority.REPLY)
            except (NotSent, PacingViolation, LinkError) as error:
                return Verdict(Outcome.NOT_SENT, f"a question of the broker could not be answered: {error.why}")
            except Ambiguous as error:
                if allowed:
                    return Verdict(Outcome.UNKNOWN, error.why)
                return _unconfirmed(shape)
            if not allowed:
                return _unconfirmed(shape)
            confirmed = True
        return Verdict(Outcome.UNKNOWN, f"the broker asked more than {MOST_QUESTIONS} questions")


def _unconfirmed(question: Question) -> Verdict:
    """An order whose question was not answered with yes is not placed, whatever becomes of the no."""
    ids = ", ".join(question.ids) or "no id"
    why = f"the broker asks ({ids}) and the answer is no: {question.text}"
    return Verdict(Outcome.REFUSED, why, asked=question.ids)


#: Refusals of the session rather than of the order: nothing was done.
_OF_SESSION = frozenset({Trouble.NO_LOGIN, Trouble.NO_BRIDGE, Trouble.ASK_ACCOUNTS, Trouble.COMPETING, Trouble.PACING})


def _refusal(trouble: Trouble, done: bool | None, reply: HttpReply, confirmed: bool) -> Verdict:
    why = told(reply)
    if trouble is Trouble.DUPLICATE:
        return Verdict(Outcome.EXISTS, why, trouble=trouble)
    if done is None or (confirmed and trouble in _OF_SESSION):
        return Verdict(Outcome.UNKNOWN, why, trouble=trouble)
    if trouble in _OF_SESSION:
        return Verdict(Outcome.NOT_SENT, why, trouble=trouble)
    return Verdict(Outcome.REFUSED, reply.error or why, trouble=trouble)
