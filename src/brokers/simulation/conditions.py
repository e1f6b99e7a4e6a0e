"""Order conditions: what must hold before an order works, or is cancelled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from .tickets import Condition, ConditionKind, Execution


@dataclass(frozen=True, slots=True)
class Facts:
    """What conditions ask about. Each callable answers None when there is no such value yet.

    `last` price, `volume` today and `change` (percent against the previous close) by con_id;
    `cushion` is excess liquidity in percent of net liquidation; `executions` of the account since the order came.
    """

    now: datetime
    last: Callable[[int], Decimal | None]
    volume: Callable[[int], Decimal | None]
    change: Callable[[int], Decimal | None]
    cushion: Callable[[], Decimal | None]
    executions: Callable[[], Sequence[Execution]]


def _compare(value: Decimal | None, condition: Condition) -> bool:
    if value is None or condition.value is None:
        return False
    return value >= condition.value if condition.more else value <= condition.value


def _price(condition: Condition, facts: Facts) -> bool:
    return _compare(facts.last(condition.con_id), condition)


def _time(condition: Condition, facts: Facts) -> bool:
    if condition.moment is None:
        return False
    return facts.now >= condition.moment if condition.more else facts.now <= condition.moment


def _margin(condition: Condition, facts: Facts) -> bool:
    return _compare(facts.cushion(), condition)


def _execution(condition: Condition, facts: Facts) -> bool:
    return any(
        row.instrument.symbol == condition.symbol
        and (not condition.sec_type or row.instrument.sec_type == condition.sec_type)
        and condition.exchange in ("", "SMART", row.exchange)
        for row in facts.executions()
    )


def _volume(condition: Condition, facts: Facts) -> bool:
    return _compare(facts.volume(condition.con_id), condition)


def _percent_change(condition: Condition, facts: Facts) -> bool:
    return _compare(facts.change(condition.con_id), condition)


CHECKS: dict[ConditionKind, Callable[[Condition, Facts], bool]] = {
    ConditionKind.PRICE: _price,
    ConditionKind.TIME: _time,
    ConditionKind.MARGIN: _margin,
    ConditionKind.EXECUTION: _execution,
    ConditionKind.VOLUME: _volume,
    ConditionKind.PERCENT_CHANGE: _percent_change,
}


def hold(conditions: Sequence[Condition], facts: Facts) -> bool:
    """Whether the whole list holds: "and" binds before "or"; an empty list holds."""
    every = True
    for condition in conditions:
        every = every and CHECKS[condition.kind](condition, facts)
        if condition.conjunction == "o":
            if every:
                return True
            every = True
    return every if not conditions or conditions[-1].conjunction != "o" else False
