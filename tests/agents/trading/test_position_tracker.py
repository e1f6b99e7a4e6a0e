"""The host's tracker against the broker's truth, on the in-process paper broker behind the synchronous façade."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from moondev_ibkr.agents.trading.position_tracker import MismatchKind, PositionReconciler
from moondev_ibkr.brokers.domain.account import Position
from moondev_ibkr.brokers.errors import InvalidData, LinkLost, StaleData
from moondev_ibkr.brokers.risk import RiskPolicy
from moondev_ibkr.brokers.sync import LoopThread, SyncBroker

TABLES = """
CREATE TABLE IF NOT EXISTS positions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, symbol TEXT NOT NULL, entry_date TEXT NOT NULL, entry_price REAL NOT NULL,
    shares INTEGER NOT NULL, exit_date TEXT, exit_price REAL, profit_loss REAL, status TEXT DEFAULT 'OPEN',
    strategy TEXT, entry_reason TEXT, exit_reason TEXT);
CREATE TABLE IF NOT EXISTS position_notes (position_id INTEGER NOT NULL, note_type TEXT, note TEXT);
"""


class LookalikeTracker:
    """As the host's, defects included: every making of it adds one more closed example row, and closing a row twice
    reports success again. Its connection refuses every thread but the one that made it."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript(TABLES)
        self._write(
            "INSERT INTO positions (symbol, entry_date, entry_price, shares, exit_date, exit_price, status)"
            " VALUES ('TLRY', '2025-12-02', 7.18, 100, '2025-12-03', 7.70, 'CLOSED')"
        )

    def close(self) -> None:
        """The host's has none: its connection lives as long as the process."""
        self._connection.close()

    def _write(self, statement: str, *values: Any) -> int:
        with self._connection:
            return self._connection.execute(statement, values).lastrowid or 0

    def add_position(
        self,
        symbol: str,
        entry_price: float,
        shares: int,
        entry_date: str | None = None,
        strategy: str = "",
        entry_reason: str = "",
    ) -> int:
        values = (symbol, entry_date or "2026-11-28 00:00:00", entry_price, shares, strategy, entry_reason)
        columns = "symbol, entry_date, entry_price, shares, strategy, entry_reason"
        return self._write(f"INSERT INTO positions ({columns}) VALUES (?, ?, ?, ?, ?, ?)", *values)

    def close_position(
        self, position_id: int, exit_price: float, exit_date: str | None = None, exit_reason: str = ""
    ) -> dict[str, Any] | None:
        if (row := self.get_position(position_id)) is None:
            return None
        profit = (exit_price - row["entry_price"]) * row["shares"]
        self._write(
            "UPDATE positions SET exit_date = ?, exit_price = ?, profit_loss = ?, exit_reason = ?, status = 'CLOSED'"
            " WHERE id = ? AND status = 'OPEN'",
            *(exit_date, exit_price, profit, exit_reason, position_id),
        )
        return self.get_position(position_id)

    def get_position(self, position_id: int) -> dict[str, Any] | None:
        row = self._connection.execute("SELECT * FROM positions WHERE id = ?", (position_id,)).fetchone()
        return dict(row) if row else None

    def get_all_positions(self) -> pd.DataFrame:
        return pd.read_sql_query("SELECT * FROM positions ORDER BY entry_date DESC", self._connection)

    def add_note(self, position_id: int, note: str, note_type: str = "general") -> None:
        self._write("INSERT INTO position_notes VALUES (?, ?, ?)", position_id, note_type, note)


