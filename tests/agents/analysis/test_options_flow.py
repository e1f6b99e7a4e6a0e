"""Options flow: the published definitions, one line an underlying, contracts only where it is hot."""

from __future__ import annotations

from dataclasses import replace

import pytest
from moondev_ibkr.agents.analysis.option_contracts import (
    ContractFigures,
    contract_figures,
    contracts_to_ask,
    unusual_contract,
)
from moondev_ibkr.agents.analysis.options_flow import (
    WEIGHTS,
    Direction,
    FlowSettings,
    bounded_ratio,
    flow_score,
    get_options_flow_score,
    scan_options_flow,
)
from moondev_ibkr.brokers.domain.instrument import Instrument
from moondev_ibkr.brokers.domain.options import OptionActivity
from moondev_ibkr.brokers.errors import LinkLost, NoData, NoPermission, NotSupported, UnknownInstrument

from .conftest import NOON, FakeMarket, option, quoted


def activity(**values: float | None) -> OptionActivity:
    calm = OptionActivity(Instrument("AAA"), NOON, 2_000, 2_000, 40_000, 40_000, 8_000, 0.20, 0.25)
    return replace(calm, **values)


#: Everything at once: five times the usual volume, all of it calls, volatility doubled.
WILD = {"call_volume": 60_000.0, "put_volume": 0.0, "implied_volatility": 0.60, "average_volume": 2_000.0}


@pytest.mark.parametrize(
    ("puts", "calls", "ratio"),
    [(600, 300, 2.0), (300, 600, 0.5), (250, 249, None), (250, 250, 1.0), (900, 0, None), (None, 900, None)],
)
def test_a_ratio_needs_calls_and_500_contracts(puts: float | None, calls: float | None, ratio: float | None) -> None:
    assert bounded_ratio(puts, calls) == ratio


def test_the_volume_spike_is_against_the_average_by_now() -> None:
    found = flow_score("AAA", activity(call_volume=6_000, put_volume=2_480), 0.5)
    assert found.part("volume_spike").value == pytest.approx(8_480 / (8_000 * 0.53))
    assert flow_score("AAA", activity(), None).part("volume_spike").missing == "the session's hours are not known"


def test_an_ordinary_day_scores_low_and_a_wild_one_high() -> None:
    calm, wild = flow_score("AAA", activity(), 0.5), flow_score("AAA", activity(**WILD), 0.5)
    assert calm.score is not None
    assert calm.score < 10
    assert wild.score is not None
    assert wild.score > 90
    assert wild.reasons[0].startswith("option volume")


@pytest.mark.parametrize(
    ("calls", "puts", "way"),
    [
        (1_000, 2_100, Direction.DOWN),
        (2_100, 1_000, Direction.UP),
        (2_000, 2_000, Direction.UNCLEAR),
        (1_000, 1_900, Direction.UNCLEAR),
        (200, 100, Direction.UNCLEAR),
    ],
)
def test_the_way_follows_the_published_bounds(calls: float, puts: float, way: Direction) -> None:
    assert flow_score("AAA", activity(call_volume=calls, put_volume=puts), 0.5).direction is way


def test_weights_add_up_and_missing_ones_leave_the_rest_to_count() -> None:
    assert sum(row.weight for row in WEIGHTS.values()) == pytest.approx(1)
    whole = ContractFigures(20, 20, (), 0.9, 0.6, 0.2)
    every = flow_score("AAA", activity(**WILD), 0.5, whole)
    some = flow_score("AAA", activity(**WILD, call_open_interest=None), 0.5)
    assert every.coverage == pytest.approx(1)
    assert some.coverage == pytest.approx(0.6)
    assert some.part("volume_oi").severity is None
    parts = [(part.weight, part.severity) for part in some.parts if part.severity is not None]
    assert some.score == pytest.approx(100 * sum(w * s for w, s in parts) / sum(w for w, _ in parts))


def test_too_little_data_is_no_score() -> None:
    found = flow_score("AAA", activity(call_volume=None, average_volume=None), 0.5)
    assert found.score is None
    assert found.coverage == pytest.approx(0.10)


@pytest.mark.parametrize(
    ("volume", "interest", "last", "counts"),
    [
        (501, 400, 0.11, True),
        (500, 400, 0.11, False),
        (501, 401, 0.11, False),
        (126, 101, 0.11, False),
        (2_000, 100, 0.11, False),
        (2_000, 101, 0.10, False),
    ],
)
def test_a_contract_is_unusual_by_the_whole_rule(volume: float, interest: float, last: float, counts: bool) -> None:
    one = option()
    assert (unusual_contract(one, quoted(one, volume=volume, open_interest=interest, last=last)) is not None) is counts


