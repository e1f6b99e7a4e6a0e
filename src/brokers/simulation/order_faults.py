"""Scripted faults between the exchange and its listeners: refuse, hold, delay, drop, duplicate.

Rules are consumed in the order in which they were added. Faults touch what is told, never what is true: a dropped
execution is still in the ledger and in Exchange.executions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from .events import ExchangeEvent
from .refusals import Refusal
from .tickets import OrderTicket

Matcher = Callable[[ExchangeEvent], bool]
EventFilter = Callable[[ExchangeEvent], Iterable[ExchangeEvent]]
NOW = timedelta(0)


class Fate(StrEnum):
    DROP = "DROP"
    DUPLICATE = "DUPLICATE"
    DELAY = "DELAY"


def _any(event: ExchangeEvent) -> bool:
    return True


@dataclass(slots=True)
class _Rule:
    fate: Fate
    kind: type[ExchangeEvent]
    where: Matcher
    left: int
    delay: timedelta = NOW


@dataclass(slots=True)
class _Rejection:
    """`refusal` None: the ticket vanishes without an answer."""

    refusal: Refusal | None
    where: Callable[[OrderTicket], bool]
    left: int


@dataclass(slots=True)
class OrderFaults:
    """`filters` run on every event after the rules: each gives the events that go on instead of it."""

    filters: list[EventFilter] = field(default_factory=list)
    _rules: list[_Rule] = field(default_factory=list)
    _rejections: list[_Rejection] = field(default_factory=list)
    _held_kinds: list[tuple[type[ExchangeEvent], Matcher]] = field(default_factory=list)
    _held: list[ExchangeEvent] = field(default_factory=list)
    _redeliver: Callable[[ExchangeEvent], None] | None = None

    @property
    def active(self) -> bool:
        return bool(self.filters or self._rules or self._held_kinds)

    def connect(self, redeliver: Callable[[ExchangeEvent], None]) -> None:
        """The exchange's own delivery, for events that were held."""
        self._redeliver = redeliver

    def reject_next(
        self, code: int, text: str, *, count: int = 1, where: Callable[[OrderTicket], bool] = lambda ticket: True
    ) -> None:
        """Answer the next `count` new orders or changes that fit with this error; they never work."""
        self._rejections.append(_Rejection(Refusal(code, text), where, count))

    def swallow_next(self, *, count: int = 1, where: Callable[[OrderTicket], bool] = lambda ticket: True) -> None:
        """The next `count` tickets that fit vanish: no order, no answer (fault O02)."""
        self._rejections.append(_Rejection(None, where, count))

    def intercept(self, ticket: OrderTicket) -> tuple[bool, Refusal | None]:
        """Whether `ticket` goes no further, and the scripted refusal that answers it; used up by this call."""
        for row in self._rejections:
            if row.where(ticket):
                row.left -= 1
                if row.left <= 0:
                    self._rejections.remove(row)
                return True, row.refusal
        return False, None

    def drop_next(self, kind: type[ExchangeEvent], *, count: int = 1, where: Matcher = _any) -> None:
        """The next `count` events of `kind` are never told."""
        self._rules.append(_Rule(Fate.DROP, kind, where, count))

    def duplicate_next(self, kind: type[ExchangeEvent], *, count: int = 1, where: Matcher = _any) -> None:
        """The next `count` events of `kind` are told twice (fault O12)."""
        self._rules.append(_Rule(Fate.DUPLICATE, kind, where, count))

    def delay_next(self, kind: type[ExchangeEvent], delay: timedelta, *, count: int = 1, where: Matcher = _any) -> None:
        """The next `count` events of `kind` are told `delay` of market time later; what follows overtakes them."""
        self._rules.append(_Rule(Fate.DELAY, kind, where, count, delay))

    def hold(self, kind: type[ExchangeEvent] = ExchangeEvent, where: Matcher = _any) -> None:
        """Keep back every event of `kind` (and its subclasses) from now on, until `release`."""
        self._held_kinds.append((kind, where))

    def release(self) -> int:
        """Stop holding and tell what was held, in order; returns how many events that were."""
        self._held_kinds.clear()
        held, self._held = self._held, []
        if self._redeliver is not None:
            for event in held:
                self._redeliver(event)
        return len(held)

    def discard_held(self) -> int:
        """Stop holding and forget what was held: the acknowledgement that never came."""
        self._held_kinds.clear()
        count = len(self._held)
        self._held.clear()
        return count

    def pass_on(self, event: ExchangeEvent) -> list[tuple[ExchangeEvent, timedelta]]:
        """What goes to the listeners for `event`, each with its delay in market time."""
        if any(isinstance(event, kind) and where(event) for kind, where in self._held_kinds):
            self._held.append(event)
            return []
        told = self._ruled(event)
        for change in self.filters:
            told = [(other, delay) for item, delay in told for other in change(item)]
        return told

    def _ruled(self, event: ExchangeEvent) -> list[tuple[ExchangeEvent, timedelta]]:
        for rule in self._rules:
            if isinstance(event, rule.kind) and rule.where(event):
                rule.left -= 1
                if rule.left <= 0:
                    self._rules.remove(rule)
                if rule.fate is Fate.DROP:
                    return []
                return [(event, NOW)] * 2 if rule.fate is Fate.DUPLICATE else [(event, rule.delay)]
        return [(event, NOW)]
