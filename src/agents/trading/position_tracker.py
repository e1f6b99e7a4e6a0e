"""The host's PositionTracker kept true to the broker: compared by symbol and net shares, and the broker wins.

What can be proven from executions is mended; the rest is reported and left as it is. Positions that this journal did
not open are reported as foreign and never written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from ...brokers.domain.account import Position
from ...brokers.domain.instrument import SecType
from ...brokers.errors import InvalidData, StaleData
from ...brokers.sync import SyncBroker
from .lots import average_price, owned_fills
from .tracker_plan import BrokerTruth, SymbolPlan, make_plans
from .tracker_rows import Tracker, TrackerWriter, read_content, tracker_spelling

ZERO = Decimal(0)
#: Reads of the broker before it is said that its positions do not hold still.
_READS = 3


class MismatchKind(StrEnum):
    MISSING_IN_TRACKER = "MISSING_IN_TRACKER"  #: owned at the broker, no open row
    MISSING_AT_BROKER = "MISSING_AT_BROKER"  #: an open row, nothing at the broker
    SHARES_DIFFER = "SHARES_DIFFER"
    TURNED_OVER = "TURNED_OVER"  #: as many shares as tracked, of another purchase
    SIDE_DIFFERS = "SIDE_DIFFERS"  #: tracked as held, short at the broker
    NOT_REPRESENTABLE = (
        "NOT_REPRESENTABLE"  #: short, a fraction of a share, or no stock: the tracker has no room for it
    )
    FOREIGN = "FOREIGN"  #: shares that this journal did not open; never written
    UNREADABLE = "UNREADABLE"  #: an open row that is not whole shares of a ticker at a price


@dataclass(frozen=True, slots=True)
class PositionMismatch:
    """One difference by symbol. Shares are signed: `tracked` in open rows, `owned` and `foreign` at the broker.

    `mended`: the tracker was changed and agrees now. `text` says what was done, or why nothing was.
    """

    symbol: str
    kind: MismatchKind
    tracked: Decimal
    owned: Decimal
    foreign: Decimal
    mended: bool
    text: str


class PositionReconciler:
    """Keeps one tracker true to one broker. Usable from any thread; the tracker itself is used from one alone.

    `open_tracker` makes the tracker, once, in that thread (the host's class itself will do: each making of it inserts
    one more example row). `account` None compares the sum of all accounts. One process at a time may keep a tracker.
    """

    def __init__(self, broker: SyncBroker, open_tracker: Callable[[], Tracker], account: str | None = None) -> None:
        self._broker = broker
        self._open_tracker = open_tracker
        self._account = account
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="position-tracker")
        self._tracker: Tracker | None = None
        self._writer: TrackerWriter | None = None

    def reconcile(self, *, dry_run: bool = False) -> list[PositionMismatch]:
        """Compare, mend, and answer the differences as they were found; `dry_run` writes nothing.

        Raises what the broker's reads raise, and then the tracker is as it was; InvalidData for a tracker that is not
        the host's, or that failed while it was written (the next call goes on from there).
        """
        truth = self._read_broker()
        return self._thread.submit(self._compare, truth, dry_run).result()

    def close(self) -> None:
        """End the tracker's thread."""
        self._thread.shutdown()

    def _read_broker(self) -> BrokerTruth:
        for _ in range(_READS):
            before = self._broker.owned_positions(self._account)
            held = self._broker.positions(self._account)
            fills = owned_fills(self._broker.orders(), self._broker.fills())
            after = self._broker.owned_positions(self._account)
            if _quantities(before) == _quantities(after):
                own = tuple(fill for fill in fills if self._account in (None, fill.account))
                return BrokerTruth(tuple(after), tuple(held), own, self._broker.market_time())
        raise StaleData("positions", f"they changed during each of {_READS} reads", "reconcile again in a moment")

    def _compare(self, truth: BrokerTruth, dry_run: bool) -> list[PositionMismatch]:
        try:
            if self._tracker is None:
                self._tracker = self._open_tracker()
                self._writer = TrackerWriter(self._tracker)
            content = read_content(self._tracker)
            plans = make_plans(truth, content)
            found = [row for symbol, plan in plans.items() for row in self._mend(symbol, plan, truth, dry_run)]
        except sqlite3.Error as error:
            raise InvalidData("position tracker", str(error), "close what else uses it, and reconcile again") from error
        for symbol, why in content.unreadable:
            found.append(PositionMismatch(symbol, MismatchKind.UNREADABLE, ZERO, ZERO, ZERO, False, why))
        return found + _others(truth)

    def _mend(self, symbol: str, plan: SymbolPlan, truth: BrokerTruth, dry_run: bool) -> list[PositionMismatch]:
        found = []
        kind = _kind(plan)
        if kind is not None:
            text = _text(plan, dry_run)
            if not dry_run and kind is not MismatchKind.NOT_REPRESENTABLE:
                self._write(symbol, plan, truth)
            mended = (
                not dry_run and not plan.unproven and plan.owned >= 0 and kind is not MismatchKind.NOT_REPRESENTABLE
            )
            found.append(_mismatch(symbol, kind, plan, mended, text))
        if plan.foreign:
            text = f"{plan.foreign} shares were not opened by this journal; adopt {symbol} to have them tracked"
            found.append(_mismatch(symbol, MismatchKind.FOREIGN, plan, False, text))
        return found

    def _write(self, symbol: str, plan: SymbolPlan, truth: BrokerTruth) -> None:
        assert self._writer is not None  # opened before
        spelling = plan.rows[0].spelling if plan.rows else tracker_spelling(symbol)
        for row in plan.rows:
            if exits := plan.exits.get(row.id):
                self._writer.close(row, exits)
        if plan.added:
            price = average_price((Decimal(shares), fill.price) for fill, shares in plan.added)
            assert price is not None  # there are shares
            self._writer.add(spelling, price, plan.added, min(fill.time for fill, _ in plan.added))
        if plan.adopted:
            self._writer.add_adopted(spelling, _average_cost(truth, symbol), plan.adopted, truth.time)
        if plan.unproven:
            for row in (row for row in plan.rows if row.id not in plan.exits):
                self._writer.note(row.id, f"left open: {_UNPROVEN.format(plan.unproven)}")


