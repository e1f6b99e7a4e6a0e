"""Long messages decode as ib_async decodes them; broken ones are counted, reported, and end what they answer."""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC
from typing import Any

import pytest
from ib_async.decoder import Decoder
from ib_async.util import UNSET_DOUBLE
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.decoding import LinkDecoder
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.layouts import LAYOUTS
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.listener import MalformedMessage
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.plans import unescape

VERSIONS = [157, 160, 163, 164, 166, 170, 176, 177, 178]


class Recorder:
    """Stands in for the wrapper: every call is kept, every method exists."""

    naive_zone = "Europe/Berlin"
    defaultTimezone = UTC

    class ib:
        TimezoneTWS = "Europe/Berlin"

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple]] = []
        self.failed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.calls.append((name, args))

    def malformed_answer(self, request: str, name: str, error: Exception) -> None:
        self.failed.append(request)


def decode_both(fields: list[str], version: int) -> tuple[Recorder, Recorder, list[MalformedMessage]]:
    raw, ours = Recorder(), Recorder()
    Decoder(raw, version).interpret(list(fields))
    malformed: list[MalformedMessage] = []
    LinkDecoder(ours, version, malformed.append).interpret(list(fields))
    return raw, ours, malformed


def plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def assert_same(fields: list[str], version: int) -> None:
    raw, ours, malformed = decode_both(fields, version)
    assert raw.calls, "ib_async could not read it either"
    assert [(name, plain(args)) for name, args in ours.calls] == [(name, plain(args)) for name, args in raw.calls]
    assert malformed == []


