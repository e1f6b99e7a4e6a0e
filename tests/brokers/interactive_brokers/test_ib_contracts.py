"""Contracts are asked for once, never guessed, and never believed to be missing while a data farm is down."""

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.domain.instrument import Instrument, SecType
from moondev_ibkr.brokers.errors import (
    AmbiguousInstrument,
    DeadlineExceeded,
    InvalidInstrument,
    RequestFailed,
    UnknownInstrument,
)
from moondev_ibkr.brokers.interactive_brokers.ib_contracts import (
    ContractBook,
    details_from_row,
    row_from_details,
)


async def test_a_symbol_is_asked_for_once_and_share_classes_have_one_spelling(book, transport):
    spellings = ["BRK.B", "brk-b", "BRK B", "BRK/B"]
    numbers = {(await book.details(spelling)).instrument.con_id for spelling in spellings}
    assert numbers == {72063691}
    assert transport.asked["details"] == 1


async def test_concurrent_questions_share_one_request(book, transport):
    transport.hold = asyncio.Event()
    asking = [asyncio.ensure_future(book.details("AAPL")) for _ in range(5)]
    await asyncio.sleep(0)
    transport.hold.set()
    answers = await asyncio.gather(*asking)
    assert {answer.instrument.con_id for answer in answers} == {265598}
    assert transport.asked["details"] == 1


async def test_a_caller_that_gives_up_does_not_take_the_answer_from_the_others(book, transport):
    transport.hold = asyncio.Event()
    first = asyncio.ensure_future(book.details("AAPL"))
    second = asyncio.ensure_future(book.details("AAPL"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    transport.hold.set()
    assert (await second).instrument.con_id == 265598


async def test_price_steps_come_from_the_rule_of_the_routed_exchange(book):
    details = await book.details("AAPL")
    assert details.increment_at(Decimal("0.5")) == Decimal("0.0001")
    assert details.increment_at(Decimal(150)) == Decimal("0.01")


async def test_a_missing_rule_leaves_the_minimum_tick(book, transport):
    transport.rules[26] = DeadlineExceeded("rule 26", timedelta(seconds=5))
    assert (await book.details("AAPL")).increment_at(Decimal(150)) == Decimal("0.01")


async def test_several_contracts_are_refused_with_the_candidates(book, transport, make_listing):
    transport.contracts["AAPL"] = [make_listing("AAPL"), make_listing("AAPL", con_id=9, primary_exchange="MEXI")]
    with pytest.raises(AmbiguousInstrument) as refused:
        await book.details("AAPL")
    assert {one.con_id for one in refused.value.data["candidates"]} == {265598, 9}
    chosen = await book.details(Instrument("AAPL", primary_exchange="MEXI"))
    assert chosen.instrument.con_id == 9


async def test_the_same_contract_on_two_exchanges_is_one(book, transport, make_listing):
    transport.contracts["AAPL"] = [make_listing("AAPL", exchange="NYSE"), make_listing("AAPL")]
    assert (await book.details("AAPL")).instrument.exchange == "SMART"


async def test_a_near_match_is_no_match(book, transport, make_listing):
    transport.contracts["AAP"] = [make_listing("AAPL"), make_listing("AAP", currency="EUR")]
    with pytest.raises(UnknownInstrument):
        await book.details("AAP")


async def test_unknown_is_believed_for_a_minute(book, transport, clock):
    for _ in range(2):
        with pytest.raises(UnknownInstrument):
            await book.details("NOPE")
    assert transport.asked["details"] == 1
    clock.advance(61)
    with pytest.raises(UnknownInstrument):
        await book.details("NOPE")
    assert transport.asked["details"] == 2


async def test_h10_a_no_while_a_farm_is_down_is_not_believed(book, transport, make_listing):
    transport.farms_down = {"secdefeu": "Sec-def data farm connection is broken"}
    with pytest.raises(RequestFailed, match="secdefeu"):
        await book.details("NVDA")
    transport.farms_down = {}
    transport.contracts["NVDA"] = [make_listing("NVDA", con_id=4815747)]
    assert (await book.details("NVDA")).instrument.con_id == 4815747


async def test_h11_a_question_that_is_never_answered_ends_with_its_deadline(book, transport):
    transport.contracts["AAPL"] = DeadlineExceeded("contract AAPL", timedelta(seconds=10))
    with pytest.raises(DeadlineExceeded):
        await book.details("AAPL")


async def test_old_details_are_asked_again_and_kept_when_that_fails(book, transport, clock):
    await book.details("AAPL")
    clock.advance(13 * 3600)
    transport.contracts["AAPL"] = RequestFailed("contract AAPL", "farm down")
    assert (await book.details("AAPL")).instrument.con_id == 265598
    assert transport.asked["details"] == 2


async def test_the_cache_survives_a_restart(tmp_path, transport, clock):
    path = tmp_path / "state" / "contracts.json"
    book = ContractBook(transport, clock, path)
    told = await book.details("AAPL")
    book.save()
    again = ContractBook(transport, clock, path)
    assert await again.details("AAPL") == told
    assert again.by_number(265598) == told
    assert transport.asked["details"] == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1, "contracts": [{"key": []}]}', "\x00\xff", "null"])
async def test_a_corrupt_cache_is_rebuilt(tmp_path, transport, clock, text):
    path = tmp_path / "contracts.json"
    path.write_bytes(text.encode("latin-1"))
    book = ContractBook(transport, clock, path)
    assert (await book.details("AAPL")).instrument.con_id == 265598
    book.save()
    assert ContractBook(transport, clock, path).by_number(265598) is not None


def test_details_come_back_from_their_row_unchanged(make_listing):
    option = Instrument(
        "AAPL",
        SecType.OPTION,
        con_id=700001,
        expiry=date(2026, 6, 19),
        strike=Decimal("200.5"),
        right="C",
        multiplier=Decimal(100),
    )
    for details in (make_listing("AAPL"), replace(make_listing("AAPL"), instrument=option)):
        assert details_from_row(row_from_details(details)) == details


@pytest.mark.parametrize("text", ["", "   ", "AA;PL", "A" * 40])
async def test_impossible_symbols_are_refused_before_anybody_is_asked(book, transport, text):
    with pytest.raises(InvalidInstrument):
        await book.details(text)
    assert not transport.asked
