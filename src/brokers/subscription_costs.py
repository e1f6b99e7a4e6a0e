"""What market data costs a month: the cheapest set of subscriptions that covers a list of symbols."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from itertools import combinations
from typing import Any

from .domain.instrument import Instrument, SecType
from .errors import InvalidRequest

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Price:
    """USD a month, when that was read and where; `verified` False: not found in a source at hand."""

    monthly: Decimal
    as_of: date
    source: str
    verified: bool


@dataclass(frozen=True, slots=True)
class Subscription:
    """A row of market_data_subscriptions.json. `waived_from` is the month's commissions in USD that waive it, None
    when nothing does. `needs` are ids that must be held as well."""

    id: str
    name: str
    covers: frozenset[str]
    needs: frozenset[str]
    waived_from: Decimal | None
    non_professional: Price
    professional: Price | None


@dataclass(frozen=True, slots=True)
class SubscriptionLine:
    """One subscription of the plan. `due` is what is paid: 0 when waived. `count` above 1 for quote boosters."""

    id: str
    name: str
    count: int
    monthly: Decimal
    waived: bool
    as_of: date
    source: str
    verified: bool

    @property
    def due(self) -> Decimal:
        return _ZERO if self.waived else self.monthly * self.count


@dataclass(frozen=True, slots=True)
class SubscriptionCosts:
    """The cheapest plan. Amounts in USD a month. `uncovered` are symbols for which the table has no subscription.

    `baseline` is what the plan is compared with, `saving` what it saves against that (negative: it costs more).
    """

    lines: tuple[SubscriptionLine, ...]
    uncovered: tuple[str, ...]
    baseline: str | None
    baseline_monthly: Decimal | None

    @property
    def monthly(self) -> Decimal:
        return sum((line.due for line in self.lines), _ZERO)

    @property
    def waived(self) -> Decimal:
        return sum((line.monthly * line.count for line in self.lines if line.waived), _ZERO)

    @property
    def as_of(self) -> date | None:
        """The date of the oldest figure; None when nothing is subscribed."""
        return min((line.as_of for line in self.lines), default=None)

    @property
    def saving(self) -> Decimal | None:
        return None if self.baseline_monthly is None else self.baseline_monthly - self.monthly


@dataclass(frozen=True, slots=True)
class _Table:
    subscriptions: tuple[Subscription, ...]
    networks: Mapping[str, str]
    baselines: Mapping[str, tuple[str, Price]]
    booster: Subscription
    lines_included: int
    lines_per_booster: int
    most_boosters: int


def calculate_subscription_costs(
    symbols: Iterable[str | Instrument],
    *,
    professional: bool = False,
    monthly_commissions: Decimal = _ZERO,
    options: bool = False,
    depth: bool = False,
    baseline: str | None = None,
) -> SubscriptionCosts:
    """The cheapest subscriptions that stream `symbols` through the API, by the table's figures.

    A symbol given as text, or without a primary exchange, needs every US tape. `options` adds option quotes, `depth`
    order books. `monthly_commissions` in USD decide which are waived. `baseline` names a row to compare with.
    Raises InvalidRequest for an unknown baseline or more symbols than lines can be bought.
    """
    table = _table()
    wanted = list(symbols)
    needs, uncovered = _needs(table, wanted, options=options, depth=depth)
    chosen = _cheapest(table.subscriptions, needs, professional, monthly_commissions)
    lines = [_line(row, professional, monthly_commissions) for row in chosen]
    boosters = -(-max(len(wanted) - table.lines_included, 0) // table.lines_per_booster)
    if boosters > table.most_boosters:
        most = table.lines_included + table.most_boosters * table.lines_per_booster
        raise InvalidRequest(f"{len(wanted)} symbols", f"at most {most} lines can be bought", "stream fewer at a time")
    if boosters:
        lines.append(_line(table.booster, professional, monthly_commissions, boosters))
    if baseline is not None and baseline not in table.baselines:
        raise InvalidRequest(f"baseline {baseline!r}", "there is no such row", f"one of {', '.join(table.baselines)}")
    name, price = table.baselines[baseline] if baseline is not None else (None, None)
    return SubscriptionCosts(tuple(lines), uncovered, name, price.monthly if price is not None else None)


def _needs(
    table: _Table, symbols: Sequence[str | Instrument], *, options: bool, depth: bool
) -> tuple[frozenset[str], tuple[str, ...]]:
    tapes: set[str] = set()
    extra: set[str] = set()
    uncovered: list[str] = []
    for symbol in symbols:
        instrument = Instrument(symbol) if isinstance(symbol, str) else symbol
        exchange = instrument.primary_exchange or instrument.exchange
        if instrument.sec_type is SecType.STOCK and instrument.currency == "USD":
            tapes |= {table.networks[exchange]} if exchange in table.networks else {"A", "B", "C"}
        elif instrument.sec_type is SecType.OPTION and instrument.currency == "USD":
            extra.add("OPRA")
        elif instrument.sec_type is SecType.FUTURE and exchange in table.networks:
            extra.add(table.networks[exchange])
        elif instrument.sec_type is not SecType.FOREX:
            uncovered.append(str(instrument))
    if options and tapes:
        extra.add("OPRA")
    if depth:
        extra |= {f"DEPTH_{tape}" for tape in tapes}
    return frozenset(tapes | extra), tuple(uncovered)


def _cheapest(
    rows: Sequence[Subscription], needs: frozenset[str], professional: bool, commissions: Decimal
) -> tuple[Subscription, ...]:
    """The set of rows that covers `needs` at the least cost; of equals, the one with fewer rows."""
    offered = [row for row in rows if _price(row, professional) is not None]
    best: tuple[Decimal, int, tuple[Subscription, ...]] | None = None
    for size in range(len(offered) + 1):
        for group in combinations(offered, size):
            held = {row.id for row in group}
            covered = frozenset().union(*(row.covers for row in group))
            if not needs <= covered or any(not row.needs <= held for row in group):
                continue
            cost = sum((_line(row, professional, commissions).due for row in group), _ZERO)
            if best is None or (cost, size) < best[:2]:
                best = (cost, size, group)
    if best is None:
        raise InvalidRequest(f"data for {', '.join(sorted(needs))}", "the table has no subscription that covers it")
    return best[2]


def _price(row: Subscription, professional: bool) -> Price | None:
    return row.professional if professional else row.non_professional


def _line(row: Subscription, professional: bool, commissions: Decimal, count: int = 1) -> SubscriptionLine:
    price = _price(row, professional) or row.non_professional
    waived = row.waived_from is not None and not professional and commissions >= row.waived_from
    return SubscriptionLine(row.id, row.name, count, price.monthly, waived, price.as_of, price.source, price.verified)


@cache
def _table() -> _Table:
    source = files(__package__).joinpath("interactive_brokers", "config", "market_data_subscriptions.json")
    raw: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    lines = raw["lines"]
    return _Table(
        subscriptions=tuple(_subscription(row) for row in raw["subscriptions"]),
        networks=raw["networks"],
        baselines={row["id"]: (row["name"], _read_price(row)) for row in raw["baselines"]},
        booster=_subscription(lines["booster"]),
        lines_included=lines["included"],
        lines_per_booster=lines["per_booster"],
        most_boosters=lines["most_boosters"],
    )


def _subscription(row: Mapping[str, Any]) -> Subscription:
    waived_from, professional = row.get("waived_from"), row.get("professional")
    return Subscription(
        id=row["id"],
        name=row["name"],
        covers=frozenset(row["covers"]),
        needs=frozenset(row.get("needs", ())),
        waived_from=None if waived_from is None else Decimal(waived_from),
        non_professional=_read_price(row["non_professional"]),
        professional=None if professional is None else _read_price(professional),
    )


def _read_price(row: Mapping[str, Any]) -> Price:
    return Price(
        Decimal(row["monthly"]), date.fromisoformat(row["as_of"]), row["source"], not row.get("unverified", False)
    )
