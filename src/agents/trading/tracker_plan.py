"""What has to be written to a tracker so that it agrees with the broker: arithmetic over rows and executions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from ...brokers.domain.account import Position
from ...brokers.domain.instrument import SecType
from ...brokers.domain.order import Fill
from .lots import match
from .tracker_rows import Exit, TrackedRow, TrackerContent, tracker_date

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class BrokerTruth:
    """What the broker holds, in one moment: what is owned, all of it, and this journal's executions in time order."""

    owned: tuple[Position, ...]
    held: tuple[Position, ...]
    fills: tuple[Fill, ...]
    time: datetime


@dataclass
class SymbolPlan:
    """What is to be written for a symbol, `exits` by the row's id, shares in whole numbers.

    `unproven` shares are in rows and not at the broker, and no execution says at what price they left.
    """

    tracked: int
    owned: Decimal
    foreign: Decimal
    rows: list[TrackedRow]
    exits: dict[int, list[Exit]] = field(default_factory=dict)
    added: list[tuple[Fill, int]] = field(default_factory=list)
    adopted: int = 0
    unproven: int = 0

    @property
    def closed(self) -> int:
        return sum(exit.shares for exits in self.exits.values() for exit in exits)


def make_plans(truth: BrokerTruth, content: TrackerContent) -> dict[str, SymbolPlan]:
    """What each symbol needs, by symbol; stocks only. Nothing is written here."""
    owned, held = _net(truth.owned), _net(truth.held)
    exits, lots = _exits(truth, owned), _open_lots(truth)
    symbols = sorted({row.symbol for row in content.rows} | set(held) | set(owned))
    plans = {}
    for symbol in symbols:
        rows = [row for row in content.rows if row.symbol == symbol]
        mine = owned.get(symbol, ZERO)
        foreign = held.get(symbol, ZERO) - mine
        plan = SymbolPlan(sum(row.shares for row in rows), mine, foreign, rows)
        if mine == mine.to_integral_value():
            fresh = _not_accounted(exits.get(symbol, []), content.accounted)
            _plan_exits(plan, fresh, lots.get(symbol, []), _first_day(truth, symbol))
            _plan_additions(plan, lots.get(symbol, []))
        plans[symbol] = plan
    return plans


def _plan_exits(plan: SymbolPlan, exits: list[Exit], lots: list[tuple[Fill, int]], first_day: str) -> None:
    """Which rows are closed by which executions: first the rows that name them, then rows that may stand for them."""
    long, strangers = int(max(plan.owned, ZERO)), int(max(plan.foreign, ZERO))
    ours = sum(row.shares for row in plan.rows if row.is_ours)
    explained = sum(shares for _, shares in lots) == long
    surplus = max(plan.tracked - long - strangers, 0)
    left = plan.tracked if explained else max(surplus, ours - long)
    for row in (row for row in plan.rows if row.is_ours):
        left -= _take(plan, row, exits, left, dict(row.opened))
    named_anywhere = {name for row in plan.rows for name in row.opened}
    left = max(plan.tracked - plan.closed - long - strangers, 0)
    free = Counter[str]()
    for exit in exits:
        if exit.pair[0] not in named_anywhere:
            free[exit.pair[0]] += exit.shares
    for row in (row for row in plan.rows if not row.is_ours):
        if row.is_adopted or row.entry_date[:10] >= first_day:
            left -= _take(plan, row, exits, left, free)
    ours_left = ours - sum(e.shares for row in plan.rows if row.is_ours for e in plan.exits.get(row.id, ()))
    plan.unproven = max(plan.tracked - plan.closed - long - strangers, ours_left - long, 0)


def _take(plan: SymbolPlan, row: TrackedRow, exits: list[Exit], most: int, named: dict[str, int]) -> int:
    """Give `row` the exits of the executions that are `named`, up to its shares and `most`; answers how many."""
    taken = 0
    for index, exit in enumerate(exits):
        shares = min(exit.shares, row.shares - taken, most - taken, named.get(exit.pair[0], 0))
        if shares > 0:
            plan.exits.setdefault(row.id, []).append(Exit(exit.opened, exit.closed, shares))
            exits[index] = Exit(exit.opened, exit.closed, exit.shares - shares)
            named[exit.pair[0]] -= shares
            taken += shares
    return taken


