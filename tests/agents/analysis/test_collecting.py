"""One batched round for a list; what fails for one symbol is that symbol's missing evidence."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from moondev_ibkr.agents.analysis.collecting import CollectorSettings, EvidenceCollector
from moondev_ibkr.agents.analysis.evidence import KINDS, EvidenceRow
from moondev_ibkr.brokers.domain.account import Position
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.market_data import Bar
from moondev_ibkr.brokers.errors import LinkLost, NoPermission, NotConnected, NotSupported

from .conftest import NOON, FakeMarket, history

NAMES = [f"A{letter}{other}" for letter in "ABCDEF" for other in "ABCDE"]


async def test_thirty_symbols_take_one_round_of_each_kind(market: FakeMarket) -> None:
    for name in NAMES:
        market.add(name)
    found = await EvidenceCollector(market).collect(NAMES)
    assert list(found) == NAMES
    assert {verb: market.calls[verb] for verb in ("quotes", "many_bars", "option_activity", "positions")} == {
        "quotes": 1,
        "many_bars": 1,
        "option_activity": 1,
        "positions": 1,
    }
    assert market.asked["quotes"] == [NAMES]
    assert market.calls["details"] == len(NAMES)


async def test_every_row_has_a_value_or_a_reason_and_its_own_unit(market: FakeMarket) -> None:
    market.add("AAA")
    rows = (await EvidenceCollector(market).collect(["AAA"]))["AAA"].rows
    assert {row.id for row in rows} == {id for id, kind in KINDS.items() if not kind.private}
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert (row.unit, row.name) == (KINDS[row.id].unit, KINDS[row.id].name)
        assert (row.value is None) == (row.missing is not None)
    company = next(row for row in rows if row.id == "fundamentals.pe")
    assert company.missing == "fundamentals of AAA: no company reports for it"


async def test_an_unknown_symbol_is_missing_and_the_others_stand(market: FakeMarket) -> None:
    market.add("AAA")
    market.quote_errors["ZZZ"] = NoPermission("quote of ZZZ", "not subscribed")
    found = await EvidenceCollector(market).collect(["aaa", "ZZZ", "<b>"])
    assert found["AAA"].number("quote.last") == 100.0
    assert found["ZZZ"].values == {}
    assert found["ZZZ"].missing["quote.last"] == "quote of ZZZ: not subscribed"
    assert "no such symbol" in found["ZZZ"].missing["price.sigma"]
    assert "it is not a ticker" in found["<b>"].missing["quote.last"]
    assert market.asked["quotes"] == [["AAA", "ZZZ"]]


async def test_a_lost_link_fails_the_round_instead_of_looking_calm(market: FakeMarket) -> None:
    market.add("AAA")
    market.fails["quotes"] = LinkLost("quotes", "gone")
    with pytest.raises(LinkLost):
        await EvidenceCollector(market).collect(["AAA"])
    market.fails.clear()
    market.quoted.clear()
    market.daily["AAA"] = LinkLost("bars", "gone")
    with pytest.raises(NotConnected):
        await EvidenceCollector(market).collect(["AAA"])


async def test_a_broker_without_options_still_gives_the_rest(market: FakeMarket) -> None:
    market.add("AAA")
    market.fails["option_activity"] = NotSupported("option activity", "this door has none")
    found = (await EvidenceCollector(market).collect(["AAA"]))["AAA"]
    assert found.number("price.sigma") is not None
    assert found.missing["options.flow_score"] == "option activity: this door has none"


async def test_bars_and_details_are_asked_for_once_a_day(market: FakeMarket) -> None:
    market.add("AAA")
    market.add("BBB")
    collector = EvidenceCollector(market)
    first = await collector.collect(["AAA"])
    again = await collector.collect(["AAA", "BBB"])
    assert market.asked["many_bars"] == [["AAA"], ["BBB"]]
    assert market.calls["details"] == 2
    assert again["AAA"].values == first["AAA"].values
    market.now = NOON.replace(day=13)
    await collector.collect(["AAA"])
    assert market.asked["many_bars"][-1] == ["AAA"]


async def test_a_held_name_has_its_profit_in_percent_and_no_amount(market: FakeMarket) -> None:
    market.add("AAA")
    market.add("BBB")
    market.held = [Position("DU0001234", Instrument("AAA"), Decimal(-100), Decimal(90), market_value=Decimal(-10_000))]
    found = await EvidenceCollector(market).collect(["AAA", "BBB"])
    rows = {row.id: row for row in found["AAA"].rows if row.private}
    assert {id: row.value for id, row in rows.items()} == {
        "position.weight_pct": -20.0,
        "position.unrealized_pct": -10.0,
        "position.day_pct": -1.0,
        "account.day_pct": -0.5,
    }
    assert not any("DU0001234" in row.text for row in found["AAA"].rows)
    assert not any(row.private for row in found["BBB"].rows)


async def test_a_position_that_cannot_be_read_is_missing(market: FakeMarket) -> None:
    market.add("AAA")
    market.fails["positions"] = NoPermission("positions", "not for this user")
    found = (await EvidenceCollector(market).collect(["AAA"]))["AAA"]
    assert found.missing["position.weight_pct"] == "positions: not for this user"


async def test_news_come_through_the_reader_that_was_given(market: FakeMarket) -> None:
    market.add("AAA")
    seen = {}

    async def read(found: object, now: object) -> dict[str, list[EvidenceRow]]:
        seen.update(found)  # type: ignore[call-overload]
        return {"AAA": [EvidenceRow("news.threat", "news", 0.5, "of 1", "test", NOON)]}

    found = await EvidenceCollector(market, read_news=read).collect(["AAA"])
    assert list(seen) == ["AAA"]
    assert found["AAA"].number("news.threat") == 0.5
    quiet = EvidenceCollector(market, CollectorSettings(news=False, options=False, account=False), read_news=read)
    market.calls.clear()
    await quiet.collect(["AAA"])
    assert market.calls["headlines"] == market.calls["option_activity"] == market.calls["positions"] == 0


def volatilities(*values: float) -> list[Bar]:
    """Closed daily bars of implied volatility, the last of yesterday."""
    days = history(len(values))
    return [
        replace(day, open=value, high=value, low=value, close=value) for day, value in zip(days, values, strict=True)
    ]


async def test_implied_volatility_is_measured_against_its_own_twenty_sessions(market: FakeMarket) -> None:
    for name in ("AAA", "BBB", "CCC", "DDD"):
        market.add(name)
    # the activity tells 0.20 now; the two oldest lie outside of the twenty
    market.volatilities["AAA"] = volatilities(9.0, 9.0, *[0.10, 0.20] * 10)
    market.volatilities["BBB"] = volatilities(*[0.2] * 19)
    market.volatilities["CCC"] = volatilities(*[0.2] * 25)
    collector = EvidenceCollector(market)
    for _ in range(2):
        found = await collector.collect(["AAA", "BBB", "CCC", "DDD"])
    spread = 0.05 * (20 / 19) ** 0.5
    assert found["AAA"].number("options.iv_z20") == pytest.approx(0.05 / spread)
    assert found["BBB"].missing["options.iv_z20"] == "only 19 of 20 sessions have an implied volatility"
    assert found["CCC"].missing["options.iv_z20"] == "it did not move in 20 sessions"
    assert found["DDD"].missing["options.iv_z20"] == "volatility of DDD: none"
    assert market.asked["volatility_bars"] == [["AAA", "BBB", "CCC", "DDD"], ["DDD"]], "what came is kept for the day"
