"""Every exception that this package raises, in one tree.

BrokerError
├── UsageError                    the caller asked for something impossible; nothing was sent
│   ├── InvalidInstrument             a symbol or contract that cannot be
│   │   ├── UnknownInstrument             the broker knows no such contract
│   │   └── AmbiguousInstrument           several contracts fit; the candidates are attached
│   ├── InvalidOrder                  an order that no exchange could accept as written
│   ├── InvalidRequest                a data request outside the rules (bar size, duration, dates)
│   ├── InvalidData                   a file or a series that is not what it claims to be
│   ├── KeyConflict                   the same order key was used for a different order
│   └── UnknownOrder                  no order with that key in this journal
├── ConfigurationError            settings that contradict each other or the account
│   └── LiveNotAllowed                one of the two steps that live trading needs is missing
├── RiskRefusal                   a rule of the risk policy said no; rule, value, limit, largest order that fits
├── TradingHalted                 the kill switch is on; only cancels pass
├── NotOwned                      the order or position was not opened by this journal
├── BrokerRejected                the broker refused an order, a change or a cancel; the order's fate is known
│   ├── OrderRejected
│   ├── ModifyRejected                the original order is still live
│   └── CancelRejected
├── RequestFailed                 the broker answered a query with an error
│   ├── NoData                        the broker has no data for what was asked
│   ├── NoPermission                  a market-data subscription or trading permission is missing
│   ├── PacingViolation               the broker's limits were exceeded
│   └── NotSupported                  this broker or this door cannot do what was asked
├── LinkError                     the connection's fault
│   ├── ConnectFailed                 no session could be established; `kind` says why
│   ├── NotConnected                  there is no session now; nothing was sent
│   ├── LinkLost                      the session ended while an answer was awaited
│   └── ProtocolViolation             the peer sent bytes that are not the protocol
├── DeadlineExceeded              no answer in time
├── OutcomeUnknown                a write may or may not have reached the broker; it is never repeated
├── StaleData                     the freshest value is older than allowed
├── JournalError                  the order journal cannot be read or written; no order leaves without it
│   ├── JournalLocked
│   └── DoorFenced                   another door writes to the broker now
└── MismatchDetected              the broker's echo differs from what was asked; trading in that symbol stops
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any


class BrokerError(Exception):
    """Root of the tree. `what` was asked, `why` it cannot be, what to do `next`."""

    def __init__(self, what: str, why: str = "", next: str = "", **data: Any) -> None:
        self.what = what
        self.why = why
        self.next = next
        #: Machine-readable details, e.g. ``{"symbol": "AAPL"}``. Never holds a secret.
        self.data: Mapping[str, Any] = data
        super().__init__(what, why, next)

    def __str__(self) -> str:
        text = self.what
        if self.why:
            text += f": {self.why}"
        if self.next:
            text += f" ({self.next})"
        return text


class UsageError(BrokerError):
    """The caller's fault. Nothing was sent and nothing was lost."""


class InvalidInstrument(UsageError):
    """The symbol or contract description cannot name anything tradable."""


class UnknownInstrument(InvalidInstrument):
    """The broker knows no contract of this description (IB error 200)."""


class AmbiguousInstrument(InvalidInstrument):
    """Several contracts fit the description; `data["candidates"]` lists them."""


class InvalidOrder(UsageError):
    """The order contradicts itself, its type, or the contract's own rules."""


class InvalidRequest(UsageError):
    """A data request that the rules exclude before it is sent."""


class InvalidData(UsageError):
    """A file or series with impossible content; `data` says where."""


class KeyConflict(UsageError):
    """The key already names another order. Same key and same order would have been answered with it."""


class UnknownOrder(UsageError):
    """The journal holds no order with this key."""


class ConfigurationError(BrokerError):
    """Settings that contradict each other, the account or the machine."""


class LiveNotAllowed(ConfigurationError):
    """Live trading takes IB_ENVIRONMENT=live and --i-understand-live, and a live account."""