class Office:
    """A broker, a tracker's file, and a reconciler between them."""

    def __init__(self, world: Any, loop: LoopThread, path: Path) -> None:
        self.world = world
        self.path = path
        self.trackers: list[LookalikeTracker] = []
        self._loop = loop
        self.broker = SyncBroker(world.broker, loop)
        self.reconciler = PositionReconciler(self.broker, self._open)

    def _open(self) -> LookalikeTracker:
        self.trackers.append(LookalikeTracker(self.path))
        return self.trackers[-1]

    @property
    def opened(self) -> int:
        return len(self.trackers)

    def close(self) -> None:
        # only the reconciler's own thread may use a tracker's connection
        for tracker in self.trackers:
            self.reconciler._thread.submit(tracker.close).result()
        self.reconciler.close()

    def trade(self, symbol: str, quantity: int) -> Any:
        return self._loop.call(self.world.trade(symbol, quantity))

    def stranger(self, symbol: str, quantity: int) -> None:
        self._loop.call(self.world.stranger(symbol, quantity))

    def next_session(self) -> None:
        self._loop.call(self.world.open(self.world.session + 1))

    def adopt(self, symbol: str) -> None:
        self.broker.adopt(symbol)

    def by_hand(self, symbol: str, price: float, shares: float, date: str = "2026-11-28 00:00:00") -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executescript(TABLES)
            connection.execute(
                "INSERT INTO positions (symbol, entry_date, entry_price, shares) VALUES (?, ?, ?, ?)",
                (symbol, date, price, shares),
            )

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        if not self.path.exists():
            return []
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(question).fetchall()

    def open_rows(self) -> list[tuple[str, int, float]]:
        return self.ask("SELECT symbol, shares, entry_price FROM positions WHERE status = 'OPEN' ORDER BY id")

    def profit(self) -> float:
        return self.ask("SELECT COALESCE(SUM(profit_loss), 0) FROM positions")[0][0]

    def closed(self) -> list[tuple[str, int, float]]:
        """Closed rows that are trades: not the example, not a row that was split."""
        return self.ask(
            "SELECT symbol, shares, exit_price FROM positions WHERE status = 'CLOSED' AND exit_reason LIKE '% exit: %'"
        )

    def notes(self) -> str:
        return "\n".join(text for (text,) in self.ask("SELECT note FROM position_notes"))

    def differences(self, **options: bool) -> list[tuple[str, str, bool]]:
        return [(row.symbol, row.kind.value, row.mended) for row in self.reconciler.reconcile(**options)]


@pytest.fixture
def office(market: Any, tmp_path: Path) -> Iterator[Callable[..., Office]]:
    with ExitStack() as stack:
        loop = stack.enter_context(LoopThread())

        def make(prices: Any = None, **options: Any) -> Office:
            context = market(prices or {"AAA": lambda s: 110.0 + 10 * s, "BBB": lambda s: 50.0}, **options)
            world = loop.call(context.__aenter__())
            stack.callback(lambda: loop.call(context.__aexit__(None, None, None)))
            made = Office(world, loop, tmp_path / "positions.db")
            stack.callback(made.close)
            return made

        yield make


def test_what_is_owned_and_not_tracked_is_written_with_its_executions(office: Any) -> None:
    it = office()
    fill = it.trade("AAA", 10)
    assert it.differences() == [("AAA", "MISSING_IN_TRACKER", True)]
    assert it.open_rows() == [("AAA", 10, float(fill.price))]
    assert fill.exec_id in it.notes()
    assert f"permId {fill.perm_id}" in it.notes()
    assert it.differences() == []


def test_an_account_with_nothing_in_it_has_no_differences_whatever_example_rows_there_are(office: Any) -> None:
    it = office()
    assert it.differences() == []
    assert it.differences() == []
    assert it.ask("SELECT symbol FROM positions") == [("TLRY",)]
    assert it.opened == 1


def test_a_second_purchase_adds_its_own_shares_at_their_own_price(office: Any) -> None:
    it = office()
    first = it.trade("AAA", 10)
    it.reconciler.reconcile()
    it.next_session()
    second = it.trade("AAA", 5)
    assert first.price != second.price
    assert it.differences() == [("AAA", "SHARES_DIFFER", True)]
    assert it.open_rows() == [("AAA", 10, float(first.price)), ("AAA", 5, float(second.price))]