class Fields:
    """Writes fields whose text any conversion accepts, with the structural ones under the test's control."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.out: list[str] = []

    def any(self, count: int) -> Fields:
        self.out += self.rng.choices(["", "0", "1", "7", "42"], k=count)
        return self

    def put(self, *values: object) -> Fields:
        self.out += [str(value) for value in values]
        return self

    def pick(self, *values: str) -> str:
        value = self.rng.choice(values)
        self.out.append(value)
        return value

    def tags(self) -> Fields:
        count = self.rng.randrange(3)
        self.put(count)
        for index in range(count):
            self.put(f"tag{index}", self.rng.randrange(9))
        return self

    def conditions(self) -> Fields:
        rows = {1: "a 1 12.5 8314 SMART 0", 3: "o 1 20260101 09:30:00", 4: "a 0 20", 5: "a STK SMART IBM"}
        rows |= {6: "a 1 1000 8314 SMART", 7: "a 1 1.5 8314 SMART"}
        chosen = self.rng.sample(sorted(rows), self.rng.randrange(4))
        self.put(len(chosen))
        for kind in chosen:
            parts = rows[kind].split(" ")
            self.put(kind, *(parts if kind != 3 else [*parts[:2], " ".join(parts[2:])]))
        if chosen:
            self.any(2)
        return self

    def legs(self) -> Fields:
        legs = self.rng.randrange(3)
        self.put(legs)
        for _ in range(legs):
            self.put(265598, 1, "BUY", "SMART").any(4)
        prices = self.rng.randrange(3)
        self.put(prices).any(prices)
        return self.tags()

    def scale(self) -> Fields:
        self.any(2)
        if self.pick("", "0", "0.5", str(UNSET_DOUBLE)) == "0.5":
            self.any(7)
        if self.pick("", "D"):
            self.any(1)
        return self

    def algo(self) -> Fields:
        if self.pick("0", "1") == "1":
            self.put(8314, "0.5", "12.5")
        if self.pick("", "Adaptive"):
            self.tags()
        return self

    def benchmark(self, order_type: str) -> Fields:
        return self.any(5) if order_type in ("PEG BENCH", "PEGBENCH") else self


def open_order(seed: int, version: int) -> list[str]:
    f = Fields(seed).put(5).any(12).put("BUY", "100")
    order_type = f.pick("LMT", "PEG BENCH", "PEGBENCH", "TRAIL")
    f.any(18)
    if version < 177:
        f.any(1)
    f.any(27)
    if f.pick("", "None", "MKT"):
        f.any(1).any(8)
    else:
        f.any(1)
    f.any(7).legs().scale().any(4).algo().any(19).benchmark(order_type).conditions().any(16)
    f.any((version >= 159) + (version >= 160) + (version >= 162) + 5 * (version >= 170))
    return f.out


def completed_order(seed: int, version: int) -> list[str]:
    f = Fields(seed).put(101).any(11).put("SELL", "3")
    order_type = f.pick("LMT", "PEG BENCH", "MKT")
    f.any(16)
    if version < 177:
        f.any(1)
    f.any(21)
    if f.pick("", "None"):
        f.any(1).any(4)
    else:
        f.any(1)
    f.any(5).legs().scale().any(3).algo().any(4).benchmark(order_type).conditions().any(15)
    f.any(5 * (version >= 170))
    return f.out


def execution(seed: int, version: int, time: str) -> list[str]:
    f = Fields(seed).put(11, "-1").any(12).put("0000e0d5.1", time).any(15 + (version >= 178))
    return f.out


def contract_details(seed: int, version: int) -> list[str]:
    f = Fields(seed).put(10)
    if version < 164:
        f.put(8)
    f.put(9).any(2).put("20260619 16:00 US/Eastern").any(9)
    if version < 164:
        f.put(1)
    f.any(5).put("Long name").any(10).tags().any(6).any(1 if version == 163 else 0)
    return f.any(3 * (version >= 164)).out


def bond_details(seed: int, version: int) -> list[str]:
    f = Fields(seed).put(18)
    if version < 164:
        f.put(6)
    f.put(9).any(3).put("7").put("20300101").any(14)
    if version < 164:
        f.put(1)
    return f.any(9).tags().any(2).any(3 * (version >= 164)).out


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("make", [open_order, completed_order, contract_details, bond_details])
def test_random_messages_decode_as_in_ib_async(make: Any, version: int) -> None:
    for seed in range(25):
        assert_same(make(seed, version), version)


@pytest.mark.parametrize("version", [157, 177, 178])
@pytest.mark.parametrize("time", ["20250102 10:00:00 US/Eastern", "20250102  10:00:00", "1735830000"])
def test_executions_decode_as_in_ib_async(time: str, version: int) -> None:
    for seed in range(10):
        assert_same(execution(seed, version, time), version)


def test_o13_the_utc_form_of_an_execution_time_is_utc_on_any_host() -> None:
    ours = Recorder()
    LinkDecoder(ours, 178).interpret(execution(1, 178, "20250102-15:00:00"))
    ((_, _, details),) = [call[1] for call in ours.calls]
    assert details.time.isoformat() == "2025-01-02T15:00:00+00:00"


SHORT_MESSAGES = {
    3: "3 5 Submitted 0 100 0.0 199 0 0.0 7 locate 0.5",
    6: "6 2 NetLiquidation 100000.00 USD DU1",
    7: "7 8 265598 AAPL STK _ 0.0 0 _ NASDAQ USD AAPL AAPL 100 150.25 15025.0 140.0 1025.0 0.0 DU1",
    17: "17 9 a b 2 20250102 1.0 2.0 0.5 1.5 1000 1.2 12 20250103 1.0 2.0 0.5 1.5 1000 1.2 12",
    20: "20 3 9 1 0 265598 AAPL STK _ 0.0 _ SMART USD AAPL NMS NMS d b p _",
    47: "47 1 9 38 1.5 1.5 0.1 10 20260101 0.1 0.2",
    49: "49 1 1700000000",
    50: "50 3 9 1700000000 1.0 2.0 0.5 1.5 1000 1.2 12",
    53: "53 1",
    56: "56 1 9 1 0.5 1.5",
    59: "59 1 0000e0d5.1 1.0 USD 1.7976931348623157E308 _ _",
    61: "61 3 DU1 265598 AAPL STK _ 0.0 _ _ SMART USD AAPL NMS 5 120.5",
    63: "63 1 9 DU1 BuyingPower 400000 USD",
    71: "71 1 9 DU1 265598 AAPL STK _ 0.0 _ _ SMART USD AAPL NMS 5 120.5 _",
    73: "73 1 9 DU1 _ NetLiquidation 100 USD",
    75: "75 9 SMART 265598 AAPL 100 2 20260619 20260717 3 190.0 200.0 210.0",
    77: "77 9 1 n v d",
    78: "78 1 DU1 _",
    79: "79 9 1 265598 AAPL STK NASDAQ.NMS USD 2 CFD OPT APPLE_INC _",
    80: "80 1 ISLAND STK NASDAQ Deep2 2147483647",
    82: "82 9 1 0 AMEX A",
    85: "85 1 BRFG Briefing.com",
    86: "86 9 2025-01-02T10:00:00.0 BRFG BRFG$1 Head",
    89: "89 9 2 1.5 100 1.6 200",
    90: "90 9 12 20250103 1.0 1.5 2.0 0.5 1.2 1000",
    93: "93 26 2 0.0 0.0001 1.0 0.01",
    94: "94 9 10.5 20.5 30.5",
    95: "95 9 100 10.5 20.5 30.5 15025.0",
    100: "100 123456 7 5",
    102: "102",
    106: "106 9 20250102-09:30:00 20250103-16:00:00 US/Eastern 1 20250102-09:30:00 20250102-16:00:00 20250102",
    107: "107 9 wb",
}


def short(message_id: int) -> list[str]:
    return ["" if text == "_" else text for text in SHORT_MESSAGES[message_id].split(" ")]


@pytest.mark.parametrize("message_id", sorted(SHORT_MESSAGES))
def test_short_messages_decode_as_in_ib_async(message_id: int) -> None:
    assert_same(short(message_id), 178)


@pytest.mark.parametrize("message_id", sorted(SHORT_MESSAGES))
def test_c18_a_field_too_many_is_reported_and_the_rest_still_read(message_id: int) -> None:
    _, ours, malformed = decode_both([*short(message_id), "extra"], 178)
    whole = decode_both(short(message_id), 178)[1]
    assert [(name, plain(args)) for name, args in ours.calls] == [(name, plain(args)) for name, args in whole.calls]
    (report,) = malformed
    assert report.decoded
    assert "1 fields too many" in report.why
    assert report.needs_reconcile is LAYOUTS[message_id].needs_reconcile


@pytest.mark.parametrize("message_id", sorted(set(SHORT_MESSAGES) - {102}))
def test_c18_a_field_too_few_is_reported_and_nothing_half_read(message_id: int) -> None:
    ours = Recorder()
    malformed: list[MalformedMessage] = []
    decoder = LinkDecoder(ours, 178, malformed.append)
    decoder.interpret(short(message_id)[:-1])
    assert ours.calls == []
    (report,) = malformed
    assert not report.decoded
    assert report.message_id == message_id
    assert decoder.malformed[message_id] == 1
    at = LAYOUTS[message_id].request
    if at is not None and at < len(short(message_id)) - 1:
        assert ours.failed == ["9"]


@pytest.mark.parametrize("make", [open_order, completed_order, contract_details, bond_details])
def test_conditional_layouts_are_tight(make: Any) -> None:
    for seed in range(10):
        fields = make(seed, 178)
        for change in (fields[:-1], [*fields, "7"]):
            ours = Recorder()
            malformed: list[MalformedMessage] = []
            LinkDecoder(ours, 178, malformed.append).interpret(list(change))
            (report,) = malformed
            assert report.decoded is (len(change) > len(fields))
            assert bool(ours.calls) is report.decoded
            assert report.needs_reconcile is (fields[0] in {"5", "101"})


@pytest.mark.parametrize("message_id", [3, 4, 5, 11, 53, 55, 59, 61, 62, 100, 101, 102])
def test_c19_a_broken_message_about_money_asks_for_reconciliation(message_id: int) -> None:
    malformed: list[MalformedMessage] = []
    LinkDecoder(Recorder(), 178, malformed.append).interpret([str(message_id), "x", "y"])
    assert [report.needs_reconcile for report in malformed] == [True]


def test_c19_garbage_in_a_number_is_reported_with_its_fields() -> None:
    malformed: list[MalformedMessage] = []
    fields = short(3)
    fields[3] = "many"
    LinkDecoder(Recorder(), 178, malformed.append).interpret(fields)
    assert malformed[0].fields == tuple(fields)
    assert malformed[0].name == "orderStatus"
    assert "many" in malformed[0].why


def test_an_unknown_message_id_is_counted() -> None:
    malformed: list[MalformedMessage] = []
    decoder = LinkDecoder(Recorder(), 178, malformed.append)
    decoder.interpret(["108", "x"])
    assert decoder.unknown == {108: 1}
    assert not malformed[0].needs_reconcile


def test_the_layout_table_covers_every_handler() -> None:
    assert set(LAYOUTS) == set(LinkDecoder(Recorder(), 178).handlers)


def test_o14_a_bond_with_a_fractional_coupon_is_read() -> None:
    fields = bond_details(1, 178)
    fields[5] = "4.5"
    ours = Recorder()
    LinkDecoder(ours, 178).interpret(fields)
    assert ours.calls[0][1][1].coupon == 4.5


def test_errors_before_version_166_have_no_json() -> None:
    ours = Recorder()
    LinkDecoder(ours, 165).interpret(["4", "2", "7", "201", "rejected"])
    LinkDecoder(ours, 178).interpret(["4", "2", "7", "201", r"zur\u00fcck", '{"a":"\\u0022"}'])
    assert [args for _, args in ours.calls] == [(7, 201, "rejected", ""), (7, 201, "zurück", '{"a":"\\u0022"}')]


def test_escapes() -> None:
    assert unescape(r"caf\u00e9") == "café"
    assert unescape(r"C:\path") == r"C:\path"
