"""Placing: the key, the gate, the journal, the wire; in this order and with no await between the last checks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from ..domain.instrument import Instrument
from ..domain.order import Bracket, NewOrder, Order
from ..domain.order_states import OrderState
from ..errors import (
    BrokerError,
    ConfigurationError,
    InvalidOrder,
    JournalLocked,
    KeyConflict,
    MismatchDetected,
    OrderRejected,
    RiskRefusal,
    TradingHalted,
)
from ..journal import instrument_key, same_request
from ..journal.codec import to_json
from .book import ASKED_LEGS, ZERO, Record
from .desk import Desk
from .latency import Stage
from .lifecycle import UNSETTLED
from .ownership import Ownership
from .sending import Sender

#: Looks at what other processes opened before an order is given up.
LOOKS = 5


class Placing:
    """Turns an intent into an order, at most once per key."""

    def __init__(self, desk: Desk, sender: Sender, ownership: Ownership, load: Callable[[str], Record | None]) -> None:
        self._desk = desk
        self._sender = sender
        self._ownership = ownership
        self._load = load

    async def place(self, request: NewOrder | Bracket, *, closing: bool) -> Order:
        started = time.perf_counter()
        legs: Sequence[NewOrder] = request.legs() if isinstance(request, Bracket) else (request,)
        entry = legs[0]
        what = f"order {entry.key} ({entry.side} {entry.quantity} {entry.instrument})"
        account = self._account(entry, what)
        if entry.key in self._desk.book.records and (known := self._same_as_known(legs, account)) is not None:
            return await self._answer(known, started, is_first=False)
        if closing and not entry.reduce_only:
            raise InvalidOrder(what, "a closing order must be reduce_only")
        self._require_trading(what, closing)
        legs = await self._prepare(legs, what, closing)
        # No await from here to the journal: what was checked is what is recorded.
        if entry.key in self._desk.book.records and (known := self._same_as_known(legs, account)) is not None:
            return await self._answer(known, started, is_first=False)
        self._require_trading(what, closing)
        self._desk.require_link(what)
        records = self._recorded(legs, account, what, closing)
        if records is None:  # another process of the journal has used the key meanwhile
            known = self._same_as_known(legs, account)
            if known is None:
                raise KeyConflict(what, "a key of it is in the journal already", "use another key")
            return known.order
        await self._sender.send(records, started)
        return await self._answer(records[0], started, is_first=True)

    def _recorded(self, legs: Sequence[NewOrder], account: str, what: str, closing: bool) -> list[Record] | None:
        """Checked and durable, with nothing of another process in between; None when another one has used the key."""
        for _ in range(LOOKS):
            self._check(legs, account, closing)
            seen = None if closing else self._desk.looked_until
            records = self._sender.journal_intents(legs, account, allow_halted=closing, seen=seen)
            if records is None or records:
                return records
        raise JournalLocked(what, f"other processes recorded orders {LOOKS} times meanwhile", "place it again")

    def _account(self, entry: NewOrder, what: str) -> str:
        account = entry.account or self._desk.account
        if not account:
            raise ConfigurationError(what, "it names no account and the session has no default", "name the account")
        return account

    async def _prepare(self, legs: Sequence[NewOrder], what: str, closing: bool) -> Sequence[NewOrder]:
        desk = self._desk
        instrument = legs[0].instrument
        if instrument.con_id is None:
            qualified = await desk.qualify(instrument)
            legs = [replace(leg, instrument=qualified) for leg in legs]
        if not desk.link.synced and not closing:
            await desk.until_synced(what)
        await desk.gate.prepare(legs[0])
        await desk.check_link(what)
        return legs

    def _require_trading(self, what: str, closing: bool) -> None:
        if self._desk.halted is not None and not closing:
            raise TradingHalted(what, f"the kill switch is on: {self._desk.halted}", "resume first; cancels pass")

    def _check(self, legs: Sequence[NewOrder], account: str, closing: bool) -> None:
        desk = self._desk
        entry = legs[0]
        started = time.perf_counter()
        try:
            if not closing:
                self._refuse_blocked(entry, account)
                desk.gate.check(entry, replaces=None)
            else:
                desk.gate.check(entry, replaces=None, emergency=True)
            for leg in legs[1:]:
                desk.gate.check(leg, replaces=None, parent=entry)
        except BrokerError as refusal:
            rule = refusal.data.get("rule", type(refusal).__name__)
            desk.life.writer.note("REFUSED", entry.key, to_json({"rule": str(rule), "text": str(refusal)}))
            raise
        finally:
            desk.life.latency.add(Stage.GATE, time.perf_counter() - started)

    # Blocks

    def blocked(self, instrument: Instrument) -> str | None:
        """Why new exposure in this contract is blocked; None when all is clear."""
        reason = self._desk.life.blocks.get(instrument_key(instrument))
        if reason is not None:
            return reason
        unknown = self._desk.book.unknown_in(instrument)
        return None if unknown is None else f"order {unknown.key} is UNKNOWN"

    def _refuse_blocked(self, order: NewOrder, account: str) -> None:
        """What only reduces an owned position passes; anything else waits (promise Q3)."""
        reason = self.blocked(order.instrument)
        if reason is None:
            return
        room = self.reducible(order, account)
        if order.quantity <= room:
            return
        raise RiskRefusal(
            f"{order.side} {order.quantity} {order.instrument}",
            f"new exposure in it is blocked: {reason}",
            "reconcile, look at the alarm, then resume; cancels and reductions pass",
            rule="in_doubt",
            value=reason,
            limit="no doubt",
            largest=room,
            symbol=order.instrument.symbol,
        )

    def reducible(self, order: NewOrder, account: str) -> Decimal:
        """Shares by which an order of this side could reduce the owned position, less those at work already."""
        owned = self._ownership.owned(account, order.instrument) * -order.side.sign
        working = self._desk.book.working_quantity(account, order.instrument, order.side)
        return max(owned - working, ZERO)

    # Keys

    def _same_as_known(self, legs: Sequence[NewOrder], account: str) -> Record | None:
        """The order that already has this key, None when it is free. Raises KeyConflict for a different order (Q2)."""
        entry = legs[0]
        record = self._desk.book.records.get(entry.key) or self._load(entry.key)
        if record is None:
            return None
        if not self._is_same(record, legs, account):
            raise KeyConflict(
                f"order {entry.key}",
                f"the key names another order already ({record.order.state} {record.request.side}"
                f" {record.request.quantity} {record.request.instrument})",
                "use another key, or leave it out to have one made",
                key=entry.key,
            )
        return record

    def _is_same(self, record: Record, legs: Sequence[NewOrder], account: str) -> bool:
        if record.order.leg != 0 or record.order.foreign:
            return False
        for number, leg in enumerate(legs[1:], 1):
            if leg.key not in self._desk.book.records and self._load(leg.key) is None:
                return False
            if number not in ASKED_LEGS:
                return False
        known = [leg for leg in self._desk.book.brackets.get(record.key, ()) if leg.order.leg in ASKED_LEGS]
        stored = [record, *known]
        return len(stored) == len(legs) and all(
            same_request(old.request, new, account) for old, new in zip(stored, legs, strict=True)
        )

    # Answers

    async def _answer(self, record: Record, started: float, *, is_first: bool) -> Order:
        await self._until_settled(record)
        order = record.order
        if is_first and order.state is not OrderState.UNKNOWN:
            self._desk.life.latency.add(Stage.PLACE_TO_ACK, time.perf_counter() - started)
        if record.mismatch is not None:
            raise MismatchDetected(
                f"order {record.key}",
                record.mismatch,
                "trading in it is blocked; cancel or accept it, then resume",
                key=record.key,
            )
        if is_first and order.state is OrderState.REJECTED:
            raise OrderRejected(
                f"order {record.key} ({order.intent.side} {order.intent.quantity} {order.instrument})",
                order.reason or "the broker gave no reason",
                "see the broker's words; nothing works",
                code=record.reject_code,
                key=record.key,
            )
        return order

    async def _until_settled(self, record: Record) -> None:
        """Until the broker has answered, or the acknowledgement deadline settles it."""
        deadline = record.sent_at + self._desk.settings.ack_deadline
        if record.order.state not in UNSETTLED or record.is_settled:
            return
        if record.sent_epoch == 0 or self._desk.clock.monotonic() >= deadline:
            return
        waiter = asyncio.get_running_loop().create_future()
        record.settled.append(waiter)
        await waiter
