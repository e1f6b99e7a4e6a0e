"""What a broker can do to its clients: refuse, hold, delay, drop, repeat, correct, bust, liquidate."""

from __future__ import annotations

from datetime import timedelta

import pytest
from moondev_ibkr.brokers.errors import NoData
from moondev_ibkr.brokers.simulation.events import AccountChanged, CommissionCharged, Executed, StatusChanged

from .exchange_fakes import AAPL, ACCOUNT, MSFT, START, D, Pit, short, step

SECOND = timedelta(seconds=1)


@pytest.fixture
def pit() -> Pit:
    return Pit(step(START, 100, "100.02", 100), step(START, 400, "400.05", 400, con_id=MSFT))


def test_the_next_order_is_refused_with_any_code(pit):
    pit.exchange.faults.reject_next(10349, "Order TIF was set to DAY", where=lambda ticket: ticket.con_id == MSFT)
    pit.buy(1)
    pit.buy(1, con_id=MSFT)
    pit.buy(1, con_id=MSFT)
    assert pit.codes == [10349]
    assert pit.position(MSFT) == 1


def test_the_next_change_is_refused_and_the_order_lives(pit):
    pit.buy(1, 90)
    pit.exchange.faults.reject_next(329, "Order modify failed")
    pit.buy(1, 91, order_id=1)
    assert pit.codes == [329]
    assert pit.exchange.order(1, 1).ticket.limit_price == 90


def test_a_swallowed_order_never_was(pit):
    pit.exchange.faults.swallow_next()
    pit.buy(1)
    assert pit.events == []
    assert pit.exchange.order(1, 1) is None
    pit.buy(1)
    assert pit.status(2) == "Filled"


def test_a_stale_status_can_be_told(pit):
    pit.buy(1)
    stale = next(row for row in pit.events if isinstance(row, StatusChanged))
    pit.exchange.inject(stale)
    assert pit.tape[-1] == "1 PreSubmitted 0/1"
    assert pit.status(1) == "Filled"


def test_an_acknowledgement_is_held_while_the_order_works(pit):
    pit.exchange.faults.hold(StatusChanged)
    pit.buy(1)
    assert pit.tape == ["1 BUY 1@100.02", "1 commission 1"]
    assert pit.position() == 1
    assert pit.exchange.faults.release() == 2
    assert pit.tape[2:] == ["1 PreSubmitted 0/1", "1 Filled 1/0"]
    pit.sell(1)
    assert pit.tape[-1] == "2 commission 1"


def test_held_events_can_be_lost(pit):
    pit.exchange.faults.hold()
    pit.buy(1)
    assert pit.exchange.faults.discard_held() > 4
    assert pit.events == []
    assert pit.exchange.order(1, 1).status.value == "Filled"


def test_events_are_dropped_repeated_and_delayed(pit):
    faults = pit.exchange.faults
    faults.drop_next(StatusChanged)
    faults.duplicate_next(Executed)
    faults.delay_next(CommissionCharged, 5 * SECOND)
    pit.buy(1)
    assert pit.tape == ["1 BUY 1@100.02", "1 BUY 1@100.02", "1 Filled 1/0"]
    pit.run(START + 5 * SECOND)
    assert pit.tape[3:] == ["1 commission 1"]
    pit.buy(1)
    assert pit.tape[4:] == ["2 PreSubmitted 0/1", "2 BUY 1@100.02", "2 Filled 1/0", "2 commission 1"]


def test_a_filter_of_ones_own_may_reorder(pit):
    kept = []

    def commission_first(event):
        if isinstance(event, Executed):
            kept.append(event)
            return []
        if isinstance(event, CommissionCharged):
            return [event, kept.pop()]
        return [event]

    pit.exchange.faults.filters.append(commission_first)
    pit.buy(1)
    assert pit.tape == ["1 PreSubmitted 0/1", "1 Filled 1/0", "1 commission 1", "1 BUY 1@100.02"]


def test_an_execution_is_corrected_under_the_next_revision(pit):
    pit.buy(10)
    wrong = pit.exchange.executions()[0]
    revised = pit.exchange.correct_execution(wrong.exec_id, price=D(99))
    assert revised == wrong.exec_id[:-2] + "02"
    told = [row for row in pit.events if isinstance(row, Executed)]
    assert [(row.corrected, row.execution.price) for row in told] == [(False, D("100.02")), (True, D(99))]
    assert [row.exec_id for row in pit.exchange.executions()] == [revised]
    assert pit.exchange.positions()[0].average_cost == D("99.1")
    assert pit.exchange.summary(ACCOUNT).total_cash == D(100_000) - 990 - 1
    assert pit.exchange.order(1, 1).average_price == 99
    again = pit.exchange.correct_execution(revised, quantity=D(8))
    assert again.endswith(".03")
    assert pit.position() == 8


def test_a_busted_execution_takes_the_shares_back(pit):
    pit.buy(10)
    pit.exchange.bust_execution(pit.exchange.executions()[0].exec_id)
    assert pit.position() == 0
    assert pit.exchange.summary(ACCOUNT).net_liquidation == 100_000
    assert [short(row) for row in pit.events if isinstance(row, Executed)][-1] == "1 BUY 0@100.02"


def test_only_todays_executions_can_be_corrected(pit):
    with pytest.raises(NoData, match="today has no such execution"):
        pit.exchange.bust_execution("0000e0d5.00000001.01.01")


def test_a_forced_closing_is_marked(pit):
    pit.buy(10)
    pit.exchange.liquidate(ACCOUNT, AAPL)
    last = pit.exchange.executions()[-1]
    assert (last.liquidation, last.quantity, last.price, last.client_id) == (True, 10, 100, 0)
    assert last.order_id < 0
    assert pit.position() == 0
    pit.exchange.liquidate(ACCOUNT, AAPL)
    assert len(pit.exchange.executions()) == 2


def test_a_deposit_is_no_profit(pit):
    pit.exchange.transfer(ACCOUNT, D(5_000))
    assert pit.exchange.summary(ACCOUNT).net_liquidation == 105_000
    assert pit.exchange.pnl(ACCOUNT).daily == 0
    assert [row.cash for row in pit.events if isinstance(row, AccountChanged)] == [105_000]
