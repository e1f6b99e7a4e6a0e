"""Changing and cancelling live orders."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from ..domain.instrument import Instrument
from ..domain.order import NewOrder, Order, OrderChange
from ..domain.order_states import OrderState
from ..errors import (
    BrokerError,
    CancelRejected,
    InvalidOrder,
    JournalError,
    ModifyRejected,
    NotConnected,
    NotOwned,
    OutcomeUnknown,
    TradingHalted,
)
from ..journal import instrument_key
from .book import Record
from .brackets import AT_BROKER
from .desk import Desk
from .placing import Placing
from .reconciliation import Reconciler
from .sending import Sender

#: Real seconds between two looks while a cancel of everything is verified.
_LOOK_AGAIN = 0.1


@dataclass(frozen=True, slots=True)
class CancelOutcome:
    """Keys proven cancelled or done, and keys that may still work after the deadline."""

    cancelled: tuple[str, ...]
    still_working: tuple[str, ...]


class Changes:
    """Modify and cancel."""

    def __init__(self, desk: Desk, sender: Sender, reconciler: Reconciler, placing: Placing) -> None:
        self._desk = desk
        self._sender = sender
        self._reconciler = reconciler
        self._placing = placing

    def require_own(self, record: Record, verb: str) -> Record:
        """Raises NotOwned for a FOREIGN order."""
        if record.order.foreign:
            raise NotOwned(
                f"{verb} of order {record.key}",
                "it was not opened by this journal",
                f"adopt {record.order.instrument} first, if it is yours",
                key=record.key,
            )
        return record

    # Modify

    async def modify(self, record: Record, change: OrderChange) -> Order:
        desk = self._desk
        what = f"change of order {record.key}"
        changed = self._checked(record, change, what)
        if changed == record.order.intent:
            return record.order
        await desk.until_synced(what)
        await desk.gate.prepare(changed, replaces=record.order)
        await desk.check_link(what)
        changed = self._checked(record, change, what)
        self._refuse_blocked(record, changed)
        desk.gate.check(changed, replaces=record.order)
        answered = record.answered = asyncio.get_running_loop().create_future()
        try:
            await self._sender.send_change(record, changed)
        except BrokerError as failure:
            self._forget_answer(record, answered)
            if isinstance(failure, NotConnected | JournalError | TradingHalted):
                raise
            raise self._in_doubt(what, str(failure), record) from failure
        return await self._answer(record, answered, changed, what)

    def _checked(self, record: Record, change: OrderChange, what: str) -> NewOrder:
        """The intent as it would stand. Raises TradingHalted, ModifyRejected, InvalidOrder."""
        order = record.order
        if self._desk.halted is not None:
            raise TradingHalted(what, f"the kill switch is on: {self._desk.halted}", "resume first; cancels pass")
        if order.state not in AT_BROKER:
            advice = "it is done" if order.state.is_terminal else "wait until its state is known, or cancel it"
            raise ModifyRejected(what, f"the order is {order.state}", advice, key=record.key)
        if order.client_id not in (None, self._desk.port.client_id):
            why = (
                f"client {order.client_id} of this journal placed it, and the broker takes changes from that one alone"
            )
            raise ModifyRejected(what, why, "change it in the process that placed it", key=record.key)
        if len(record.lives) > 1:
            raise ModifyRejected(what, "it is at the broker under several permIds", "cancel it", key=record.key)
        if record.pending is not None:
            raise ModifyRejected(what, "another change of it is under way", "wait for its answer", key=record.key)
        changed = change.apply(order.intent)
        if changed.quantity <= order.filled:
            raise InvalidOrder(what, f"{order.filled} of it are filled already", "cancel the rest instead")
        return changed

    def _refuse_blocked(self, record: Record, changed: NewOrder) -> None:
        reason = self._placing.blocked(changed.instrument)
        if reason is not None and changed.quantity > record.order.intent.quantity:
            raise ModifyRejected(
                f"change of order {record.key}", f"new exposure is blocked: {reason}", "reduce it or cancel it"
            )

    @staticmethod
    def _forget_answer(record: Record, answered: asyncio.Future[None]) -> None:
        """Unless the next change waits already: an echo may confirm one before its write has returned."""
        if record.answered is answered:
            record.answered = None

    async def _answer(self, record: Record, answered: asyncio.Future[None], changed: NewOrder, what: str) -> Order:
        try:
            async with asyncio.timeout(self._desk.settings.ack_deadline):
                await answered
        except TimeoutError:
            raise self._in_doubt(what, "no answer in time", record) from None
        finally:
            self._forget_answer(record, answered)
        if record.order.intent != changed:
            raise ModifyRejected(what, f"the order was {record.order.state} first", "it is done", key=record.key)
        return record.order

    def _in_doubt(self, what: str, why: str, record: Record) -> OutcomeUnknown:
        self._reconciler.soon()
        return OutcomeUnknown(
            what, why, "the order is live, as it was or as changed; its next echo tells", key=record.key
        )

    def link_lost(self, reason: str) -> None:
        """Changes under way are in doubt until the broker shows the order again; cancels are sent again."""
        for record in self._desk.book.open.values():
            record.cancel_kept = record.cancel_kept or record.order.state is OrderState.PENDING_CANCEL
            if record.answered is not None and not record.answered.done():
                what = f"change of order {record.key}"
                record.answered.set_exception(OutcomeUnknown(what, f"the link ended first: {reason}", key=record.key))

    # Cancel

    async def cancel(self, record: Record) -> Order:
        if not record.may_fill:
            return record.order
        record.cancel_refusal = ""
        waiter = asyncio.get_running_loop().create_future()
        record.cancel_waiters.append(waiter)
        if not await self._sender.cancel_record(record):
            return record.order
        try:
            async with asyncio.timeout(self._desk.settings.cancel_deadline):
                await waiter
                if record.cancel_refusal and not record.order.state.is_terminal:
                    await self._look_at(record)
        except TimeoutError:
            # no answer in time, or a look that takes longer than a door's limits let it
            pass
        self._raise_refusal(record)
        return record.order

    async def _look_at(self, record: Record) -> None:
        """A refused cancel usually means that the order is done: ask before saying so (fault O05)."""
        try:
            await self._reconciler.run()
        except BrokerError as failure:
            self._desk.life.warn(f"order {record.key} could not be looked at: {failure}", record)

    def _raise_refusal(self, record: Record) -> None:
        """Raises CancelRejected for an order that lives on after the broker refused its cancel."""
        if not record.cancel_refusal or record.order.state.is_terminal:
            return
        raise CancelRejected(
            f"cancel of order {record.key}",
            record.cancel_refusal,
            f"the order is {record.order.state}; it is watched until it ends",
            key=record.key,
        )

    async def cancel_all(self, instrument: Instrument | None, *, everything: bool) -> list[Order]:
        targets = self._targets(instrument, everything)
        await self._send_cancels(targets, everything and instrument is None)
        await self._until_ended(targets)
        return [record.order for record in targets]

    def _targets(self, instrument: Instrument | None, everything: bool) -> list[Record]:
        key = instrument_key(instrument) if instrument is not None else None
        return [
            record
            for record in self._desk.book.open.values()
            if (everything or not record.order.foreign)
            and (key is None or instrument_key(record.order.instrument) == key)
        ]

    async def _send_cancels(self, targets: Iterable[Record], everywhere: bool) -> None:
        for record in targets:
            await self._sender.cancel_record(record)
        if everywhere:
            try:
                await self._desk.port.cancel_everything()
            except BrokerError as failure:
                self._desk.life.alarm(f"the cancel of everything was not sent: {failure}")

    async def _until_ended(self, targets: Iterable[Record]) -> None:
        seconds = self._desk.settings.cancel_deadline
        waits = [self._desk.life.until_terminal(record, seconds) for record in targets]
        await asyncio.gather(*waits)

    async def cancel_and_verify(self, *, everything: bool) -> CancelOutcome:
        targets = self._targets(None, everything)
        await self._send_cancels(targets, everything)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._verify_deadline
        while True:
            verified = await self._verified()
            targets += [record for record in self._targets(None, everything) if record not in targets]
            working = [record for record in targets if record.may_fill]
            if (verified and not working) or loop.time() >= deadline:
                break
            await asyncio.sleep(_LOOK_AGAIN)
        still = targets if not verified else working
        return CancelOutcome(
            cancelled=tuple(record.key for record in targets if record not in still),
            still_working=tuple(record.key for record in still),
        )

    @property
    def _verify_deadline(self) -> float:
        return self._desk.settings.cancel_deadline + self._desk.port.reading_time

    async def _verified(self) -> bool:
        try:
            async with asyncio.timeout(self._verify_deadline):
                await self._reconciler.run()
        except (BrokerError, TimeoutError) as failure:
            self._desk.life.warn(f"the cancels are not verified: {failure}")
            return False
        return True

    # Cancels that waited for the link

    def has_kept_cancels(self) -> bool:
        return any(self._is_kept(record) for record in self._desk.book.open.values())

    def _is_kept(self, record: Record) -> bool:
        """Whether its cancel must be sent (again). A link that ends before it was ready tells nobody: a cancel that
        left on it is still unanswered on the next one."""
        unanswered = record.order.state is OrderState.PENDING_CANCEL and record.cancel_epoch < self._desk.link.epoch
        return (record.cancel_kept or unanswered) and record.may_fill and not record.order.foreign

    async def send_kept_cancels(self) -> None:
        for record in list(self._desk.book.open.values()):
            if self._is_kept(record):
                await self._sender.cancel_record(record)
