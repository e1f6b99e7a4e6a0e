"""Fills and position messages tell the same thing; whichever comes first, it counts once."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.brokers.domain.account import Position
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.order import Fill, Side
from moondev_ibkr.brokers.errors import NotConnected
from moondev_ibkr.brokers.interactive_brokers import ib_account
from moondev_ibkr.brokers.interactive_brokers.ib_account import PositionBook

AAPL = Instrument("AAPL", con_id=265598)
D = Decimal


class Watch:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def book(watch):
    made = PositionBook(watch)
    made.on_position(held(100))
    made.settle()
    return made


def held(quantity):
    return Position("DU1", AAPL, D(quantity), D(10))


def fill(number, quantity, exec_id=None):
    side = Side.BUY if quantity > 0 else Side.SELL
    moment = datetime(2025, 1, 2, tzinfo=UTC)
    return Fill(exec_id or f"e{number}.01", AAPL, side, D(abs(quantity)), D(10), moment, "DU1")


def shown(book, told):
    rows = book.current([held(told)] if told else [], lambda account, _: Position(account, AAPL, D(0), D(0)))
    return sum(row.quantity for row in rows)


def test_a_fill_counts_at_once_and_not_again_when_the_broker_tells_it(book):
    book.on_fill(fill(1, 10))
    assert shown(book, 100) == 110
    book.on_position(held(110))
    assert shown(book, 110) == 110


def test_a_position_told_before_its_fill_counts_once(book):
    book.on_position(held(110))
    book.on_fill(fill(1, 10))
    assert shown(book, 110) == 110


def test_several_fills_are_told_by_one_message(book):
    for number in range(3):
        book.on_fill(fill(number, 10))
    book.on_position(held(120))
    assert shown(book, 120) == 130
    book.on_position(held(130))
    assert shown(book, 130) == 130


def test_a_repeat_or_a_correction_adds_nothing(book):
    book.on_fill(fill(1, 10, "x.01"))
    book.on_fill(fill(1, 10, "x.01"))
    book.on_fill(fill(1, 10, "x.02"))
    assert shown(book, 100) == 110


def test_a_contract_that_the_broker_has_not_told_yet_is_shown(book):
    fresh = PositionBook(Watch())
    fresh.settle()
    fresh.on_fill(fill(1, 5))
    assert shown(fresh, 0) == 5


def test_a_position_closed_by_a_pending_fill_is_gone(book):
    book.on_fill(fill(1, -100))
    assert book.current([held(100)], lambda *_: None) == []


def test_the_brokers_word_wins_in_the_end(book, watch):
    book.on_fill(fill(1, 10))
    watch.now = 11
    assert shown(book, 100) == 100


def test_positions_of_the_first_list_are_no_fills_to_come():
    book = PositionBook(Watch())
    book.on_position(held(50))
    book.settle()
    book.on_fill(fill(1, 50))
    assert shown(book, 50) == 100


def test_a_lost_link_forgets_what_was_pending(book):
    book.on_fill(fill(1, 10))
    book.forget()
    book.on_position(held(110))
    book.settle()
    assert shown(book, 110) == 110


def test_another_clients_sale_after_our_purchase_is_no_fill_to_come(book):
    book.on_fill(fill(1, 10))
    book.on_position(held(110))
    book.on_position(held(100))
    assert shown(book, 100) == 100
    assert book.in_doubt("DU1", 265598)


def test_another_clients_purchase_is_not_taken_off_with_our_sale(book):
    book.on_position(held(110))
    book.on_fill(fill(1, -10))
    book.on_position(held(100))
    assert shown(book, 100) == 100
    assert book.in_doubt("DU1", 265598)


def test_a_position_ahead_of_its_fill_is_in_doubt_until_that_comes(book):
    book.on_position(held(110))
    assert book.in_doubt("DU1", 265598)
    book.on_fill(fill(1, 10))
    assert not book.in_doubt("DU1", 265598)


def test_a_fill_that_the_broker_does_not_count_is_in_doubt_until_it_speaks(book, watch):
    book.on_fill(fill(1, 10))
    assert not book.in_doubt("DU1", 265598)
    watch.now = 2.1
    assert book.in_doubt("DU1", 265598)
    watch.now = 11
    assert shown(book, 100) == 100
    assert book.in_doubt("DU1", 265598)
    book.on_position(held(100))
    assert not book.in_doubt("DU1", 265598)


async def test_a_position_in_doubt_is_asked_for_once_and_holds_all_fills(book):
    asked = []

    async def ask():
        asked.append(1)
        return [held(130)]

    await book.refresh("DU1", 265598, ask)
    assert asked == []
    book.on_fill(fill(1, -10))
    book.on_position(held(130))
    await book.refresh("DU1", 265598, ask)
    assert (asked, shown(book, 130), book.in_doubt("DU1", 265598)) == ([1], 130, False)
    book.on_fill(fill(2, -30))
    assert shown(book, 130) == 100


async def test_a_fill_during_the_question_has_it_asked_again(book):
    answers = [130, 125]

    async def ask():
        if len(answers) == 2:
            book.on_fill(fill(2, -5))
        return [held(answers.pop(0))]

    book.on_position(held(130))
    await book.refresh("DU1", 265598, ask)
    assert answers == []
    assert book.pending("DU1", 265598) == 0


async def test_a_position_that_is_not_in_the_answer_is_gone(book):
    book.on_position(held(130))

    async def ask():
        return []

    await book.refresh("DU1", 265598, ask)
    book.on_fill(fill(1, 7))
    assert shown(book, 0) == 7


@pytest.mark.parametrize("silent", [True, False])
async def test_without_an_answer_the_position_stays_in_doubt(book, monkeypatch, silent):
    monkeypatch.setattr(ib_account, "REFRESH_DEADLINE", 0.01)

    async def ask():
        if not silent:
            raise NotConnected("positions", "the link is down", "wait")
        await asyncio.Event().wait()

    book.on_position(held(130))
    await book.refresh("DU1", 265598, ask)
    assert book.in_doubt("DU1", 265598)
    assert shown(book, 130) == 130


@given(st.lists(st.integers(-50, 50).filter(bool), min_size=1, max_size=8), st.data())
def test_any_interleaving_ends_at_the_truth(sizes, data):
    book = PositionBook(Watch())
    book.on_position(held(1000))
    book.settle()
    totals = [1000 + sum(sizes[: count + 1]) for count in range(len(sizes))]
    fills, positions = [("fill", n) for n in range(len(sizes))], [("position", n) for n in range(len(sizes))]
    # each message may come before or after its fill, but both kinds keep their own order
    while fills or positions:
        kind = data.draw(st.sampled_from([kind for kind, rest in (("f", fills), ("p", positions)) if rest]))
        _, number = (fills if kind == "f" else positions).pop(0)
        if kind == "f":
            book.on_fill(fill(number, sizes[number]))
        else:
            book.on_position(held(totals[number]))
    assert book.pending("DU1", 265598) == 0
