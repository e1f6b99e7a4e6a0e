"""The books alone: average cost, through zero, settlement, days, corrections."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.simulation.ledger import Booking, Ledger
from moondev_ibkr.brokers.simulation.models import AccountKind, AccountSettings, ExchangeSettings

from .exchange_fakes import AAPL, ACCOUNT, FUTURES, MES, START, STOCKS, D

TODAY = date(2026, 4, 15)
INSTRUMENTS = {AAPL: STOCKS[AAPL].instrument, MES: FUTURES[MES].instrument}


class Books:
    """A ledger with prices set by hand; settlement is the next calendar day."""

    def __init__(self, kind: AccountKind = AccountKind.MARGIN) -> None:
        self.marks: dict[int, Decimal] = {}
        settings = ExchangeSettings(accounts=(AccountSettings(ACCOUNT, D(100_000), kind),))
        self.ledger = Ledger(settings, self.marks.get, lambda day: day + timedelta(days=1))
        self.count = 0

    def fill(self, quantity, price, commission=1, con_id=AAPL):
        self.count += 1
        self.marks[con_id] = D(price)
        booking = Booking(f"id.{self.count:02d}", D(quantity), D(price), D(commission))
        position, realized = self.ledger.book(ACCOUNT, INSTRUMENTS[con_id], con_id, booking, TODAY)
        return position, realized

    @property
    def summary(self):
        return self.ledger.summary(ACCOUNT, START)


def test_average_cost_carries_the_commissions_as_ibs_does():
    books = Books()
    books.fill(100, 10)
    position, realized = books.fill(100, 12)
    assert (position.quantity, position.average_cost, realized) == (200, D("11.01"), 0)


def test_a_short_position_earns_when_the_price_falls():
    books = Books()
    position, _ = books.fill(-100, 50)
    assert position.average_cost == D("49.99")
    books.marks[AAPL] = D(40)
    assert books.ledger.position(ACCOUNT, AAPL).unrealized_pnl == D(999)
    position, realized = books.fill(100, 40)
    assert (position.quantity, realized) == (0, D(998))
    assert books.summary.total_cash == D(100_998)


def test_through_zero_the_commission_is_shared_between_closing_and_opening():
    books = Books()
    books.fill(100, 10)
    position, realized = books.fill(-150, 12, commission=3)
    assert realized == 200 - 1 - 2
    assert (position.quantity, position.average_cost) == (-50, D("11.98"))


def test_a_future_moves_cash_by_profit_and_commission_alone():
    books = Books()
    position, _ = books.fill(1, "7039.50", "0.62", MES)
    assert position.average_cost == D("35198.12")
    assert books.summary.total_cash == D("99999.38")
    assert books.summary.gross_position_value == 0
    position, realized = books.fill(-1, "7039.25", "0.62", MES)
    assert realized == D("-2.49")
    assert books.summary.total_cash == D("99997.51")


def test_sale_proceeds_settle_the_next_day():
    books = Books()
    books.fill(100, 10)
    books.fill(-100, 11)
    assert books.summary.settled_cash == D(100_000) - 1001
    books.ledger.start_day(TODAY + timedelta(days=1))
    assert books.summary.settled_cash == books.summary.total_cash == D(100_098)


def test_daily_profit_starts_anew_and_leaves_transfers_out():
    books = Books()
    books.fill(100, 10)
    books.marks[AAPL] = D(12)
    assert books.ledger.pnl(ACCOUNT, START).daily == D(199)
    books.ledger.start_day(TODAY + timedelta(days=1))
    assert books.ledger.pnl(ACCOUNT, START).daily == 0
    books.ledger.transfer(ACCOUNT, D(5_000))
    books.marks[AAPL] = D(13)
    books.fill(-50, 13)
    pnl = books.ledger.pnl(ACCOUNT, START)
    assert pnl.daily == 99
    # Half of the opening commission was paid for what was sold.
    assert pnl.realized == D("148.5")
    assert books.ledger.pnl_single(ACCOUNT, AAPL, START).daily == 99


def test_a_position_never_held_has_no_figures():
    pnl = Books().ledger.pnl_single(ACCOUNT, AAPL, START)
    assert (pnl.daily, pnl.unrealized, pnl.quantity) == (None, None, None)


def test_reg_t_margin_long_and_short():
    books = Books()
    books.fill(100, 100, 0)
    summary = books.summary
    assert (summary.initial_margin, summary.maintenance_margin) == (5_000, 2_500)
    assert (summary.available_funds, summary.excess_liquidity, summary.buying_power) == (95_000, 97_500, 190_000)
    books.fill(-300, 100, 0)
    summary = books.summary
    assert (summary.initial_margin, summary.maintenance_margin) == (10_000, 6_000)
    assert summary.net_liquidation == 100_000
    assert summary.gross_position_value == 20_000


def test_a_cash_account_has_its_settled_cash_and_no_leverage():
    books = Books(AccountKind.CASH)
    books.fill(100, 100, 0)
    books.fill(-50, 100, 0)
    summary = books.summary
    assert summary.total_cash == 95_000
    assert summary.buying_power == summary.available_funds == 90_000


def test_a_corrected_execution_rebuilds_everything_after_it():
    books = Books()
    books.fill(100, 10)
    books.fill(-40, 12)
    position, _ = books.ledger.correct(ACCOUNT, AAPL, Booking("id.01", D(100), D(11), D(1)), TODAY)
    other = Books()
    other.fill(100, 11)
    expected, _ = other.fill(-40, 12)
    assert position == expected
    assert books.summary == other.summary


def test_a_busted_execution_never_was():
    books = Books()
    books.fill(100, 10)
    books.fill(100, 12)
    position, _ = books.ledger.correct(ACCOUNT, AAPL, Booking("id.02", D(0), D(12), D(0)), TODAY)
    assert (position.quantity, position.average_cost) == (100, D("10.01"))
    assert books.summary.total_cash == D(100_000) - 1001


def test_yesterdays_executions_cannot_be_corrected():
    books = Books()
    books.fill(100, 10)
    books.ledger.start_day(TODAY + timedelta(days=1))
    with pytest.raises(KeyError):
        books.ledger.correct(ACCOUNT, AAPL, Booking("id.01", D(100), D(11), D(1)), TODAY)


FILLS = st.lists(
    st.tuples(
        st.sampled_from([AAPL, MES]),
        st.integers(-500, 500).filter(bool),
        st.decimals("0.01", "9000", places=2),
        st.decimals("0", "20", places=4),
    ),
    max_size=60,
)


@given(FILLS, st.decimals("0.01", "9000", places=2), st.integers(0, 59))
def test_equity_is_the_start_plus_profit_less_commissions_to_the_last_digit(fills, mark, corrected):
    """Against sums that know nothing of average cost: cash flow at trade prices, open quantity at the mark."""
    books = Books()
    rows = []
    for con_id, quantity, price, commission in fills:
        books.fill(quantity, price, commission, con_id)
        rows.append([con_id, Decimal(quantity), price, commission])
    if corrected < len(rows):
        row = rows[corrected]
        row[2] = mark
        booking = Booking(f"id.{corrected + 1:02d}", row[1], mark, row[3])
        books.ledger.correct(ACCOUNT, row[0], booking, TODAY)
    for con_id in INSTRUMENTS:
        books.marks[con_id] = mark
    profit = sum((-q * p * INSTRUMENTS[c].multiplier for c, q, p, _ in rows), Decimal(0))
    for con_id, instrument in INSTRUMENTS.items():
        profit += sum((q for c, q, _, _ in rows if c == con_id), Decimal(0)) * mark * instrument.multiplier
    commissions = sum((fee for *_, fee in rows), Decimal(0))
    summary = books.summary
    assert summary.net_liquidation == 100_000 + profit - commissions
    assert summary.realized_pnl + summary.unrealized_pnl == profit - commissions
    assert books.ledger.account(ACCOUNT).commissions == commissions
    assert books.ledger.pnl(ACCOUNT, START).daily == profit - commissions
