"""The order desk of one brokerage session: submits, asks, changes, cancels.

desk.submit(account, drafts)     place, or ask first
desk.change(view, draft)         a modify
desk.cancel(account, number)     one order, or every one ("-1")
desk.reply(id, confirmed)        the answer to a question
desk.prompted(req_id, text)      the answer to a prompt

Every order is at the exchange, or refused, before its answer is made: what becomes of the answer changes nothing.
An order of the portal is the exchange's ticket of PORTAL_CLIENT_ID with an id below zero; TWS clients see it as one
that client 0 has from outside the API. Source: client-portal.md sections 2.5 and 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ...errors import OrderRejected as OrderRefused
from ..events import CancelRejected, ExchangeEvent, ModifyRejected, Notice, OrderRejected
from ..refusals import Reason, refuse
from ..tickets import OrderTicket, OrderView
from .order_sight import Coids, may_touch, number_of, view_of
from .order_tickets import PORTAL_CLIENT_ID, Draft, rejected
from .order_words import STATUS
from .questions import MOST_SUPPRESSED, QUESTIONS, Asked, questions_for
from .request import Answer, PortalRefusal
from .settings import Registry

if TYPE_CHECKING:
    from .door import PortalDoor
    from .session import PortalSession

#: Seconds of monotonic time that a question waits for its answer.
REPLY_SECONDS = 60.0
#: Seconds after which IB's upstream time-out is told.
UPSTREAM_SECONDS = 10.0
ALL_ORDERS = "-1"
NOT_CONFIRMED = "Order not confirmed "

_NOTICES = (OrderRejected, ModifyRejected, CancelRejected)


class Ids:
    """Unguessable, and the same in every run of one seed."""

    def __init__(self, door: PortalDoor) -> None:
        self._seed = door.seed
        self._numbers = count(1)

    def close(self) -> None:
        """Nothing runs by itself."""

    def take(self) -> UUID:
        digest = hashlib.sha256(f"question:{self._seed}:{next(self._numbers)}".encode()).digest()
        return UUID(bytes=digest[:16], version=4)


@dataclass(slots=True)
class Pending:
    """An order that waits for answers; `act` places it. `number` is the orderId that a prompt names."""

    account: str
    chain: list[Asked]
    act: Callable[[], Answer]
    number: int
    deadline: float
    id: str = ""


@dataclass(slots=True)
class Heard:
    """What the exchange refused while it was listened to."""

    notices: list[Notice] = field(default_factory=list)

    def __call__(self, event: ExchangeEvent) -> None:
        assert isinstance(event, Notice)
        self.notices.append(event)

    def text_of(self, ticket: OrderTicket) -> str:
        """IB's words for why `ticket` was refused; "" when it was not."""
        keys = ((notice.text, (notice.client_id, notice.order_id)) for notice in self.notices)
        return next((text for text, key in keys if key == ticket.key), "")


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of a ticket; `text` is the exchange's refusal, "" for none."""

    draft: Draft
    view: OrderView | None
    text: str

    @property
    def is_known(self) -> bool:
        """There is an order, working, finished or refused; one that is still staged was told to nobody."""
        return self.view is not None and not self.view.staged

    @property
    def is_taken(self) -> bool:
        return self.is_known and not self.text


