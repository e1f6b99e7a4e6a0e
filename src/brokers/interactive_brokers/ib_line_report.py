"""The state of the subscription budget as rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from ..domain.clock import Clock
from ..domain.instrument import Instrument
from ..domain.subscriptions import Delivery, SubscriptionRow, Subscriptions, Tier
from .ib_line_budget import LineBudget
from .ib_line_budget_wants import Want
from .ib_transport import QuoteLine

_ORDER = {Tier.HOT: 0, Tier.WARM: 1, Tier.COLD: 2}


def subscriptions(
    budget: LineBudget,
    instruments: Mapping[int, Instrument],
    line_of: Callable[[int], QuoteLine | None],
    clock: Clock,
) -> Subscriptions:
    """Rows of what is wanted or has a line: HOT first, then by symbol."""
    rows = [
        _row(want, instruments[want.number], line_of(want.number), clock)
        for want in budget.wants()
        if want.number in instruments and (want.has_line or want.is_wanted)
    ]
    return Subscriptions(
        configured=budget.allowance.configured,
        believed=budget.allowance.believed,
        used=budget.used,
        reserved=budget.reserve,
        polling=budget.slots,
        refusals=budget.allowance.refusals,
        swaps=budget.swaps,
        refresh_within=timedelta(seconds=budget.refresh_bound()),
        rows=tuple(sorted(rows, key=lambda row: (_ORDER[row.tier], row.symbol))),
    )


def _row(want: Want, instrument: Instrument, line: QuoteLine | None, clock: Clock) -> SubscriptionRow:
    now = clock.monotonic()
    refused = now < want.no_line_before and now < want.no_poll_before
    delivery = Delivery.LINE if want.has_line else Delivery.REFUSED if refused else Delivery.POLLED
    age = line.quote().age(clock.now()) if line is not None and line.last_update is not None else None
    held_for = timedelta(seconds=max(0.0, now - want.since))
    return SubscriptionRow(instrument.symbol, want.tier, delivery, want.holders, held_for, age, _why(want, line))


def _why(want: Want, line: QuoteLine | None) -> str:
    if line is not None and line.error is not None:
        return str(line.error)
    if want.is_pinned:
        return "position or open order"
    if want.is_promoted:
        return want.why
    if want.holders:
        return "streamed"
    return "asked for"