def _plan_additions(plan: SymbolPlan, lots: list[tuple[Fill, int]]) -> None:
    """What is owned and in no row: the youngest lots that no row names, and the rest at the broker's average cost."""
    long, strangers = int(max(plan.owned, ZERO)), int(max(plan.foreign, ZERO))
    remaining = {row.id: row.shares - sum(e.shares for e in plan.exits.get(row.id, ())) for row in plan.rows}
    ours = sum(remaining[row.id] for row in plan.rows if row.is_ours)
    others = sum(remaining.values()) - ours
    missing = max(long - ours - max(others - strangers, 0), 0)
    named = Counter[str]()
    for row in plan.rows:
        named.update(row.opened)
        for exit in plan.exits.get(row.id, ()):
            named[exit.pair[0]] -= exit.shares
    added: list[tuple[Fill, int]] = []
    for fill, shares in reversed(lots):
        covered = min(shares, max(named[fill.base_id], 0))
        named[fill.base_id] -= covered
        take = min(shares - covered, missing)
        if take > 0:
            added.append((fill, take))
            missing -= take
    plan.added, plan.adopted = added[::-1], missing


def _exits(truth: BrokerTruth, owned: Mapping[str, Decimal]) -> dict[str, list[Exit]]:
    """Long shares that left, by symbol, oldest first. A sell with nothing bought before it sold adopted shares."""
    lots, trips = match(_whole_stock(truth.fills))
    found: dict[str, list[Exit]] = {}
    for trip in trips:
        if trip.was_long:
            found.setdefault(trip.opened.instrument.symbol, []).append(
                Exit(trip.opened, trip.closed, int(trip.quantity))
            )
    for lot in lots:
        symbol = lot.opened.instrument.symbol
        if lot.quantity < 0 <= owned.get(symbol, ZERO):
            found.setdefault(symbol, []).append(Exit(None, lot.opened, int(-lot.quantity)))
    return found


def _open_lots(truth: BrokerTruth) -> dict[str, list[tuple[Fill, int]]]:
    lots, _ = match(_whole_stock(truth.fills))
    found: dict[str, list[tuple[Fill, int]]] = {}
    for lot in lots:
        if lot.quantity > 0:
            found.setdefault(lot.opened.instrument.symbol, []).append((lot.opened, int(lot.quantity)))
    return found


def _whole_stock(fills: Iterable[Fill]) -> list[Fill]:
    whole = (fill for fill in fills if fill.quantity == fill.quantity.to_integral_value())
    return [fill for fill in whole if fill.instrument.sec_type is SecType.STOCK]


def _not_accounted(exits: list[Exit], accounted: Mapping[tuple[str, str], int]) -> list[Exit]:
    """The exits that no closed row stands for yet."""
    used = Counter(accounted)
    fresh = []
    for exit in exits:
        known = min(exit.shares, used[exit.pair])
        used[exit.pair] -= known
        if exit.shares > known:
            fresh.append(Exit(exit.opened, exit.closed, exit.shares - known))
    return fresh


def _first_day(truth: BrokerTruth, symbol: str) -> str:
    """The day before which no row can stand for this journal's shares; beyond all days where it never traded."""
    days = [tracker_date(fill.time)[:10] for fill in truth.fills if fill.instrument.symbol == symbol]
    return min(days, default="9999")


def _net(positions: Iterable[Position]) -> dict[str, Decimal]:
    """Signed shares by symbol, stocks only."""
    found: dict[str, Decimal] = {}
    for row in positions:
        if row.instrument.sec_type is SecType.STOCK and row.quantity:
            found[row.instrument.symbol] = found.get(row.instrument.symbol, ZERO) + row.quantity
    return found
