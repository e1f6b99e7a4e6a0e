"""What advice can do to an order: less, nearer, or nothing. Never more."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moondev_ibkr.agents.trading.caution import Caution, buying_cautions, cautious_quantity, tightened_stop
from moondev_ibkr.brokers.errors import InvalidRequest

FACTORS = st.decimals(0, 1, places=6)
CAUTIONS = st.lists(st.builds(Caution, FACTORS, st.just("advice"), st.none() | st.decimals("0.001", "0.999", places=3)))


@given(st.decimals(0, 10_000_000, places=3), CAUTIONS)
def test_nothing_that_is_advised_makes_an_order_larger(base: Decimal, cautions: list[Caution]) -> None:
    quantity = cautious_quantity(base, cautions)
    assert 0 <= quantity <= base
    assert quantity == quantity.to_integral_value()


@given(st.integers(0, 1_000_000), CAUTIONS, st.builds(Caution, FACTORS, st.just("one more")))
def test_one_more_advice_never_adds_a_share(base: int, cautions: list[Caution], more: Caution) -> None:
    assert cautious_quantity(Decimal(base), [*cautions, more]) <= cautious_quantity(Decimal(base), cautions)


@given(st.decimals("0.001", "0.999", places=3), CAUTIONS)
def test_a_stop_only_comes_nearer(base: Decimal, cautions: list[Caution]) -> None:
    assert 0 < tightened_stop(base, cautions) <= base


@given(st.dictionaries(st.sampled_from(["confidence", "sentiment", "news", "other"]), st.floats() | st.integers()))
def test_whatever_numbers_a_model_writes_the_size_is_the_base_at_most(metadata: dict[str, Any]) -> None:
    try:
        cautions = buying_cautions(metadata)
    except InvalidRequest:
        return
    assert cautious_quantity(Decimal(100), cautions) <= 100


@pytest.mark.parametrize("factor", [Decimal("1.01"), 8.1, -0.1, float("nan"), float("inf"), "1", "high", True, None])
def test_a_factor_outside_its_range_is_refused_and_not_bent_into_it(factor: Any) -> None:
    with pytest.raises(InvalidRequest):
        Caution(factor, "a model's idea")


@pytest.mark.parametrize("fraction", [0, 1, Decimal("1.5"), -0.1, "near"])
def test_a_stop_that_is_no_fraction_is_refused(fraction: Any) -> None:
    with pytest.raises(InvalidRequest):
        Caution(Decimal(1), "a model's idea", fraction)


@pytest.mark.parametrize(
    ("metadata", "shares"),
    [
        ({}, 100),
        ({"confidence": 0.5}, 50),
        ({"confidence": 50}, 50),
        ({"confidence": 100}, 100),
        ({"sentiment": -0.25}, 75),
        ({"sentiment": 0.9}, 100),
        ({"sentiment": "Bearish"}, 50),
        ({"news": {"factor": 0.1, "reason": "lawsuit"}}, 10),
        ({"news": -1, "sentiment": 1, "confidence": 1}, 0),
        ({"confidence": 0.5, "sentiment": -0.5}, 25),
        ({"indicators": {"rsi": 28}, "reason": "oversold"}, 100),
    ],
)
def test_what_a_signal_s_metadata_leaves_of_100_shares(metadata: dict[str, Any], shares: int) -> None:
    assert cautious_quantity(Decimal(100), buying_cautions(metadata)) == shares


@pytest.mark.parametrize(
    "metadata",
    [
        {"confidence": "very high"},
        {"confidence": 101},
        {"sentiment": "to the moon"},
        {"sentiment": 8.1},
        {"news": ["a", "b"]},
        {"news": {"reason": "none given"}},
        {"news": {"factor": 2}},
        {"stop_fraction": 1.2},
    ],
)
def test_advice_that_cannot_be_read_is_refused_by_name(metadata: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        buying_cautions(metadata)