def test_what_the_broker_no_longer_holds_is_closed_at_the_fill_price(office: Any) -> None:
    it = office()
    bought = it.trade("AAA", 10)
    it.reconciler.reconcile()
    it.next_session()
    sold = it.trade("AAA", -10)
    assert it.differences() == [("AAA", "MISSING_AT_BROKER", True)]
    assert it.open_rows() == []
    assert it.closed() == [("AAA", 10, float(sold.price))]
    assert it.profit() == pytest.approx(float((sold.price - bought.price) * 10))
    assert it.differences() == []


def test_a_part_that_was_sold_is_closed_and_the_rest_goes_on_with_the_same_cost(office: Any) -> None:
    it = office()
    bought = it.trade("AAA", 10)
    it.reconciler.reconcile()
    it.next_session()
    sold = it.trade("AAA", -4)
    assert it.differences() == [("AAA", "SHARES_DIFFER", True)]
    assert it.open_rows() == [("AAA", 6, float(bought.price))]
    assert it.closed() == [("AAA", 4, float(sold.price))]
    assert it.profit() == pytest.approx(float((sold.price - bought.price) * 4))
    assert "split: 4 shares left" in it.notes()
    it.next_session()
    last = it.trade("AAA", -6)
    assert it.differences() == [("AAA", "MISSING_AT_BROKER", True)]
    assert it.profit() == pytest.approx(float((sold.price - bought.price) * 4 + (last.price - bought.price) * 6))
    assert it.differences() == []


def test_shares_of_two_prices_in_one_row_keep_their_profit_to_the_cent(office: Any) -> None:
    it = office()
    first = it.trade("AAA", 10)
    it.next_session()
    second = it.trade("AAA", 10)
    it.reconciler.reconcile()
    assert [shares for _, shares, _ in it.open_rows()] == [20]
    it.next_session()
    sold = it.trade("AAA", -15)
    it.reconciler.reconcile()
    assert it.open_rows() == [("AAA", 5, pytest.approx(float(second.price)))]
    gain = (sold.price - first.price) * 10 + (sold.price - second.price) * 5
    assert it.profit() == pytest.approx(float(gain))


def test_a_position_that_was_sold_and_bought_anew_is_another_row(office: Any) -> None:
    it = office()
    it.trade("AAA", 10)
    it.reconciler.reconcile()
    it.next_session()
    sold = it.trade("AAA", -10)
    anew = it.trade("AAA", 10)
    assert it.differences() == [("AAA", "TURNED_OVER", True)]
    assert it.closed() == [("AAA", 10, float(sold.price))]
    assert it.open_rows() == [("AAA", 10, float(anew.price))]
    assert it.differences() == []


def test_a_row_that_the_host_wrote_for_the_same_shares_is_taken_as_theirs(office: Any) -> None:
    it = office()
    fill = it.trade("AAA", 10)
    it.by_hand("AAA", float(fill.price), 10)
    assert it.differences() == []
    it.next_session()
    sold = it.trade("AAA", -10)
    assert it.differences() == [("AAA", "MISSING_AT_BROKER", True)]
    assert it.closed() == [("AAA", 10, float(sold.price))]


def test_a_later_purchase_is_added_beside_the_host_s_row_at_its_own_price(office: Any) -> None:
    it = office()
    first = it.trade("AAA", 10)
    it.by_hand("AAA", float(first.price), 10)
    it.next_session()
    second = it.trade("AAA", 5)
    it.reconciler.reconcile()
    assert it.open_rows() == [("AAA", 10, float(first.price)), ("AAA", 5, float(second.price))]


def test_a_short_that_was_covered_closes_no_row(office: Any) -> None:
    it = office(policy=RiskPolicy(allow_short=True))
    it.by_hand("AAA", 100.0, 10)
    it.trade("AAA", -10)
    it.trade("AAA", 10)
    assert it.differences() == [("AAA", "MISSING_AT_BROKER", False)]
    assert it.open_rows() == [("AAA", 10, 100.0)]


