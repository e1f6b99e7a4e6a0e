"""Adapters with one thing broken each: what the simulation must catch, or it would pass anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from moondev_ibkr.brokers.domain.order import Fill
from moondev_ibkr.brokers.domain.order_states import OrderSignal
from moondev_ibkr.brokers.domain.reports import WireOrder
from moondev_ibkr.brokers.errors import BrokerError
from moondev_ibkr.brokers.interactive_brokers.ib_adapter import IBAdapter
from moondev_ibkr.brokers.orders import OrderManager, OrderSettings
from moondev_ibkr.brokers.orders.reconciliation import Reading
from moondev_ibkr.brokers.orders.restoring import UNANSWERED

from .plan import Doors, Plan


class Mutant(IBAdapter):
    """`breaks` is called with the manager as soon as it is made."""

    def _make_manager(self, settings: OrderSettings) -> OrderManager:
        manager = super()._make_manager(settings)
        self.breaks(manager)
        return manager

    def breaks(self, manager: Any) -> None:
        raise NotImplementedError


class Resends(Mutant):
    """Sends an order again when no answer came in time."""

    new_id = False

    def breaks(self, manager: Any) -> None:
        judge, desk = manager._deadlines._judge_silence, manager._desk

        def judge_and_resend(record: Any) -> None:
            silent = not record.acknowledged and record.order.state in UNANSWERED
            judge(record)
            if silent and desk.port.is_healthy:
                order_id = desk.port.next_order_id if self.new_id else record.order.order_id
                desk.spawn(desk.port.place(WireOrder(order_id, record.order.intent, record.account)), "again")

        manager._deadlines._judge_silence = judge_and_resend


class ResendsAsNew(Resends):
    """And under a fresh order id, as a naive retry does."""

    new_id = True


class GivesUpByTimer(Mutant):
    """Declares an order not sent when no answer came in time."""

    def breaks(self, manager: Any) -> None:
        desk = manager._desk

        def judge(record: Any) -> None:
            if not record.acknowledged and record.order.state in UNANSWERED:
                desk.life.apply(record, OrderSignal.SEND_FAILED, "no answer")
            desk.life.settle(record)

        manager._deadlines._judge_silence = judge


class BooksTwice(Mutant):
    """Takes an execution that is told again for another one."""

    def breaks(self, manager: Any) -> None:
        life = manager._life
        book = life.book_fill

        def book_again(fill: Fill, record: Any) -> None:
            if fill.base_id in life.book.fills and record is not None:
                place, number, rest = fill.exec_id.split(".", 2)
                fill = replace(fill, exec_id=f"{place}.{number}f.{rest}")
            book(fill, record)

        life.book_fill = book_again


class ForgetsExecutions(Mutant):
    """Does not ask for executions after a gap."""

    def breaks(self, manager: Any) -> None:
        async def none(since: Any = None) -> Sequence[Fill]:
            return []

        manager._desk.port.executions = none


class ReadsFailureAsEmpty(Mutant):
    """Takes a query that failed for an empty answer."""

    def breaks(self, manager: Any) -> None:
        reconciler = manager._reconciler

        async def read() -> Reading:
            desk = reconciler._desk
            started, epoch = desk.clock.monotonic(), desk.link.epoch
            answers = []
            for question in (
                desk.port.open_orders,
                desk.port.completed_orders,
                desk.port.executions,
                desk.port.positions,
            ):
                try:
                    answers.append(await question())
                except BrokerError:
                    answers.append([])
            return Reading(started, epoch, *answers)

        reconciler._read = read


class IgnoresDoubt(Mutant):
    """Opens exposure in a symbol with an UNKNOWN order."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        asked = self.risk._asked
        for occasion, rules in asked.items():
            asked[occasion] = [rule for rule in rules if rule.name != "in_doubt"]

    def breaks(self, manager: Any) -> None:
        manager._placing.blocked = lambda instrument: None


class CountsHalf(Mutant):
    """Books half of every execution."""

    def breaks(self, manager: Any) -> None:
        life = manager._life
        book = life.book_fill

        def half(fill: Fill, record: Any) -> None:
            book(replace(fill, quantity=max(fill.quantity // 2, Decimal(1))), record)

        life.book_fill = half


class FailsTheOrderOver(Mutant):
    """Places an order through the other door when the first one fails."""

    def breaks(self, manager: Any) -> None:
        pair = manager._desk.port
        place = pair.place

        async def place_somewhere(order: WireOrder) -> None:
            try:
                await place(order)
            except BrokerError:
                await pair.other(pair.live).place(order)

        pair.place = place_somewhere


class IgnoresTheFence(Mutant):
    """Goes on writing under a lease that another process has ended."""

    def __init__(self, *args: Any, failover: Any, **options: Any) -> None:
        failover.follow = lambda: None
        super().__init__(*args, failover=failover, **options)

    def breaks(self, manager: Any) -> None:
        manager._desk.journal._check_may_write = lambda change, lease, allow_halted: None


#: Mutant -> the invariants of which one must catch it.
CAUGHT_BY: dict[type[Mutant], frozenset[str]] = {
    Resends: frozenset({"Q3"}),
    ResendsAsNew: frozenset({"Q1", "Q3"}),
    GivesUpByTimer: frozenset({"Q13"}),
    BooksTwice: frozenset({"Q5"}),
    # A fill that it never learns of may also leave its order UNKNOWN for good.
    ForgetsExecutions: frozenset({"Q5", "Q13", "liveness"}),
    ReadsFailureAsEmpty: frozenset({"Q13", "Q5"}),
    IgnoresDoubt: frozenset({"Q3"}),
    CountsHalf: frozenset({"Q5"}),
    FailsTheOrderOver: frozenset({"Q1", "Q18"}),
    IgnoresTheFence: frozenset({"Q18"}),
}
#: Short and busy episodes, with which they are caught: by the TWS door alone, or where there are two.
BUSY = Plan(processes=1, rate=0.05, kill_rate=0.0, pace=0.3, seconds=60.0)
TWO_DOORS = Plan(processes=2, rate=0.1, kill_rate=0.0, pace=0.3, seconds=60.0, doors=Doors.TWO_USERS)
PLANS: dict[type[Mutant], Plan] = {FailsTheOrderOver: TWO_DOORS, IgnoresTheFence: TWO_DOORS}