_UNPROVEN = "{} shares are not at the broker, and no execution of this journal tells at what price they left"


def _kind(plan: SymbolPlan) -> MismatchKind | None:
    added = sum(shares for _, shares in plan.added) + plan.adopted
    gone = plan.closed + plan.unproven
    if plan.owned != plan.owned.to_integral_value():
        return MismatchKind.NOT_REPRESENTABLE
    if plan.owned < 0:
        return MismatchKind.SIDE_DIFFERS if plan.rows else MismatchKind.NOT_REPRESENTABLE
    if added and gone == added and not plan.unproven:
        return MismatchKind.TURNED_OVER
    if added:
        return MismatchKind.SHARES_DIFFER if plan.rows else MismatchKind.MISSING_IN_TRACKER
    if gone:
        return MismatchKind.SHARES_DIFFER if plan.owned + plan.foreign else MismatchKind.MISSING_AT_BROKER
    return None


def _text(plan: SymbolPlan, dry_run: bool) -> str:
    if _kind(plan) is MismatchKind.NOT_REPRESENTABLE:
        return f"{plan.owned} shares: the tracker holds whole shares held long, and nothing else; not written"
    add, close = ("would add", "would close") if dry_run else ("added", "closed")
    bought = sum(shares for _, shares in plan.added)
    words = [
        f"{add} {bought} shares at their average fill price" if bought else "",
        f"{add} {plan.adopted} adopted shares at the broker's average cost" if plan.adopted else "",
        f"{close} {plan.closed} shares at their fill prices" if plan.closed else "",
    ]
    words.append(_UNPROVEN.format(plan.unproven) + "; left open" if plan.unproven else "")
    words.append(f"short {plan.owned}: the tracker has no sides, the short is not written" if plan.owned < 0 else "")
    return "; ".join(word for word in words if word)


def _mismatch(symbol: str, kind: MismatchKind, plan: SymbolPlan, mended: bool, text: str) -> PositionMismatch:
    return PositionMismatch(symbol, kind, Decimal(plan.tracked), plan.owned, plan.foreign, mended, text)


def _others(truth: BrokerTruth) -> list[PositionMismatch]:
    """Owned contracts that are no stocks."""
    text = "the tracker holds stocks only; not written"
    return [
        PositionMismatch(str(row.instrument), MismatchKind.NOT_REPRESENTABLE, ZERO, row.quantity, ZERO, False, text)
        for row in truth.owned
        if row.instrument.sec_type is not SecType.STOCK
    ]


def _average_cost(truth: BrokerTruth, symbol: str) -> Decimal:
    rows = [row for row in truth.owned if row.instrument.symbol == symbol]
    price = average_price((row.quantity, row.average_cost) for row in rows)
    if price is None or price <= 0:
        raise InvalidData(f"average cost of {symbol}", f"the broker tells {price}", "reconcile again in a moment")
    return price


def _quantities(positions: Iterable[Position]) -> dict[tuple[str, str, int | None], Decimal]:
    return {(row.account, str(row.instrument), row.instrument.con_id): row.quantity for row in positions}
