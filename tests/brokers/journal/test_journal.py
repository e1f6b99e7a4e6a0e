"""The journal: durable intents, the hash chain, shared by processes, honest when the disk is not."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.instrument import Instrument, SecType
from moondev_ibkr.brokers.domain.order import TYPE_RULES, Fill, NewOrder, OrderType, PriceField, Side, TimeInForce
from moondev_ibkr.brokers.domain.order_states import OrderState
from moondev_ibkr.brokers.domain.reports import CommissionReport
from moondev_ibkr.brokers.errors import (
    ConfigurationError,
    DoorFenced,
    JournalError,
    JournalLocked,
    TradingHalted,
)
from moondev_ibkr.brokers.journal import (
    DoorLease,
    ForeignPosition,
    IntentRow,
    Journal,
    Observed,
    OrderRow,
    instrument_key,
    same_request,
)
from moondev_ibkr.brokers.journal.codec import fill_data, fill_from, order_data, order_from, order_text, to_json
from moondev_ibkr.brokers.journal.schema import MIGRATIONS

AAPL = Instrument("AAPL", con_id=265598)
ACCOUNT = "DU000001"
NOW = datetime(2024, 3, 4, 15, 0, tzinfo=UTC)


def order(key: str = "k1", quantity: int = 10, **fields) -> NewOrder:
    return NewOrder(AAPL, Side.BUY, Decimal(quantity), OrderType.LIMIT, limit_price=Decimal(100), key=key, **fields)


def record(journal: Journal, *orders: NewOrder, client_id: int = 7, floor: int = 1, **more):
    rows = [IntentRow(one, ACCOUNT, orders[0].key, leg) for leg, one in enumerate(orders)]
    return journal.record_intents(rows, client_id=client_id, floor=floor, lease=journal.door(), **more)


def fill(exec_id: str = "e1.01", quantity: int = 10, key: str | None = "k1", side: Side = Side.BUY) -> Fill:
    return Fill(exec_id, AAPL, side, Decimal(quantity), Decimal(100), NOW, ACCOUNT, order_key=key)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "deep" / "journal.db", now=lambda: NOW)
    journal.claim_door("tws")
    yield journal
    journal.close()


# Intents


def test_an_intent_comes_back_as_it_was(journal):
    assert record(journal, order()) == (1,)
    row = journal.load_order("k1")
    assert (row.request, row.intent, row.state) == (order(), order(), OrderState.INTENT)
    assert (row.order_id, row.client_id, row.account, row.created_at) == (1, 7, ACCOUNT, NOW)


def test_another_process_finds_an_intent_of_which_nothing_else_is_written_yet(journal):
    record(journal, order("a"))
    last = journal.database.query("SELECT max(seq) FROM events")[0][0]
    record(journal, order("b"), order("b-1"))
    other = Journal(journal.path, now=lambda: NOW)
    assert [row.intent.key for row in other.load_orders()] == ["a", "b", "b-1"]
    fresh = other.load_orders(last)
    assert [(row.intent.key, row.state, row.leg) for row in fresh] == [
        ("b", OrderState.INTENT, 0),
        ("b-1", OrderState.INTENT, 1),
    ]
    working = OrderRow(order("b"), OrderState.WORKING, order_id=2, client_id=7, created_at=NOW, updated_at=NOW)
    journal.write(Observed(orders={"b": working}))
    assert {row.intent.key: row.state for row in other.load_orders(last)} == {
        "b": OrderState.WORKING,
        "b-1": OrderState.INTENT,
    }
    other.close()


def test_a_change_of_an_intent_of_which_nothing_else_is_written_yet_is_kept(journal):
    record(journal, order("a"))
    journal.record_change("a", order("a", quantity=20), lease=journal.door())
    row = journal.load_order("a")
    assert (row.intent.quantity, row.pending.quantity, row.state) == (10, 20, OrderState.INTENT)
    assert journal.load_orders(row.changed - 1)[-1].pending == order("a", quantity=20)


def test_q1_full_synchronous_is_the_default_and_in_force_at_an_intents_commit(journal, monkeypatch):
    levels = []
    commit = journal.database._commit

    def look():
        levels.append(journal.database._current_level)
        commit()

    journal.write(Observed(notes=[("NOTE", "", "{}")]))
    monkeypatch.setattr(journal.database, "_commit", look)
    record(journal, order())
    journal.write(Observed(notes=[("NOTE", "", "{}")]))
    journal.write(Observed(fills=[fill()]))
    assert levels == [2, 1, 2]
    assert journal.database.synchronous == 2


def test_normal_is_selectable_and_anything_else_is_refused(tmp_path):
    journal = Journal(tmp_path / "j.db", synchronous="NORMAL")
    assert journal.database.synchronous == 1
    journal.close()
    with pytest.raises(ConfigurationError, match="OFF"):
        Journal(tmp_path / "k.db", synchronous="OFF")


def test_several_legs_are_recorded_all_or_none(journal):
    assert record(journal, order("b"), order("b-1"), order("b-2")) == (1, 2, 3)
    assert record(journal, order("c"), order("b-1")) is None
    assert journal.load_order("c") is None
    assert record(journal, order("d")) == (4,)


def test_c11_order_ids_rise_per_client_and_never_go_back(journal):
    assert record(journal, order("a"), floor=100) == (100,)
    assert record(journal, order("b"), floor=50) == (101,)
    assert record(journal, order("c"), floor=200) == (200,)
    assert record(journal, order("d"), client_id=8) == (1,)
    assert journal.reserve_order_ids(7, 1, 5) == 201
    assert record(journal, order("e"), floor=1) == (206,)


def test_two_journals_on_one_file_never_give_out_an_id_twice(tmp_path):
    journals = [Journal(tmp_path / "j.db", synchronous="NORMAL", busy_timeout=10) for _ in range(4)]
    journals[0].claim_door("tws")
    given_out: list[int] = []

    def work(number: int) -> None:
        for index in range(25):
            given_out.extend(record(journals[number], order(f"k{number}-{index}")))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given_out) == list(range(1, 101))
    assert journals[0].verify() is None
    for journal in journals:
        journal.close()


def test_q18_an_intent_under_an_old_epoch_is_refused(journal):
    lease = journal.door()
    assert lease == DoorLease("tws", 1)
    assert journal.claim_door("tws") == lease
    with pytest.raises(DoorFenced):
        journal.claim_door("portal")
    assert journal.switch_door("portal") == DoorLease("portal", 2)
    with pytest.raises(DoorFenced, match="portal"):
        journal.record_intents([IntentRow(order(), ACCOUNT, "k1")], client_id=7, floor=1, lease=lease)
    with pytest.raises(DoorFenced):
        journal.record_change("k1", order(), lease=lease)
    journal.switch_door("tws")
    with pytest.raises(DoorFenced):
        journal.record_intents([IntentRow(order(), ACCOUNT, "k1")], client_id=7, floor=1, lease=lease)
    assert journal.load_orders() == []


def test_q12_the_kill_switch_is_checked_in_the_intents_own_transaction(journal, tmp_path):
    other = Journal(journal.path)
    other.halt("panic")
    with pytest.raises(TradingHalted, match="panic"):
        record(journal, order())
    assert record(journal, order(), allow_halted=True) == (1,)
    assert journal.halted == "panic"
    other.resume()
    assert journal.halted is None
    assert record(journal, order("k2")) == (2,)
    other.close()


def test_a_change_is_pending_until_the_order_is_written_without_it(journal):
    record(journal, order())
    changed = order(quantity=20)
    journal.record_change("k1", changed, lease=journal.door())
    assert journal.load_order("k1").pending == changed
    journal.write(Observed(orders={"k1": OrderRow(changed, OrderState.WORKING, 1, 7, (5,))}))
    row = journal.load_order("k1")
    assert (row.intent, row.request, row.pending, row.perm_ids) == (changed, order(), None, (5,))


def test_a_late_row_never_revives_an_ended_order(journal):
    record(journal, order())
    journal.write(Observed(orders={"k1": OrderRow(order(), OrderState.FILLED, 1, 7)}))
    journal.write(Observed(orders={"k1": OrderRow(order(), OrderState.WORKING, 1, 7)}))
    assert journal.load_order("k1").state is OrderState.FILLED


def test_sent_times_are_intents_and_changes(tmp_path):
    moments = iter(NOW.replace(minute=minute) for minute in range(60))
    journal = Journal(tmp_path / "j.db", now=lambda: next(moments))
    journal.claim_door("tws")
    record(journal, order())
    journal.record_change("k1", order(quantity=20), lease=journal.door())
    times = journal.sent_times(NOW)
    assert len(times) == 2
    assert journal.sent_times(times[1]) == times[1:]
    journal.close()


# Fills, holdings, commissions


def test_q5_an_execution_is_booked_once_and_corrections_replace(journal):
    record(journal, order())
    journal.write(Observed(fills=[fill("e1.01", 10), fill("e1.01", 10)]))
    journal.write(Observed(fills=[fill("e1.01", 10)]))
    assert journal.holding(ACCOUNT, AAPL) == 10
    journal.write(Observed(fills=[fill("e1.02", 8)]))
    journal.write(Observed(fills=[fill("e1.01", 10)]))
    assert journal.holding(ACCOUNT, AAPL) == 8
    assert [(one.exec_id, one.quantity) for one in journal.load_fills()] == [("e1.02", 8)]
    assert journal.verify() is None


def test_foreign_executions_are_booked_and_never_owned(journal):
    journal.write(Observed(fills=[fill(key=None)]))
    assert len(journal.load_fills()) == 1
    assert journal.load_fills("k1") == []
    assert journal.holding(ACCOUNT, AAPL) == 0


def test_a_position_may_be_short_and_come_back(journal):
    journal.write(Observed(fills=[fill("e1.01", 10, side=Side.SELL)]))
    assert journal.holding(ACCOUNT, AAPL) == -10
    journal.write(Observed(fills=[fill("e2.01", 10)]))
    assert journal.holdings() == {}


def test_commissions_join_their_execution_in_either_order(journal):
    journal.write(Observed(commissions=[CommissionReport("e1.01", Decimal("1.05"), "USD", Decimal(-3))]))
    journal.write(Observed(fills=[fill()]))
    one = journal.load_fills()[0]
    assert (one.commission, one.commission_currency, one.realized_pnl) == (Decimal("1.05"), "USD", Decimal(-3))
    journal.write(Observed(commissions=[CommissionReport("e1.02", Decimal(2), "USD")]))
    journal.write(Observed(commissions=[CommissionReport("e1.01", Decimal(9), "USD")]))
    assert journal.load_fills()[0].commission == 2


def test_a_holding_counts_for_the_contract_before_and_after_qualification(journal):
    journal.write(Observed(fills=[fill()]))
    assert journal.holding(ACCOUNT, Instrument("AAPL")) == 10
    assert journal.holding("DU000002", AAPL) == 0


def test_adoption_moves_a_foreign_position_over(journal):
    journal.set_foreign_positions([ForeignPosition(ACCOUNT, AAPL, Decimal(50))])
    journal.adopt(ForeignPosition(ACCOUNT, AAPL, Decimal(50)), [], "tws")
    assert journal.holding(ACCOUNT, AAPL) == 50
    assert journal.foreign_positions()[ACCOUNT, instrument_key(AAPL)].quantity == 0
    assert journal.verify() is None


# Small things kept


def test_blocks_last_until_resume(journal):
    journal.block(AAPL, "echo differs")
    assert journal.blocks() == {instrument_key(AAPL): "echo differs"}
    journal.resume()
    assert journal.blocks() == {}


def test_the_first_word_on_how_a_day_began_stands(journal):
    day = date(2024, 3, 4)
    assert journal.day_start(ACCOUNT, day) is None
    journal.set_day_start(ACCOUNT, day, Decimal(100_000))
    start = journal.set_day_start(ACCOUNT, day, Decimal(90_000))
    assert (start.net_liquidation, start.transfers, start.currency) == (100_000, 0, "USD")
    journal.add_transfer(ACCOUNT, day, Decimal(500))
    journal.add_transfer(ACCOUNT, day, Decimal(-200))
    assert journal.day_start(ACCOUNT, day).transfers == 300
    with pytest.raises(ConfigurationError):
        journal.add_transfer("DU000002", day, Decimal(1))


def test_c07_client_ids_are_leased_one_per_process(journal):
    other = Journal(journal.path)
    first, second = journal.lease_client_id(100), other.lease_client_id(100)
    assert (first.client_id, second.client_id) == (100, 101)
    assert journal.is_client_alive(101)
    assert other.is_client_alive(100)
    assert not journal.is_client_alive(102)
    with pytest.raises(JournalLocked, match="100 to 101"):
        journal.lease_client_id(100, count=2)
    first.release()
    first.release()
    assert other.lease_client_id(100).client_id == 100
    other.close()


_HOLDER = """
import sys
from moondev_ibkr.brokers.journal import Journal
lease = Journal(sys.argv[1]).lease_client_id(100)
print(lease.client_id, flush=True)
sys.stdin.read()
"""


def test_c07_a_killed_process_gives_its_client_id_back(tmp_path):
    journal = Journal(tmp_path / "j.db")
    command = [sys.executable, "-c", _HOLDER, journal.path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline().strip() == "100"
        assert journal.is_client_alive(100)
        child.kill()
        child.wait(30)
    assert not journal.is_client_alive(100)
    lease = journal.lease_client_id(100)
    assert lease.client_id == 100
    lease.release()
    journal.close()


def test_the_in_memory_journal_leases_too():
    journal = Journal()
    assert [journal.lease_client_id(5).client_id for _ in range(2)] == [5, 6]
    assert journal.is_client_alive(5)
    journal.database.checkpoint()
    journal.close()


# The chain


TAMPERINGS = {
    "an event's body": "UPDATE events SET body = replace(body, '10', '11') WHERE kind = 'INTENT'",
    "an event's time": "UPDATE events SET time = '2020-01-01' WHERE seq = 2",
    "a missing event": "DELETE FROM events WHERE seq = 3",
    "a cut end": "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)",
    "an intent": "UPDATE intents SET request = replace(request, '\"10\"', '\"99\"')",
    "a forgotten intent": "DELETE FROM intents WHERE key = 'k1'",
    "an added intent": "INSERT INTO intents SELECT 'new', root, leg, parent_key, account, client_id, 0, door, epoch,"
    " request, created_at FROM intents",
    "an execution": "UPDATE executions SET fill = replace(fill, '\"10\"', '\"99\"')",
    "a forgotten execution": "DELETE FROM executions",
    "a holding": "UPDATE holdings SET quantity = '1000'",
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_q21_verify_tells_the_first_break(journal, tampering):
    record(journal, order())
    journal.write(Observed(fills=[fill()], orders={"k1": OrderRow(order(), OrderState.FILLED, 1, 7)}))
    journal.halt("later")
    assert journal.verify() is None
    with sqlite3.connect(journal.path) as connection:
        connection.execute(TAMPERINGS[tampering])
    connection.close()
    found = journal.verify()
    assert found is not None
    assert 1 <= found.seq <= journal.event_count() + 1
    assert found.why


def test_q21_a_changed_event_is_named_by_its_number(journal):
    record(journal, order("a"))
    record(journal, order("b"))
    with sqlite3.connect(journal.path) as connection:
        connection.execute("UPDATE events SET body = '{}' WHERE key = 'b'")
    connection.close()
    found = journal.verify()
    assert (found.seq, "changed" in found.why) == (3, True)


# A file that fails


def test_a_folder_in_the_way_is_said_so(tmp_path):
    (tmp_path / "j.db").mkdir()
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path / "j.db")


def test_a_file_in_the_folders_place_is_said_so(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(JournalError, match="folder"):
        Journal(tmp_path / "file" / "j.db")


def test_a_file_that_is_no_journal_is_said_so(tmp_path):
    (tmp_path / "j.db").write_bytes(b"this is a letter, not a database" * 100)
    with pytest.raises(JournalError, match="not a journal"):
        Journal(tmp_path / "j.db")


def test_a_journal_of_a_later_version_is_left_alone(tmp_path):
    journal = Journal(tmp_path / "j.db")
    with journal.database.transaction("test") as change:
        change.execute("INSERT INTO migrations VALUES ('m999_future', 'now')")
    journal.close()
    with pytest.raises(JournalError, match="later version"):
        Journal(tmp_path / "j.db")


def test_migrations_are_applied_once(tmp_path):
    for _ in range(2):
        journal = Journal(tmp_path / "j.db")
        names = [row[0] for row in journal.database.query("SELECT name FROM migrations ORDER BY name")]
        journal.close()
    assert names == sorted(set(names))
    assert names == [name for name, _ in MIGRATIONS]


def test_another_processs_lock_is_said_so(journal):
    impatient = Journal(journal.path, busy_timeout=0.01)
    holder = sqlite3.connect(journal.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalLocked, match="write lock"):
        record(impatient, order())
    holder.execute("ROLLBACK")
    holder.close()
    assert record(impatient, order()) == (1,)
    impatient.close()


def test_a_full_disk_is_said_so_and_leaves_nothing_behind(journal):
    pages = journal.database.query("PRAGMA page_count")[0][0]
    journal.database.query(f"PRAGMA max_page_count = {pages}")
    orders = (order(f"k{number}") for number in range(1000))
    with pytest.raises(JournalError, match="disk is full") as caught:
        [record(journal, one) for one in orders]
    assert "free some space" in str(caught.value)
    count = len(journal.load_orders())
    assert journal.verify() is None
    journal.database.query("PRAGMA max_page_count = 100000")
    record(journal, order("again"))
    assert len(journal.load_orders()) == count + 1


def test_a_read_only_journal_is_said_so(journal):
    journal.database.query("PRAGMA query_only = 1")
    with pytest.raises(JournalError, match="read-only"):
        record(journal, order())


def test_a_closed_journal_is_said_so(journal):
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        record(journal, order())
    with pytest.raises(JournalError):
        journal.load_orders()


def test_a_damaged_file_is_said_so(tmp_path):
    journal = Journal(tmp_path / "j.db")
    journal.claim_door("tws")
    for number in range(200):
        record(journal, order(f"k{number}"))
    journal.database.checkpoint()
    journal.close()
    path = tmp_path / "j.db"
    data = bytearray(path.read_bytes())
    data[4096 * 3 :] = b"\xff" * (len(data) - 4096 * 3)
    path.write_bytes(data)
    with pytest.raises(JournalError):
        read_all(path)


def read_all(path):
    with closing(Journal(path)) as damaged:
        damaged.load_orders()
        damaged.verify()


def test_checkpoints_keep_the_log_short(journal):
    for number in range(50):
        record(journal, order(f"k{number}"))
    journal.database.checkpoint()
    assert journal.database.commits_since_checkpoint == 0
    assert journal.verify() is None


# The codec


decimals = st.decimals(min_value="0.0001", max_value="1000000", allow_nan=False, allow_infinity=False, places=4)


@st.composite
def orders(draw) -> NewOrder:
    kind = draw(st.sampled_from(OrderType))
    rule = TYPE_RULES[kind]
    chosen = set(rule.required) | {name for name in rule.optional if draw(st.booleans())}
    if rule.one_of:
        chosen.add(draw(st.sampled_from(sorted(rule.one_of))))
    prices = {PriceField(name).value: draw(decimals) for name in chosen}
    tif = draw(st.sampled_from(TimeInForce))
    return NewOrder(
        Instrument(draw(st.sampled_from(["AAPL", "BRK B", "IBM"])), con_id=draw(st.none() | st.integers(1, 9999))),
        draw(st.sampled_from(Side)),
        draw(decimals),
        kind,
        tif=tif,
        good_till=NOW if tif is TimeInForce.GTD else None,
        outside_rth=draw(st.booleans()),
        account=draw(st.none() | st.just(ACCOUNT)),
        oca_group=draw(st.none() | st.just("oca-1")),
        reduce_only=draw(st.booleans()),
        reason=draw(st.text(max_size=20)),
        key=draw(st.from_regex(r"[A-Za-z0-9-]{1,32}", fullmatch=True)),
        **prices,
    )


@given(orders())
def test_orders_survive_the_codec(one):
    assert order_from(to_json(order_data(one))) == one
    assert order_text(one) == to_json(order_data(one))


@given(orders(), orders())
def test_q2_requests_are_the_same_only_when_every_field_is(one, other):
    assert same_request(one, one, ACCOUNT)
    assert same_request(one, replace(one, reason="else", account=ACCOUNT), ACCOUNT)
    assert same_request(replace(one, instrument=Instrument(one.instrument.symbol)), one, ACCOUNT)
    fields = ("side", "quantity", "type", "tif", "outside_rth", "oca_group", "reduce_only", "key", "limit_price")
    if any(getattr(one, name) != getattr(other, name) for name in fields):
        assert not same_request(one, other, ACCOUNT)


def test_options_and_fills_survive_the_codec():
    option = Instrument(
        "AAPL",
        SecType.OPTION,
        expiry=date(2024, 6, 21),
        strike=Decimal("180.50"),
        right="C",
        multiplier=Decimal(100),
        primary_exchange="CBOE",
    )
    one = replace(
        fill(), instrument=option, cumulative_quantity=Decimal(10), liquidation=True, recovered=True, exchange="CBOE"
    )
    assert fill_from(to_json(fill_data(one))) == one
    assert instrument_key(option) != instrument_key(AAPL)
