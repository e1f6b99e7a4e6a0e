"""Market data on the portal's WebSocket: smd, smh and sbd, how they change, and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from moondev_ibkr.brokers.simulation.portal.market_faults import MarketFaults

from ..tws.rig import moving
from .rig import AAPL_ID, ACCOUNT, MSFT_ID, FakeStream, Rig

SMD = f'smd+{AAPL_ID}+{{"fields":["31","84","86","7762"]}}'


@pytest.fixture
def market() -> Iterator[Rig]:
    """A market that moves, 10:00 in New York."""
    made = Rig(source=moving())
    yield made
    made.check()


def values(frame: dict[str, Any]) -> dict[str, str]:
    return {code: text for code, text in frame.items() if code.isdigit()}


def merged(frames: list[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for frame in frames:
        found |= values(frame)
    return found


def stay(rig: Rig, stream: FakeStream, seconds: float) -> None:
    """Monotonic time passes, and the client keeps its session alive."""
    for _ in range(int(seconds // 20)):
        rig.wait(20)
        stream.say("tic")


def test_the_first_frame_is_whole_and_flat(market: Rig) -> None:
    (frame,) = market.stream().say(SMD)
    assert frame["topic"] == f"smd+{AAPL_ID}"
    assert (frame["conid"], frame["conidEx"], frame["server_id"]) == (AAPL_ID, str(AAPL_ID), "q0")
    assert values(frame).keys() == {"31", "84", "86", "7762", "6119", "6509"}


def test_then_only_what_changed_comes_and_adds_up_to_the_market(market: Rig) -> None:
    stream = market.stream()
    stream.say(SMD)
    market.advance(120)
    frames = stream.of("smd")
    assert len(frames) > 3
    told: dict[str, str] = {}
    for frame in frames:
        changes = values(frame)
        assert changes
        assert all(told.get(code) != text for code, text in changes.items())
        told |= changes
    market.advance(0.5)
    view = market.exchange.market(AAPL_ID)
    told = merged(stream.of("smd"))
    assert (Decimal(told["84"]), Decimal(told["86"])) == (view.bid, view.ask)
    assert Decimal(told["7762"]) == view.volume


def test_frames_are_half_a_second_apart(market: Rig) -> None:
    stream = market.stream()
    stream.say(SMD)
    times = []
    for _ in range(1200):
        before = len(stream.of("smd"))
        market.advance(0.1)
        if len(stream.of("smd")) > before:
            times.append(market.gateway.now)
    assert len(times) > 5
    assert min(after - before for before, after in pairwise(times)) >= timedelta(seconds=0.5)


def test_umd_ends_it_silently(market: Rig) -> None:
    stream = market.stream()
    stream.say(SMD)
    assert stream.say(f"umd+{AAPL_ID}+{{}}") == []
    assert stream.say(f"umd+{AAPL_ID}+{{}}") == []
    count = len(stream.frames)
    market.advance(120)
    assert len(stream.frames) == count


def test_a_stream_ends_by_itself_without_a_word_and_lives_on_when_renewed(market: Rig) -> None:
    stream, renewed = market.stream(), market.stream()
    stream.say(SMD)
    renewed.say(SMD)
    stay(market, stream, 540)
    renewed.say(SMD)
    stay(market, stream, 400)
    before, kept = len(stream.of("smd")), len(renewed.of("smd"))
    market.advance(120)
    assert len(stream.of("smd")) == before
    assert len(renewed.of("smd")) > kept
    assert not [frame for frame in stream.frames if "error" in frame]


def test_a_stream_is_a_line_and_unsubscribing_ends_it() -> None:
    rig = Rig(source=moving(), market_data_lines=1)
    stream = rig.stream()
    stream.say(SMD)
    assert rig.post("/iserver/marketdata/unsubscribe", {"conid": AAPL_ID}).status == 200
    count = len(stream.frames)
    rig.advance(60)
    assert len(stream.frames) == count
    stream.say(SMD)
    rig.get("/iserver/marketdata/unsubscribeall")
    count = len(stream.frames)
    rig.advance(60)
    assert len(stream.frames) == count
    rig.check()


def test_there_are_only_so_many_lines() -> None:
    rig = Rig(market_data_lines=1)
    stream = rig.stream()
    stream.say(SMD)
    (refused,) = stream.say(f"smd+{MSFT_ID}+{{}}")
    assert refused == {"error": "Max number of tickers has been reached", "code": 400}
    rig.check()


def test_the_end_of_the_brokerage_session_ends_streams(market: Rig) -> None:
    stream = market.stream()
    stream.say(SMD)
    stream.say(f"sbd+{ACCOUNT}+{AAPL_ID}")
    market.session.end_brokerage()
    count = len(stream.frames)
    market.advance(60)
    assert len(stream.frames) == count
    market.session.begin_brokerage(compete=False)
    assert stream.say(SMD)[0]["topic"] == f"smd+{AAPL_ID}"


def test_delayed_streams_show_the_past() -> None:
    live, late = Rig(source=moving()), Rig(source=moving(), not_subscribed=frozenset({"AAPL"}))
    now, then = live.stream(), late.stream()
    now.say(SMD)
    live.advance(600)
    late.advance(900)
    (first,) = then.say(SMD)
    assert first["6509"] == "DpB"
    late.advance(600.5)
    was, shown = merged(now.of("smd")), merged(then.of("smd"))
    assert [shown[code] for code in ("31", "84", "86")] == [was[code] for code in ("31", "84", "86")]
    late.check()


def test_a_closing_market_is_told_by_its_availability(market: Rig) -> None:
    stream = market.stream()
    stream.say(SMD)
    market.advance(timedelta(hours=11).total_seconds())
    assert merged(stream.of("smd"))["6509"] == "ZpB"


def test_a_silent_feed_says_nothing(market: Rig) -> None:
    stream = market.stream()
    stream.say(SMD)
    market.door.state(MarketFaults).silent_feed = True
    count = len(stream.frames)
    market.advance(120)
    assert len(stream.frames) == count
    market.door.state(MarketFaults).silent_feed = False
    market.advance(120)
    assert len(stream.frames) > count


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("smd+1+{}", "No contract found for conid 1"),
        ("smd+apple+{}", "Bad Request: invalid conid 'apple'"),
        (f"smd+{AAPL_ID}@MARS+{{}}", f"No contract found for conid {AAPL_ID}@MARS"),
        (f"sbd+{ACCOUNT}+1", "No contract found for conid 1"),
        (f"sbd+DU9+{AAPL_ID}", "Unknown account DU9"),
        ("smh+1+{}", "No contract found for conid 1"),
        ("umh+77", "No chart has the server id 77"),
    ],
)
def test_what_does_not_exist_is_answered_with_an_error(rig: Rig, text: str, error: str) -> None:
    (frame,) = rig.stream().say(text)
    assert frame["error"] == error


def test_without_fields_the_quote_is_shown(rig: Rig) -> None:
    (frame,) = rig.stream().say(f"smd+{AAPL_ID}@NASDAQ")
    assert (frame["conidEx"], frame["31"], frame["84"], frame["86"]) == (
        f"{AAPL_ID}@NASDAQ",
        "265.00",
        "264.99",
        "265.01",
    )


def test_a_combination_is_quoted_by_its_legs(rig: Rig) -> None:
    text = f"0;;;{AAPL_ID}/-2,{MSFT_ID}/1"
    stream = rig.stream()
    (frame,) = stream.say(f'smd+{text}+{{"fields":["31","84","86","88","82"]}}')
    assert (frame["topic"], frame["conid"], frame["conidEx"]) == (f"smd+{text}", 0, text)
    assert (frame["31"], frame["84"], frame["86"]) == ("-122.00", "-122.03", "-121.97")
    apple, microsoft = rig.exchange.market(AAPL_ID), rig.exchange.market(MSFT_ID)
    assert apple.ask_size is not None
    assert microsoft.bid_size is not None
    assert frame["88"] == f"{min(int(apple.ask_size) // 2, int(microsoft.bid_size)):,}"
    assert frame["6509"] == "RpB"
    assert rig.post("/iserver/marketdata/unsubscribe", {"conid": MSFT_ID}).status == 200
    count = len(stream.frames)
    rig.advance(120)
    assert len(stream.frames) == count


@pytest.mark.parametrize("legs", [f"{AAPL_ID}/1", f"{AAPL_ID}/1,{AAPL_ID}/-1", f"{AAPL_ID}/0,{MSFT_ID}/1", "a/1,b/2"])
def test_a_combination_has_at_least_two_different_legs(rig: Rig, legs: str) -> None:
    (frame,) = rig.stream().say(f"smd+0;;;{legs}+{{}}")
    assert frame["error"] == f"Bad Request: invalid combination '0;;;{legs}'"


# charts


def charted(stream: FakeStream, **arguments: Any) -> dict[str, Any]:
    (frame,) = stream.say(f"smh+{AAPL_ID}+{json.dumps({'period': '1d', 'bar': '1h', **arguments})}")
    return frame


def test_a_chart_comes_once_and_equals_the_endpoints(rig: Rig) -> None:
    stream = rig.stream()
    frame = charted(stream, source="trades", format="%o/%c/%h/%l", outsideRth=False)
    assert frame["topic"] == f"smh+{AAPL_ID}"
    body = rig.get("/iserver/marketdata/history", conid=AAPL_ID, period="1d", bar="1h").body
    assert frame["data"] == body["data"]
    assert frame.keys() - body.keys() == {"topic"}
    rig.advance(60)
    assert len(stream.of("smh")) == 1
    assert stream.say(f"umh+{frame['serverId']}") == [{"message": f"Unsubscribed {frame['serverId']}"}]


def test_five_charts_may_be_open(rig: Rig) -> None:
    stream = rig.stream()
    ids = [charted(stream)["serverId"] for _ in range(5)]
    assert len(set(ids)) == 5
    assert charted(stream)["code"] == 429
    stream.say(f"umh+{ids[0]}")
    assert "serverId" in charted(stream)


# the ladder


def test_the_ladder_runs_from_the_highest_ask_to_the_lowest_bid(market: Rig) -> None:
    (frame,) = market.stream().say(f"sbd+{ACCOUNT}+{AAPL_ID}")
    assert frame["topic"] == f"sbd+{ACCOUNT}+{AAPL_ID}"
    rows = frame["data"]
    assert [row["row"] for row in rows] == list(range(20))
    assert sum(row["focus"] for row in rows) == 1
    prices = [Decimal(row["price"].split(" @ ")[-1]) for row in rows]
    assert prices == sorted(prices, reverse=True)
    view = market.exchange.market(AAPL_ID)
    assert (prices[9], prices[10]) == (view.ask, view.bid)
    assert (rows[9]["ask"], rows[10]["bid"]) == (f"{view.ask_size:,.0f}", f"{view.bid_size:,.0f}")
    assert all(("ask" in row) is (row["row"] < 10) for row in rows)


def test_the_ladder_follows_the_market_and_shows_where_it_traded(market: Rig) -> None:
    stream = market.stream()
    stream.say(f"sbd+{ACCOUNT}+{AAPL_ID}+SMART")
    market.advance(60)
    ladders = stream.of("sbd")
    assert len(ladders) > 2
    assert {frame["topic"] for frame in ladders} == {f"sbd+{ACCOUNT}+{AAPL_ID}+SMART"}
    written = [row["price"] for frame in ladders for row in frame["data"] if row["focus"]]
    assert any(" @ " in price for price in written)
    assert stream.say(f"ubd+{ACCOUNT}") == []
    count = len(stream.frames)
    market.advance(60)
    assert len(stream.frames) == count


def test_depth_wants_live_data() -> None:
    rig = Rig(not_subscribed=frozenset({"AAPL"}))
    (frame,) = rig.stream().say(f"sbd+{ACCOUNT}+{AAPL_ID}")
    assert frame["error"] == f"Market depth of {AAPL_ID} is not subscribed"
    rig.check()