def test_a_row_of_unknown_end_is_left_open_and_says_so_once(office: Any) -> None:
    it = office()
    it.by_hand("AAA", 7.0, 100)
    assert it.differences() == [("AAA", "MISSING_AT_BROKER", False)]
    assert it.differences() == [("AAA", "MISSING_AT_BROKER", False)]
    assert it.open_rows() == [("AAA", 100, 7.0)]
    assert it.notes().count("no execution of this journal tells") == 1


def test_a_row_older_than_this_journal_is_never_closed_by_its_sales(office: Any) -> None:
    it = office()
    it.by_hand("AAA", 7.0, 10, date="2009-05-04 10:00:00")
    it.trade("AAA", 10)
    it.trade("AAA", -10)
    assert it.differences() == [("AAA", "MISSING_AT_BROKER", False)]
    assert it.open_rows() == [("AAA", 10, 7.0)]


def test_one_sale_closes_one_row_and_never_a_second(office: Any) -> None:
    it = office()
    it.trade("AAA", 10)
    it.reconciler.reconcile()
    it.trade("AAA", -10)
    it.reconciler.reconcile()
    it.by_hand("AAA", 90.0, 10)
    assert it.differences() == [("AAA", "MISSING_AT_BROKER", False)]
    assert len(it.closed()) == 1


def test_the_stranger_s_shares_are_reported_and_never_written(office: Any) -> None:
    it = office()
    it.stranger("AAA", 30)
    assert it.differences() == [("AAA", "FOREIGN", False)]
    assert it.open_rows() == []
    it.by_hand("AAA", 95.0, 30)
    assert it.differences() == [("AAA", "FOREIGN", False)]
    it.trade("AAA", 10)
    assert it.differences() == [("AAA", "SHARES_DIFFER", True), ("AAA", "FOREIGN", False)]
    assert [shares for _, shares, _ in it.open_rows()] == [30, 10]
    it.trade("AAA", -10)
    it.reconciler.reconcile()
    assert it.open_rows() == [("AAA", 30, 95.0)]


def test_adopted_shares_are_written_at_the_broker_s_average_cost_and_closed_by_their_sale(office: Any) -> None:
    it = office()
    it.stranger("AAA", 30)
    it.adopt("AAA")
    cost = it.broker.owned_positions()[0].average_cost
    assert it.differences() == [("AAA", "MISSING_IN_TRACKER", True)]
    assert it.open_rows() == [("AAA", 30, float(cost))]
    assert it.differences() == []
    it.next_session()
    sold = it.trade("AAA", -30)
    assert it.differences() == [("AAA", "MISSING_AT_BROKER", True)]
    assert it.closed() == [("AAA", 30, float(sold.price))]


def test_a_short_is_never_written_as_a_long(office: Any) -> None:
    it = office(policy=RiskPolicy(allow_short=True))
    it.trade("AAA", -10)
    (row,) = it.reconciler.reconcile()
    assert (row.kind, row.owned, row.mended) == (MismatchKind.NOT_REPRESENTABLE, -10, False)
    assert it.open_rows() == []
    it.by_hand("AAA", 100.0, 10)
    (row,) = it.reconciler.reconcile()
    assert (row.kind, row.mended) == (MismatchKind.SIDE_DIFFERS, False)
    assert it.open_rows() == [("AAA", 10, 100.0)]


def test_a_long_that_was_sold_and_then_shorted_is_closed_and_the_short_left_out(office: Any) -> None:
    it = office(policy=RiskPolicy(allow_short=True))
    it.trade("AAA", 10)
    it.reconciler.reconcile()
    sold = it.trade("AAA", -10)
    it.trade("AAA", -5)
    (row,) = it.reconciler.reconcile()
    assert (row.kind, row.tracked, row.owned) == (MismatchKind.SIDE_DIFFERS, 10, -5)
    assert it.open_rows() == []
    assert it.closed() == [("AAA", 10, float(sold.price))]