def test_an_unknown_figure_is_no_zero() -> None:
    one = option()
    assert unusual_contract(one, quoted(one, volume=5_000, last=3.0)) is None
    figures = contract_figures({one: quoted(one), option(right="P"): NoData("quote")}, 100.0, NOON.date())
    assert (figures.short_dated_share, figures.otm_put_share, figures.skew) == (None, None, None)
    assert (figures.looked_at, figures.answered) == (2, 1)


def test_shares_and_skew_of_contracts() -> None:
    rows = {
        option(strike=100, right="C", days=3): {"volume": 300.0},
        option(strike=100, right="C", days=29): {"volume": 200.0, "implied_volatility": 0.30},
        option(strike=95, right="P", days=29): {"volume": 100.0, "implied_volatility": 0.36},
        option(strike=85, right="P", days=29): {"volume": 300.0, "implied_volatility": 0.40},
        option(strike=96, right="P", days=7): {"volume": 100.0},
        option(strike=70, right="P", days=29): {"implied_volatility": 0.90},
    }
    figures = contract_figures({one: quoted(one, **row) for one, row in rows.items()}, 100.0, NOON.date())
    assert figures.short_dated_share == pytest.approx(400 / 1_000)
    assert figures.otm_put_share == pytest.approx(400 / 500)
    assert figures.skew == pytest.approx(0.38 - 0.30)


def test_contracts_are_few_near_and_of_both_sides(market: FakeMarket) -> None:
    market.chain("AAA")
    asked = contracts_to_ask(market.chains["AAA"][0], 100.0, NOON.date(), 24)
    assert len(asked) == 24
    assert {one.right for one in asked} == {"C", "P"}
    assert {(one.expiry - NOON.date()).days for one in asked if one.expiry} == {1, 29}
    assert all(80 <= float(one.strike or 0) <= 115 for one in asked)


async def test_one_round_for_all_and_contracts_for_the_hot_alone(market: FakeMarket) -> None:
    for name in ("AAA", "BBB", "CCC"):
        market.add(name)
        market.chain(name)
    market.activity["BBB"] = activity(**WILD)
    market.option_quote = lambda one: quoted(one, volume=2_000.0, open_interest=500.0, last=1.0)
    found = await scan_options_flow(market, ["AAA", "bbb", "CCC", "AAA"])
    assert market.asked["option_activity"] == [["AAA", "BBB", "CCC"]]
    assert market.asked["option_chain"] == ["BBB"]
    assert market.calls["option_quotes"] == 1
    hot, cold = found["BBB"], found["AAA"]
    assert not isinstance(hot, Exception)
    assert not isinstance(cold, Exception)
    assert len(hot.unusual) == 24
    assert hot.unusual[0].ratio == pytest.approx(4)
    assert "busy" in str(cold.part("unusual").missing)


async def test_only_the_hottest_take_contract_lines(market: FakeMarket) -> None:
    for number, name in enumerate(("AAA", "BBB", "CCC")):
        market.add(name)
        market.chain(name)
        market.activity[name] = activity(call_volume=8_000.0 + 4_000 * number)
    market.option_quote = lambda one: quoted(one)
    await scan_options_flow(market, ["AAA", "BBB", "CCC"], FlowSettings(hot=1, most_hot=2, contracts_each=4))
    assert sorted(market.asked["option_chain"]) == ["BBB", "CCC"]
    assert [len(asked) for asked in market.asked["option_quotes"]] == [4, 4]


async def test_a_symbol_that_fails_leaves_the_others(market: FakeMarket) -> None:
    market.add("AAA")
    market.activity["BAD"] = NoPermission("options of BAD", "not subscribed")
    found = await scan_options_flow(market, ["AAA", "BAD", "ZZZ"])
    assert isinstance(found["BAD"], NoPermission)
    assert isinstance(found["ZZZ"], UnknownInstrument)
    assert not isinstance(found["AAA"], Exception)
    with pytest.raises(NoPermission):
        await get_options_flow_score(market, "BAD")


async def test_a_chain_that_fails_costs_the_contracts_part_alone(market: FakeMarket) -> None:
    market.add("AAA")
    market.activity["AAA"] = activity(**WILD)
    market.fails["option_chain"] = NoData("chain of AAA", "nothing is listed")
    found = await get_options_flow_score(market, "AAA")
    assert found.score is not None
    assert found.part("skew").missing == "nothing is listed"


async def test_a_lost_link_and_a_broker_without_options_are_told(market: FakeMarket) -> None:
    market.add("AAA")
    market.activity["AAA"] = activity(**WILD)
    market.fails["option_chain"] = LinkLost("chain", "gone")
    with pytest.raises(LinkLost):
        await scan_options_flow(market, ["AAA"])
    market.fails = {"option_activity": NotSupported("option activity", "not here")}
    with pytest.raises(NotSupported):
        await scan_options_flow(market, ["AAA"])
