"""Orders on the portal: one request at a time, questions answered, and every outcome told as what it is.

A bracket's legs come one by one and leave in one request, with the last of them. Writes are never repeated: where the
outcome is unknown, the portal's orders are read and the manager judges (faults P01, P02).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from ...domain.order import NewOrder, WhatIf
from ...domain.reports import OrderEffect, OrderError, StatusReport, WireOrder
from ...errors import BrokerError, LinkError, NotConnected, NotSupported, OutcomeUnknown, PacingViolation
from ..config.ib_config import PortalSettings
from ..ib_transport import LinkState
from .answers import AnswerRow, Trouble, expect_object, judge, told
from .limits import Priority
from .order_feed import OrderFeed
from .order_rows import (
    bracket_tickets,
    row_number,
    row_status,
    to_change,
    to_perm_id,
    to_row_number,
    to_what_if,
)
from .own_orders import OwnOrder, OwnOrders
from .reply_chain import Outcome, ReplyChain, Verdict
from .session import Session
from .wire import Ambiguous, HttpCall, HttpReply, NotSent
from .words import TERMINAL, to_status, unsupported

logger = logging.getLogger(__name__)

#: The portal refuses in words alone; these are IB's numbers for the same (TWS message codes).
REFUSED, UNSUPPORTED, NOT_FOUND, NOT_CANCELLABLE = 201, 387, 10147, 10148
#: Seconds that a cancel waits for the answer to its order's own placing.
OWN_ANSWER = 2.0
ALL_ORDERS = -1


def _path(account: str) -> str:
    return f"/iserver/account/{account}"


class OrderChannel:
    """The writing half. `client_id` is told for our own orders."""

    def __init__(
        self, session: Session, feed: OrderFeed, own: OwnOrders, settings: PortalSettings, client_id: int
    ) -> None:
        self._session = session
        self._feed = feed
        self._own = own
        self._settings = settings
        self._client_id = client_id
        self._chain = ReplyChain(session.lanes, settings.confirm, settings.order_deadline)
        #: One chain at a time: another order would end the one before it (P 2.5).
        self._turn = asyncio.Lock()
        #: Entry's order id -> the legs that wait for the last one.
        self._staged: dict[int, list[WireOrder]] = {}
        #: Chains that are open or wait for their turn.
        self._chains: set[asyncio.Task[Verdict]] = set()
        #: The session in which no chain begins any more.
        self._closed_in = -1

    async def close(self) -> None:
        """Nothing new leaves in this session; what has left is answered and told, or given up by its deadline."""
        self._closed_in = self._session.attempts
        self._session.lanes.fail_waiting("the client disconnects")
        if self._chains:
            await asyncio.wait(self._chains)

    # Placing

    async def place(self, order: WireOrder) -> None:
        what = f"order {order.order_id} {order.intent.side} {order.intent.quantity} {order.intent.instrument}"
        self._session.require(what)
        own = self._own.add(order)
        why = self._cannot(order)
        if why is not None:
            self._refuse_bracket(own, why)
            return
        root = order.parent_id or order.order_id
        legs = [*self._staged.pop(root, ()), order]
        if not order.transmit:
            self._staged[root] = legs
            return
        await self._submit(what, legs)

    def _cannot(self, order: WireOrder) -> str | None:
        """Why this door does not take the order (fault O48); None when it does."""
        intent = order.intent
        parent = self._own.by_order_id.get(order.parent_id)
        if order.parent_id and (parent is None or parent.is_dead):
            return "its entry was refused"
        why = unsupported(intent)
        if why is not None:
            return why
        # the exits of one bracket cancel each other by their parent; a stop put in place of a lost one must go out
        if intent.oca_group and not order.parent_id and not intent.reduce_only:
            return "the portal groups only orders of one request: an OCA group of single orders is not possible"
        return None

    def _refuse_bracket(self, own: OwnOrder, why: str) -> None:
        """Nothing left: the order is refused, and with it whatever waits for it."""
        root = own.parent_id or own.order_id
        waiting = self._staged.pop(root, [])
        for leg in waiting:
            self._tell_refused(self._own.by_order_id[leg.order_id], UNSUPPORTED, f"not sent: {why}")
        self._tell_refused(own, UNSUPPORTED, why)

    async def _submit(self, what: str, legs: Sequence[WireOrder]) -> None:
        account = legs[0].account
        body = {"orders": bracket_tickets(legs)}
        call = HttpCall(
            "POST", f"{_path(account)}/orders", body=body, deadline=self._settings.order_deadline, what=what
        )
        owns = [self._own.by_order_id[leg.order_id] for leg in legs]
        for own in owns:
            own.asked_at = asyncio.get_running_loop().time()
        verdict = await self._run(call, lambda told: self._placed(owns, told), lambda: self._withdrawn(owns))
        if verdict.outcome is Outcome.NOT_SENT:
            raise NotConnected(what, verdict.why, "nothing was sent; it is safe to send again")
        if verdict.outcome in (Outcome.UNKNOWN, Outcome.EXISTS):
            raise OutcomeUnknown(what, verdict.why, "the portal's orders are being read")

    async def _run(
        self, call: HttpCall, settle: Callable[[Verdict], None], withdrawn: Callable[[], None] = lambda: None
    ) -> Verdict:
        """The verdict, told by `settle` first. The chain goes on when its caller leaves, unless nothing has left yet:
        then it is `withdrawn`."""
        left, session = asyncio.Event(), self._session.attempts

        async def work() -> Verdict:
            async with self._turn:
                if self._session.is_connected and self._session.attempts == session != self._closed_in:
                    verdict = await self._chain.run(call, left.set)
                else:
                    # whoever was told that the link ended has judged it already: it must not leave on a later one
                    verdict = Verdict(Outcome.NOT_SENT, "the session ended before its turn")
            settle(verdict)
            return verdict

        task = asyncio.ensure_future(work())
        self._chains.add(task)
        task.add_done_callback(self._chain_done)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not left.is_set() and task.cancel():
                asyncio.get_running_loop().call_soon(withdrawn)
            raise

    def _chain_done(self, task: asyncio.Task[Verdict]) -> None:
        self._chains.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("an order's chain failed", exc_info=task.exception())

    def _withdrawn(self, owns: Sequence[OwnOrder]) -> None:
        for own in owns:
            self._tell_refused(own, REFUSED, "it was withdrawn before it left")

    def _placed(self, owns: Sequence[OwnOrder], verdict: Verdict) -> None:
        """Tell what became of a request for new orders; the last leg's own failure is its caller's to raise."""
        self._note(verdict.trouble, verdict.why)
        if verdict.outcome is Outcome.ACCEPTED:
            self._accepted(owns, verdict)
        elif verdict.outcome is Outcome.REFUSED:
            for own in owns:
                self._tell_refused(own, REFUSED, verdict.why)
        elif verdict.outcome is Outcome.NOT_SENT:
            for own in owns[:-1]:
                self._tell_refused(own, REFUSED, f"it never left: {verdict.why}")
            owns[-1].is_dead = True
        else:
            self._session.spawn(self._resolve(owns, verdict.why), "resolving an unknown outcome")
        for own in owns:
            own.answered.set()

    def _accepted(self, owns: Sequence[OwnOrder], verdict: Verdict) -> None:
        for own, row in zip(owns, verdict.rows, strict=False):
            number = row_number(row)
            if row.get("error") or number is None:
                self._tell_refused(own, REFUSED, str(row.get("error") or "the portal gave it no number"))
                continue
            self._own.bind(own, number)
            self._tell_accepted(own, number, row.get("order_status"))
            self._feed.expect(number, own.asked_at)
        if len(verdict.rows) < len(owns):
            # the answer names the entry alone: the children are found among the live orders
            self._session.spawn(self._feed.read_and_tell(trades=False), "children of a bracket")

    def _tell_accepted(self, own: OwnOrder, number: int, word: object) -> None:
        """A frame of the stream that came first knows more than the answer. An end is left to the feed, which tells it
        after the executions that came before it."""
        status = row_status(self._feed.row(number)) or to_status(word)
        listener = self._feed.listener
        if listener is None or status is None or status in TERMINAL:
            return
        left = own.intent.quantity - own.booked
        listener.on_status(StatusReport(own.order_id, self._client_id, to_perm_id(number), status, own.booked, left))

    def _tell_refused(self, own: OwnOrder, code: int, text: str, effect: OrderEffect = OrderEffect.REJECTED) -> None:
        if effect is OrderEffect.REJECTED:
            own.is_dead = True
            own.answered.set()
        if self._feed.listener is not None:
            self._feed.listener.on_order_error(OrderError(own.order_id, code, text, effect))

    def _note(self, trouble: Trouble | None, why: str) -> None:
        if trouble is not None:
            self._session.note_trouble(trouble, why)

    async def _resolve(self, owns: Sequence[OwnOrder], why: str) -> None:
        """Look for the orders, and have the manager compare everything: the order is there, or absence is proven by
        readings that are quiet time apart. Nothing is sent again."""
        self._feed.forget_caches()
        await self._feed.read_and_tell()
        found = all(own.portal_id is not None for own in owns)
        text = f"{why}; the order was {'found' if found else 'not found yet'}"
        if self._feed.listener is not None and self._session.is_connected:
            self._feed.listener.on_link_restored(text)

    # Changing

    async def modify(self, order: WireOrder) -> None:
        what = f"change of order {order.order_id} {order.intent.instrument}"
        self._session.require(what)
        own = self._own.by_order_id.get(order.order_id) or self._own.add(order)
        why = unsupported(order.intent)
        if why is not None:
            self._tell_refused(own, UNSUPPORTED, why, OrderEffect.MODIFY_REJECTED)
            return
        number = to_row_number(order.perm_id)
        if number is not None:
            self._own.bind(own, number)
        else:
            number = self._number(own)
        if number is None:
            raise NotConnected(what, "its number at the portal is not known", "reconcile, then try again")
        body = to_change(order.intent, order.account, self._feed.row(number))
        path = f"{_path(order.account)}/order/{number}"
        call = HttpCall("POST", path, body=body, deadline=self._settings.order_deadline, what=what)
        own.asked_at = asyncio.get_running_loop().time()
        verdict = await self._run(call, lambda told: self._changed(own, order.intent, number, told))
        if verdict.outcome is Outcome.NOT_SENT:
            raise NotConnected(what, verdict.why, "nothing was sent; the order is as it was")
        if verdict.outcome in (Outcome.UNKNOWN, Outcome.EXISTS):
            raise OutcomeUnknown(what, verdict.why, "the order is live, as it was or as changed; its echo tells")

    def _changed(self, own: OwnOrder, intent: NewOrder, number: int, verdict: Verdict) -> None:
        self._note(verdict.trouble, verdict.why)
        if verdict.outcome is Outcome.NOT_SENT:
            return
        self._feed.expect(number, own.asked_at)
        if verdict.outcome is Outcome.ACCEPTED:
            own.intent = intent
        elif verdict.outcome is Outcome.REFUSED:
            self._tell_refused(own, REFUSED, verdict.why, OrderEffect.MODIFY_REJECTED)

    def _number(self, own: OwnOrder) -> int | None:
        """The portal's number of an order, also of one that an earlier process placed."""
        if own.portal_id is not None:
            return own.portal_id
        # a row without a reference is matched by the reading, by type and price too: a guess here changes a stranger
        number = self._feed.number_of(own.key)
        if number is not None:
            self._own.bind(own, number)
        return number

    # Cancelling

    async def cancel(self, order_id: int, perm_id: int | None, client_id: int | None) -> None:
        what = f"cancel of order {order_id}"
        if self._session.state in (LinkState.DOWN, LinkState.CONNECTING):
            raise NotConnected(what, f"the session is {self._session.state}", "it is sent when the session is back")
        own = self._own.by_order_id.get(order_id) if client_id in (None, self._client_id) else None
        if own is not None and (own.is_dead or self._withdraw(own)):
            return
        number = to_row_number(perm_id) or await self._number_to_cancel(own)
        if number is None:
            raise NotConnected(what, "the portal has told no number of it", "it is sent when the order is found")
        row = self._feed.row(number)
        account = str(row.get("acct") or (own.account if own else "") or self._session.accounts[0])
        asked_at = asyncio.get_running_loop().time()
        refusal = await self._delete(what, account, number)
        if refusal is not None:
            answer, reply = refusal
            code = NOT_FOUND if answer.trouble is Trouble.NO_SUCH_ORDER else NOT_CANCELLABLE
            if own is not None:
                self._tell_refused(own, code, told(reply), OrderEffect.CANCEL_REJECTED)
            elif self._feed.listener is not None:
                error = OrderError(order_id, code, told(reply), OrderEffect.CANCEL_REJECTED)
                self._feed.listener.on_order_error(error)
        self._feed.expect(number, asked_at)

    def _withdraw(self, own: OwnOrder) -> bool:
        """Whether the order was waiting for the rest of its bracket: it never left, nor does the bracket."""
        root = own.parent_id or own.order_id
        waiting = self._staged.pop(root, [])
        for leg in waiting:
            self._tell_refused(self._own.by_order_id[leg.order_id], REFUSED, "it was cancelled before it left")
        return bool(waiting)

    async def _number_to_cancel(self, own: OwnOrder | None) -> int | None:
        if own is None:
            return None
        if own.portal_id is None and not own.answered.is_set():
            try:
                async with asyncio.timeout(OWN_ANSWER):
                    await own.answered.wait()
            except TimeoutError:
                logger.info("order %s has no answer yet", own.key)
        if own.portal_id is None:
            await self._feed.read_and_tell(trades=False)
        return self._number(own)

    async def _delete(self, what: str, account: str, number: int) -> tuple[AnswerRow, HttpReply] | None:
        """None when the cancel was taken, else the refusal. A cancel may be sent twice: it does nothing the second
        time."""
        call = HttpCall(
            "DELETE", f"{_path(account)}/order/{number}", deadline=self._settings.request_deadline, what=what
        )
        for attempt in (1, 2):
            try:
                reply = await self._session.lanes.call(call, Priority.CANCEL)
            except (NotSent, LinkError) as error:
                self._session.suspect(error.why)
                raise NotConnected(what, error.why, "it is sent when the session is back") from None
            except Ambiguous as error:
                if attempt == 2:
                    self._session.suspect(error.why)
                    raise OutcomeUnknown(what, error.why, "it is sent again when the session is back") from None
                continue
            row = judge(reply)
            if row is None:
                return None
            if row.trouble is Trouble.UNAVAILABLE and attempt == 1:
                continue
            if row.trouble in (Trouble.REFUSED, Trouble.NO_SUCH_ORDER):
                return row, reply
            self._note(row.trouble, told(reply))
            raise NotConnected(what, told(reply), "it is sent when the session is back")
        raise AssertionError("the second attempt has answered")

    async def cancel_everything(self) -> None:
        """Every order of every account, also those of others. Raises the first failure after all were tried."""
        failures: list[BrokerError] = []
        for account in self._session.accounts:
            what = f"cancel of every order of {account}"
            try:
                refusal = await self._delete(what, account, ALL_ORDERS)
            except (NotConnected, OutcomeUnknown, PacingViolation) as error:
                failures.append(error)
                continue
            if refusal is not None:
                failures.append(NotConnected(what, told(refusal[1]), "cancel the orders one by one"))
        self._session.spawn(self._feed.read_and_tell(trades=False), "orders after a cancel of all")
        if failures:
            raise failures[0]

    # Asking

    async def what_if(self, order: WireOrder) -> WhatIf:
        """Raises NotSupported for what the door does not take, and what asking raises."""
        what = f"what-if of {order.intent.instrument}"
        self._session.require(what)
        why = unsupported(order.intent)
        if why is not None:
            raise NotSupported(what, why, "ask through TWS", code=UNSUPPORTED)
        ticket = bracket_tickets([order])[0]
        ticket.pop("cOID")
        call = HttpCall("POST", f"{_path(order.account)}/orders/whatif", body={"orders": [ticket]}, what=what)
        async with self._turn:
            body = expect_object(call, await self._session.ask(call, Priority.ORDER))
        return to_what_if(body, order.intent.instrument.currency)