def test_a_dry_run_tells_the_same_and_writes_nothing(office: Any) -> None:
    it = office()
    it.trade("AAA", 10)
    it.by_hand("BBB", 50.0, 3)
    before = it.ask("SELECT * FROM positions")
    (first, second) = it.reconciler.reconcile(dry_run=True)
    assert [(row.kind, row.mended) for row in (first, second)] == [
        (MismatchKind.MISSING_IN_TRACKER, False),
        (MismatchKind.MISSING_AT_BROKER, False),
    ]
    assert first.text.startswith("would add 10 shares")
    assert [row for row in it.ask("SELECT * FROM positions") if row[1] != "TLRY"] == before
    assert it.notes() == ""


def test_a_broker_that_cannot_be_read_changes_nothing(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    it = office()
    it.trade("AAA", 10)
    it.reconciler.reconcile()
    before = it.ask("SELECT * FROM positions")

    def lost(account: str | None = None) -> list[Position]:
        raise LinkLost("positions", "the session ended")

    for name in ("positions", "owned_positions", "fills", "orders"):
        with monkeypatch.context() as patch:
            patch.setattr(it.broker, name, lost if name.endswith("positions") else lambda: lost())
            with pytest.raises(LinkLost):
                it.reconciler.reconcile()
    assert it.ask("SELECT * FROM positions") == before


def test_positions_that_do_not_hold_still_are_not_written(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    it = office()
    it.trade("AAA", 10)
    ask, calls = it.broker.owned_positions, []

    def moving(account: str | None = None) -> list[Position]:
        calls.append(account)
        return [replace(row, quantity=row.quantity + len(calls)) for row in ask(account)]

    monkeypatch.setattr(it.broker, "owned_positions", moving)
    with pytest.raises(StaleData):
        it.reconciler.reconcile()
    assert it.open_rows() == []


@pytest.mark.parametrize(("price", "shares"), [(0.0, 10), (7.0, -10), (7.0, 1.5), (7.0, 0)])
def test_a_row_that_cannot_be_is_reported_and_left(office: Any, price: float, shares: float) -> None:
    it = office()
    it.by_hand("AAA", price, shares)
    assert it.differences() == [("AAA", "UNREADABLE", False)]
    assert it.open_rows() == [("AAA", shares, price)]


def test_a_row_that_somebody_closed_meanwhile_is_not_closed_twice(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    it = office()
    it.trade("AAA", 10)
    it.reconciler.reconcile()
    it.trade("AAA", -10)
    ask = LookalikeTracker.get_all_positions

    def then_closed(tracker: LookalikeTracker) -> pd.DataFrame:
        frame = ask(tracker)
        tracker.close_position(2, 1.0, "2026-11-28", "by hand")
        return frame

    monkeypatch.setattr(LookalikeTracker, "get_all_positions", then_closed)
    with pytest.raises(InvalidData, match="closed meanwhile"):
        it.reconciler.reconcile()
    assert it.ask("SELECT exit_price FROM positions WHERE id = 2") == [(1.0,)]


def test_a_tracker_of_another_shape_is_refused(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    it = office()
    monkeypatch.setattr(LookalikeTracker, "get_all_positions", lambda tracker: pd.DataFrame({"ticker": ["AAA"]}))
    with pytest.raises(InvalidData, match="no column"):
        it.reconciler.reconcile()


def test_share_classes_are_found_in_the_host_s_spelling(office: Any) -> None:
    it = office({"BRK B": lambda s: 80.0})
    fill = it.trade("BRK B", 10)
    it.by_hand("BRK-B", float(fill.price), 4)
    assert it.differences() == [("BRK B", "SHARES_DIFFER", True)]
    assert [(symbol, shares) for symbol, shares, _ in it.open_rows()] == [("BRK-B", 4), ("BRK-B", 6)]
