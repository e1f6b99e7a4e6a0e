"""Lines of the doctor's checklist, and those that the journal alone can tell: is it whole, the pen, the doubts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..brokers.domain.order_states import OrderState
from ..brokers.errors import BrokerError
from ..brokers.journal import Journal
from ..config.settings import FailoverMode, Settings


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warning"
    FAIL = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the checklist; `next` is empty when there is nothing to do."""

    name: str
    verdict: Verdict
    found: str
    next: str = ""


def journal_check(settings: Settings) -> Check:
    """Whether the journal, if there is one, is whole."""
    path = settings.state_folder / "journal.sqlite"
    if not path.exists():
        return Check("journal", Verdict.OK, f"none yet; it will be {path}")
    try:
        journal = Journal(path)
        try:
            broken = journal.verify()
        finally:
            journal.close()
    except BrokerError as error:
        return Check("journal", Verdict.FAIL, error.why or error.what, error.next)
    if broken is not None:
        return Check("journal", Verdict.FAIL, f"{path} was changed from outside: {broken}", "restore it from a backup")
    return Check("journal", Verdict.OK, f"{path}, every link of its chain holds")


def pen_checks(settings: Settings) -> list[Check]:
    """Which door the journal lets write, and every order that it left in doubt; nothing where there is no journal."""
    path = settings.state_folder / "journal.sqlite"
    if not path.exists():
        return []
    try:
        journal = Journal(path)
        try:
            lease, orders = journal.door(), journal.load_orders()
        finally:
            journal.close()
    except BrokerError as error:
        return [Check("orders in doubt", Verdict.FAIL, error.why or error.what, error.next)]
    checks = []
    if lease is not None:
        elsewhere = lease.door == "portal" and settings.failover is FailoverMode.OFF
        step = "set IB_FAILOVER as it was, or give the pen back: moondev-ibkr doors --to tws" if elsewhere else ""
        verdict = Verdict.WARN if elsewhere else Verdict.OK
        checks.append(Check("pen", verdict, f"orders go through {lease.door} (epoch {lease.epoch})", step))
    doubts = [
        f"{row.intent.key} ({row.intent.side} {row.intent.quantity} {row.intent.instrument.symbol}, through "
        f"{row.door}): {row.reason or 'no answer was written down'}"
        for row in orders
        if row.state is OrderState.UNKNOWN
    ]
    step = "connect: it ends by what the broker's orders and executions show; cancels pass meanwhile"
    if doubts:
        checks.append(Check("orders in doubt", Verdict.WARN, "; ".join(doubts), step))
    else:
        checks.append(Check("orders in doubt", Verdict.OK, "none"))
    return checks