class RiskRefusal(BrokerError):
    """A rule of the risk policy refused the order.

    `rule` is its name, `value` what the order would have made, `limit` what is allowed (both in the unit that
    the rule's message states), `largest` the largest whole quantity that would pass every rule (None when the
    rule is not about size, 0 when nothing fits).
    """

    def __init__(
        self,
        what: str,
        why: str,
        next: str = "",
        *,
        rule: str,
        value: Decimal | float | str | None,
        limit: Decimal | float | str | None,
        largest: Decimal | None = None,
        **data: Any,
    ) -> None:
        super().__init__(what, why, next, rule=rule, value=value, limit=limit, largest=largest, **data)
        self.rule = rule
        self.value = value
        self.limit = limit
        self.largest = largest

    def __str__(self) -> str:
        text = f"{super().__str__()} [rule {self.rule}: value {self.value}, limit {self.limit}"
        return text + (f", largest order that fits {self.largest}]" if self.largest is not None else "]")


class TradingHalted(BrokerError):
    """The kill switch is on. Cancels pass; everything else waits for `resume`."""


class NotOwned(BrokerError):
    """The order or position is FOREIGN: seen, never touched, until adopted."""


class BrokerRejected(BrokerError):
    """The broker said no. `code` is its error code, None when it gave none."""

    def __init__(self, what: str, why: str = "", next: str = "", *, code: int | None = None, **data: Any) -> None:
        super().__init__(what, why, next, code=code, **data)
        self.code = code


class OrderRejected(BrokerRejected):
    """A new order was refused; it never worked."""


class ModifyRejected(BrokerRejected):
    """A change was refused; the original order is still live as it was."""


class CancelRejected(BrokerRejected):
    """A cancel was refused, usually because the order is already done."""


class RequestFailed(BrokerError):
    """The broker answered a query with an error. `code` is its error code, None when it gave none."""

    def __init__(self, what: str, why: str = "", next: str = "", *, code: int | None = None, **data: Any) -> None:
        super().__init__(what, why, next, code=code, **data)
        self.code = code


class NoData(RequestFailed):
    """The broker has no data for the request; different from an empty portfolio or no orders."""


class NoPermission(RequestFailed):
    """A market-data subscription or a trading permission is missing."""


class PacingViolation(RequestFailed):
    """A limit of the broker was exceeded."""


class NotSupported(RequestFailed):
    """This broker, or this door of it, cannot do what was asked."""


class LinkError(BrokerError):
    """The connection's fault, or the peer's."""


class ConnectFailed(LinkError):
    """No session. `kind` is one of `refused`, `timeout`, `no_handshake`, `client_id_in_use`, `closed_early`,
    `version`, `protocol`, `unreachable`, `account`; `doctor` knows the remedy for each."""

    def __init__(self, what: str, why: str = "", next: str = "", *, kind: str, **data: Any) -> None:
        super().__init__(what, why, next, kind=kind, **data)
        self.kind = kind


class NotConnected(LinkError):
    """There is no session; nothing was sent."""


class LinkLost(LinkError):
    """The session ended while an answer was awaited."""


class ProtocolViolation(LinkError):
    """The peer sent something that is not the protocol; the link was dropped."""


class DeadlineExceeded(BrokerError):
    """No answer within `waited`. For a read this means try again; a write raises OutcomeUnknown instead."""

    def __init__(self, what: str, waited: timedelta, next: str = "", **data: Any) -> None:
        super().__init__(what, f"no answer within {waited.total_seconds():g} s", next, **data)
        self.waited = waited


class OutcomeUnknown(BrokerError):
    """A write may or may not have reached the broker. The order is UNKNOWN until evidence ends that."""


class StaleData(BrokerError):
    """The freshest value is older than allowed. `age` is its age, None when there is no value at all."""

    def __init__(self, what: str, why: str = "", next: str = "", *, age: timedelta | None = None, **data: Any) -> None:
        super().__init__(what, why, next, age=age, **data)
        self.age = age


class JournalError(BrokerError):
    """The order journal failed; no order leaves without a durable intent."""


class JournalLocked(JournalError):
    """Another process holds the journal's write lock for too long."""


class DoorFenced(JournalError):
    """Another door holds the right to write orders (promise Q18); nothing was sent."""


class MismatchDetected(BrokerError):
    """The broker's echo of an order differs from the intent."""
