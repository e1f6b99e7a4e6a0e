"""Every message from the server: its golden bytes, and what the real ib_async reads in them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from moondev_ibkr.brokers.simulation.tws import messages_out as out
from moondev_ibkr.brokers.simulation.tws.contract import Contract

from .wire_samples import (
    BOND,
    CALL,
    DETAILS,
    GOLDEN,
    SIMPLE,
    VERSIONS,
    fields_of,
    golden_text,
    samples,
)
from .wire_witness import IbAsync, plain, read

#: ids of reference section 2.5
RESPONSE_IDS = {
    *range(1, 22),
    *range(45, 48),
    *range(49, 60),
    *range(61, 65),
    *(67, 68),
    *range(71, 108),
}
CASES = [(version, label) for version in VERSIONS for label in samples(version)]

#: (message, our name) -> the name that ib_async gives to the same value, where it has another
ALIASES = {
    ("nextValidId", "orderId"): "reqId",
    ("marketDataType", "marketDataType"): "marketDataId",
    ("tickNews", "reqId"): "_reqId",
    ("orderBound", "permId"): "reqId",
    ("orderBound", "clientId"): "apiClientId",
    ("orderBound", "orderId"): "apiOrderId",
    ("position", "position"): "posSize",
    ("positionMulti", "position"): "pos",
    ("updatePortfolio", "position"): "posSize",
    ("updateAccountValue", "key"): "tag",
    ("updateAccountValue", "value"): "val",
    ("updateAccountTime", "timeStamp"): "timestamp",
    ("accountDownloadEnd", "account"): "_account",
    ("accountSummary", "reqId"): "_reqId",
    ("accountUpdateMulti", "key"): "tag",
    ("accountUpdateMulti", "value"): "val",
    ("historicalData", "startDate"): "_start",
    ("historicalData", "endDate"): "_end",
    ("historicalDataUpdate", "wap"): "average",
    ("realtimeBar", "open"): "open_",
    ("realtimeBar", "barCount"): "count",
    ("historicalNewsEnd", "hasMore"): "_hasMore",
    ("updateNewsBulletin", "originExch"): "origExchange",
    ("mktDepthExchanges", "exchanges"): "depthMktDataDescriptions",
    ("receiveFA", "faDataType"): "_faDataType",
    ("receiveFA", "xml"): "faXmlData",
    ("deltaNeutralValidation", "deltaNeutralContract"): "dnc",
}
#: values that ib_async drops, or reads into a shape of its own (those have tests of their own below)
UNREAD = {
    ("tickPrice", "attrMask"),
    ("tickByTick", "tickType"),
    ("tickByTick", "mask"),
    ("execDetails", "time"),
    ("historicalData", "bars"),
    ("histogramData", "items"),
    ("historicalTicksBidAsk", "ticks"),
    ("historicalTicksLast", "ticks"),
    ("scannerData", "rows"),
    ("symbolSamples", "samples"),
    ("softDollarTiers", "tiers"),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_are_the_golden_ones(version: int) -> None:
    assert golden_text(version) == (GOLDEN / f"{version}.txt").read_text(encoding="utf-8")


def test_table_has_every_id_once() -> None:
    ids = [spec.id for spec in out.RESPONSES.values()]
    absent = {48, 60, 65, 66, 69, 70}
    assert sorted(ids) == sorted(RESPONSE_IDS - absent)


def test_every_message_has_a_sample() -> None:
    sampled = {int(fields_of(frame)[0]) for frame in samples(178).values()}
    assert sampled == {spec.id for spec in out.RESPONSES.values()}


@pytest.mark.parametrize(("version", "label"), CASES)
def test_ib_async_reads_it_without_error(version: int, label: str, caplog: pytest.LogCaptureFixture) -> None:
    client = IbAsync(version, caplog)
    calls = client.read(fields_of(samples(version)[label]))
    assert client.errors == []
    assert calls


@pytest.mark.parametrize("version", [version for version in range(157, 179) if version != 158])
def test_every_version_is_read_whole(version: int, caplog: pytest.LogCaptureFixture) -> None:
    client = IbAsync(version, caplog)
    for label, frame in samples(version).items():
        client.read(fields_of(frame))
        assert client.errors == [], label
        assert out.decode(version, fields_of(frame))[0] == label.partition("_")[0]


@pytest.mark.parametrize(("version", "label"), CASES)
def test_ib_async_notices_a_missing_last_field(version: int, label: str, caplog: pytest.LogCaptureFixture) -> None:
    fields = fields_of(samples(version)[label])
    if len(fields) <= 2:
        return  # an end marker: its last field is the version number
    client = IbAsync(version, caplog)
    whole = client.read(fields)
    cut = client.read(fields[:-1])
    assert client.errors or cut != whole


@pytest.mark.parametrize(("version", "label"), CASES)
def test_decoder_from_the_same_table_takes_every_field(version: int, label: str) -> None:
    name, values = out.decode(version, fields_of(samples(version)[label]))
    assert name == label.partition("_")[0]
    if label in SIMPLE:
        for key, value in SIMPLE[label][1].items():
            if key in values and not isinstance(value, (tuple, Contract)):
                assert values[key] == value


def expected(name: str, values: dict[str, Any]) -> dict[str, Any]:
    contract = values.get("contract")
    missing = -1.0 if name == "tickPrice" else None
    flat = {key: plain(value) for key, value in values.items() if key != "contract"}
    if contract is not None:
        dropped = "exchange" if name == "updatePortfolio" else "primaryExchange"
        flat = {**plain(contract), dropped: "", **flat}
    return {key: missing if value is None else value for key, value in flat.items()}


@pytest.mark.parametrize("label", SIMPLE)
def test_ib_async_reads_the_same_values(label: str, caplog: pytest.LogCaptureFixture) -> None:
    name, values = SIMPLE[label]
    found = read(178, samples(178)[label], caplog)
    for key, value in expected(name, values).items():
        if (name, key) in UNREAD:
            continue
        seen = found[ALIASES.get((name, key), key)]
        assert seen == value or float(seen) == float(value), key


def callback(label: str, caplog: pytest.LogCaptureFixture, version: int = 178) -> list[tuple[Any, ...]]:
    client = IbAsync(version, caplog)
    calls = client.read(fields_of(samples(version)[label]))
    assert client.errors == []
    return [args for _, args in calls]


def test_bars_arrive_in_open_high_low_close_order(caplog: pytest.LogCaptureFixture) -> None:
    bars = [plain(args[1]) for args in callback("historicalData", caplog)[:2]]
    theirs = [(b["date"], b["open"], b["high"], b["low"], b["close"], b["volume"], b["average"]) for b in bars]
    assert theirs == [tuple(bar[:7]) for bar in SIMPLE["historicalData"][1]["bars"]]
    assert [bar["barCount"] for bar in bars] == [12, 22]


def test_historical_tick_masks_mean_what_ib_says(caplog: pytest.LogCaptureFixture) -> None:
    (bid_ask,) = callback("historicalTicksBidAsk", caplog)[0][1]
    assert (bid_ask.tickAttribBidAsk.askPastHigh, bid_ask.tickAttribBidAsk.bidPastLow) == (False, True)
    assert (bid_ask.priceBid, bid_ask.priceAsk, bid_ask.sizeBid, bid_ask.sizeAsk) == (150.25, 150.5, 100, 200)
    (last,) = callback("historicalTicksLast", caplog)[0][1]
    assert (last.tickAttribLast.pastLimit, last.tickAttribLast.unreported) == (True, False)
    assert (last.price, last.size, last.exchange, last.specialConditions) == (150.25, 100, "NASDAQ", "FT")


def test_lists_arrive_whole(caplog: pytest.LogCaptureFixture) -> None:
    assert [(h.price, h.count) for h in callback("histogramData", caplog)[0][1]] == [(1.5, 100), (1.75, 200)]
    (tier,) = callback("softDollarTiers", caplog)[0][1]
    assert (tier.name, tier.val, tier.displayName) == ("n", "v", "d")
    _, rank, details, distance, benchmark, projection, legs = callback("scannerData", caplog)[0]
    assert (rank, distance, benchmark, projection, legs) == (2, "d", "b", "p", "legs")
    assert (details.marketName, details.contract.localSymbol, details.contract.strike) == ("NMS-M", "AAPL.L", 1.5)


@pytest.mark.parametrize(("version", "description"), [(163, ""), (176, "APPLE INC"), (178, "APPLE INC")])
def test_symbol_samples(version: int, description: str, caplog: pytest.LogCaptureFixture) -> None:
    apple, microsoft = callback("symbolSamples", caplog, version)[0][1]
    assert (apple.contract.conId, apple.derivativeSecTypes) == (265598, ["CFD", "OPT"])
    assert (microsoft.contract.symbol, microsoft.derivativeSecTypes) == ("MSFT", [])
    assert apple.contract.description == description


def test_execution_time_is_read_in_its_zone(caplog: pytest.LogCaptureFixture) -> None:
    execution = callback("execDetails", caplog)[0][2]
    assert execution.time == datetime(2026, 1, 2, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize("version", VERSIONS)
def test_contract_details(version: int, caplog: pytest.LogCaptureFixture) -> None:
    found = read(version, samples(version)["contractDetails"], caplog)
    assert {key: found[key] for key in plain(CALL)} == plain(CALL)
    gated = {"minSize", "sizeIncrement"} | ({"suggestedSizeIncrement"} if version < 163 else set())
    for key, value in DETAILS.items():
        if key in gated and version < 164:
            continue
        assert found[key] == plain(value), key


@pytest.mark.parametrize("version", VERSIONS)
def test_bond_details(version: int, caplog: pytest.LogCaptureFixture) -> None:
    found = read(version, samples(version)["bondContractDetails"], caplog)
    for key, value in BOND.items():
        if version >= 164 or ("Size" not in key and not key.startswith("size")):
            assert found[key] == plain(value), key
    assert (found["symbol"], found["conId"], found["currency"]) == ("AAPL", 265598, "USD")


@pytest.mark.parametrize("version", [157, 163])
def test_sizes_are_whole_numbers_where_clients_read_integers(version: int) -> None:
    fields = fields_of(out.encode(version, "tickSize", reqId=1, tickType=0, size=Decimal("2.75")))
    assert fields[-1] == ("2" if version < 163 else "2.75")
    assert fields_of(out.encode(version, "tickSize", reqId=1, tickType=0, size=300.0))[-1] == "300"


def test_text_beyond_ascii_is_escaped_where_clients_expect_ascii() -> None:
    frame = out.encode(178, "error", reqId=-1, errorCode=201, errorString="é 日 🙂 \\")
    assert frame[4:].isascii()
    assert "\\u00e9 \\u65e5 \\ud83d\\ude42 \\u005c" in frame.decode("ascii")
    assert out.decode(178, fields_of(frame))[1]["errorString"] == "é 日 🙂 \\"


def test_unknown_missing_and_untimely_messages_are_refused() -> None:
    with pytest.raises(ValueError, match="no such message"):
        out.encode(178, "orderState")
    with pytest.raises(TypeError, match=r"missing \['orderId'\], unknown \['id'\]"):
        out.encode(178, "nextValidId", id=1)
    with pytest.raises(ValueError, match="since server version 165"):
        out.encode(163, "historicalSchedule", **SIMPLE["historicalSchedule"][1])
    with pytest.raises(ValueError, match=r"currentTime\.time"):
        out.encode(178, "currentTime", time="now")
    with pytest.raises(ValueError, match="NUL"):
        out.encode(178, "updateAccountTime", timeStamp="12\0003")
    with pytest.raises(ValueError, match="NaN"):
        out.encode(178, "tickGeneric", reqId=1, tickType=1, value=float("nan"))


def test_error_has_no_advanced_reject_before_166() -> None:
    values = {"reqId": 5, "errorCode": 201, "errorString": "no", "advancedOrderRejectJson": "{}"}
    assert fields_of(out.encode(165, "error", **values)) == ["4", "2", "5", "201", "no"]
    assert fields_of(out.encode(166, "error", **values)) == ["4", "2", "5", "201", "no", "{}"]