class OrderDesk:
    """Not thread-safe. `suppressed` are the message ids that this session is not asked any more."""

    def __init__(self, session: PortalSession) -> None:
        self._session = session
        self._door = session.door
        self._pending: dict[str, Pending] = {}
        self._coids: set[str] = set()
        self.suppressed: set[str] = set()

    def close(self) -> None:
        self._pending.clear()

    # new orders

    def submit(self, account: str, drafts: Sequence[Draft]) -> Answer:
        """One of the four shapes of a 200, or a PortalRefusal."""
        duplicate = self._duplicate(drafts)
        if duplicate is not None:
            return duplicate
        drafts = self._linked(drafts)
        self._examine(drafts)
        return self._ask(account, drafts, lambda: self._place(drafts))

    def what_if(self, drafts: Sequence[Draft]) -> tuple[OrderTicket, Any]:
        """The first ticket and the exchange's WhatIf for it. Raises PortalRefusal when it would be refused."""
        ticket = drafts[0].ticket
        try:
            return ticket, self._door.exchange.what_if(ticket)
        except OrderRefused as refusal:
            raise rejected(refusal.why) from None

    def _duplicate(self, drafts: Sequence[Draft]) -> Answer | None:
        day = self._door.state(Coids) if self._door.settings.coid_registry is Registry.DAY else None
        seen: set[str] = set()
        for draft in drafts:
            coid = draft.coid
            taken = coid in seen or (coid in self._coids if day is None else day.is_taken(coid))
            if coid and taken:
                text = f"Order couldn't be submitted: Local order ID={coid} is already registered."
                return Answer({"error": text}, self._door.settings.duplicate_status)
            seen.add(coid)
        return None

    def _linked(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Order ids given out, children bound to their parents, and all but the last of a bracket held back."""
        ids = {draft.coid: self._door.exchange.take_outside_id() for draft in drafts if draft.coid}
        linked = []
        bracket = any(draft.parent in ids for draft in drafts if draft.parent)
        for place, draft in enumerate(drafts, 1):
            ticket = replace(
                draft.ticket,
                order_id=ids.get(draft.coid) or self._door.exchange.take_outside_id(),
                parent_id=self._parent(draft.parent, ids),
                transmit=not bracket or place == len(drafts),
            )
            linked.append(replace(draft, ticket=ticket))
        return linked

    def _parent(self, named: str, ids: dict[str, int]) -> int:
        """The order id behind a parentId: a cOID of this request, else one of a live order, else an orderId."""
        if not named:
            return 0
        if named in ids:
            return ids[named]
        for view in self._door.exchange.open_orders(PORTAL_CLIENT_ID):
            if named in (view.ticket.order_ref, str(number_of(self._door, view.perm_id))):
                return view.order_id
        raise rejected(f"Parent order {named} is not found")

    def _examine(self, drafts: Sequence[Draft]) -> None:
        """An order that is impossible for itself is refused before anything is asked about it."""
        for draft in drafts:
            self.what_if([draft])

    def _place(self, drafts: Sequence[Draft]) -> Answer:
        duplicate = self._duplicate(drafts)
        if duplicate is not None:
            return duplicate
        exchange = self._door.exchange
        with self._listening() as heard:
            for draft in drafts:
                exchange.place(draft.ticket, at_desk=True)
        # Parents first, so that the first refusal is the cause of the others.
        found = [Placed(draft, exchange.order(*draft.ticket.key), heard.text_of(draft.ticket)) for draft in drafts]
        for row in found:
            if row.is_known and row.draft.coid:
                self._coids.add(row.draft.coid)
                self._door.state(Coids).take(row.draft.coid)
            elif row.view is not None and row.view.staged:
                exchange.cancel_perm(row.view.perm_id)
        texts = [row.text for row in found if row.text]
        if texts and not any(row.is_taken for row in found):
            return Answer({"error": texts[0]})
        if not all(row.is_known or row.text for row in found):
            return Answer(None, 503, delay=UPSTREAM_SECONDS)
        found.sort(key=lambda row: row.draft.place)
        return Answer([self._outcome(row.view, row.text) for row in found])

    def _outcome(self, view: OrderView | None, text: str) -> dict[str, Any]:
        return {"error": text} if view is None or text else self._accepted(view)

    @contextmanager
    def _listening(self) -> Iterator[Heard]:
        heard = Heard()
        unsubscribe = self._door.exchange.subscribe(heard, *_NOTICES)
        try:
            yield heard
        finally:
            unsubscribe()

    def _accepted(self, view: OrderView) -> dict[str, Any]:
        number = number_of(self._door, view.perm_id)
        return {"order_id": str(number), "order_status": STATUS[view.status], "encrypt_message": "1"}

    # changes and cancels

    def reachable(self, account: str, number: str) -> OrderView:
        """The order that may be changed or cancelled here. Raises PortalRefusal in IB's words."""
        view = view_of(self._door, number)
        if view is None or view.account != account or not may_touch(self._door, view.client_id):
            raise rejected(f"OrderID {number} doesn't exist")
        return view

    def change(self, view: OrderView, draft: Draft) -> Answer:
        if view.completed_at is not None:
            filled = STATUS[view.status] == "Filled"
            raise rejected(
                refuse(Reason.MODIFY_FILLED).text if filled else f"Cannot modify an order that is {view.status}."
            )
        parent = self._door.exchange.order(view.client_id, view.ticket.parent_id) if view.ticket.parent_id else None
        if parent is not None and parent.completed_at is not None:
            draft = replace(draft, ticket=replace(draft.ticket, parent_id=0))
        return self._ask(view.account, [draft], lambda: self._apply(draft))

    def _apply(self, draft: Draft) -> Answer:
        exchange = self._door.exchange
        with self._listening() as heard:
            exchange.place(draft.ticket, at_desk=True)
        text = heard.text_of(draft.ticket)
        if text:
            return Answer({"error": text})
        view = exchange.order(*draft.ticket.key)
        return Answer([self._accepted(view)]) if view is not None else Answer(None, 503, delay=UPSTREAM_SECONDS)

    def cancel(self, account: str, number: str) -> Answer:
        """`number` "-1": every order of the account that may be touched here."""
        if number == ALL_ORDERS:
            views = [view for view in self._door.exchange.open_orders() if view.account == account]
            # Children first: their parent's end would be theirs.
            for view in sorted(views, key=lambda view: view.parent_perm_id == 0):
                self._cancel(view)
            return Answer(self._cancelled(int(ALL_ORDERS)))
        view = self.reachable(account, number)
        text = self._cancel(view)
        return Answer({"error": text} if text else self._cancelled(int(number)))

    def _cancel(self, view: OrderView) -> str:
        """IB's words when it was refused, else ""."""
        if not may_touch(self._door, view.client_id):
            return ""
        with self._listening() as heard:
            self._door.exchange.cancel_perm(view.perm_id, PORTAL_CLIENT_ID)
        return heard.notices[0].text if heard.notices else ""

    def _cancelled(self, number: int) -> dict[str, Any]:
        return {"msg": "Request was submitted", "order_id": number, "conid": -1, "account": None}

    # questions

    def disturb(self, account: str) -> None:
        """Another order request ends what was waiting for an answer in this account."""
        for question_id in [row.id for row in self._pending.values() if row.account == account]:
            del self._pending[question_id]

    def _ask(self, account: str, drafts: Sequence[Draft], act: Callable[[], Answer]) -> Answer:
        chain = questions_for(self._session, drafts, self.suppressed)
        if not chain:
            return act()
        return self._put(Pending(account, chain, act, abs(drafts[0].ticket.order_id), 0.0))

    def _put(self, pending: Pending) -> Answer:
        """The next question of the chain; each has an id of its own."""
        asked = pending.chain[0]
        pending.id = str(self._door.state(Ids).take())
        pending.deadline = self._door.monotonic() + REPLY_SECONDS
        self._pending[pending.id] = pending
        if asked.question.is_prompt:
            prompt = {
                "orderId": pending.number,
                "reqId": pending.id,
                "dismissable": [],
                "text": asked.text,
                "options": list(asked.question.options),
                "type": "M",
                "messageId": asked.question.id,
                "prompt": True,
            }
            self._session.publish({"topic": "ntf", "args": [prompt]})
            return Answer(prompt)
        row = {
            "id": pending.id,
            "message": [asked.text],
            "isSuppressed": False,
            "messageIds": [asked.question.id],
            "messageOptions": list(asked.question.options),
        }
        return Answer([row])

    def reply(self, question_id: str, confirmed: bool) -> Answer:
        return self._resolve(question_id, confirmed, prompt=False)

    def prompted(self, req_id: str, text: str) -> Answer:
        pending = self._pending.get(req_id)
        options = pending.chain[0].question.options if pending is not None else ()
        if pending is not None and text not in options:
            raise PortalRefusal(f"Bad Request: text is one of {', '.join(options)}")
        return self._resolve(req_id, bool(options) and text == options[0], prompt=True)

    def _resolve(self, question_id: str, confirmed: bool, *, prompt: bool) -> Answer:
        pending = self._pending.get(question_id)
        if pending is None or pending.chain[0].question.is_prompt is not prompt:
            raise PortalRefusal(f"reply id not found: '{question_id}'")
        del self._pending[question_id]
        if self._door.monotonic() > pending.deadline:
            return Answer(None, 503, delay=UPSTREAM_SECONDS)
        if not confirmed:
            return Answer({"error": NOT_CONFIRMED})
        pending.chain.pop(0)
        return self._put(pending) if pending.chain else pending.act()

    def suppress(self, message_ids: Sequence[str]) -> None:
        """Not asked again in this brokerage session. Raises PortalRefusal for too many, or one that IB always asks."""
        if len(message_ids) > MOST_SUPPRESSED:
            raise PortalRefusal(f"Bad Request: at most {MOST_SUPPRESSED} message ids")
        unknown = [message_id for message_id in message_ids if message_id not in QUESTIONS]
        if unknown:
            raise PortalRefusal(f"Bad Request: {', '.join(unknown)} cannot be suppressed")
        self.suppressed.update(message_ids)
