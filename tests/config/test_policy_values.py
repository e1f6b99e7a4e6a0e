"""Limits from plain values: every field reads what a file or the environment can hold, and refuses the rest."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from decimal import Decimal

import pytest
from moondev_ibkr.brokers.errors import ConfigurationError
from moondev_ibkr.brokers.risk import RiskPolicy

D = Decimal
VALUES = {
    "max_position_value": ("2500.50", D("2500.50")),
    "max_exposure": (20_000, D(20_000)),
    "max_daily_loss": (0, D(0)),
    "max_concentration": (0.1, D("0.1")),
    "max_order_value": ("1e3", D(1_000)),
    "max_order_quantity": (100, D(100)),
    "symbol_limits": ("tsla=2000,GME=500", {"TSLA": D(2_000), "GME": D(500)}),
    "max_orders_per_minute": ("5", 5),
    "max_orders_per_day": (50, 50),
    "max_open_orders_per_side": (3, 3),
    "collar_bps": ("50", D(50)),
    "exit_collar_bps": (500, D(500)),
    "max_quote_age": (2.5, timedelta(seconds=2.5)),
    "allow_delayed_quotes": ("yes", True),
    "open_blackout": ("60", timedelta(minutes=1)),
    "duplicate_window": (0, timedelta(0)),
    "entry_window": ("60", timedelta(minutes=1)),
    "queue_outside_session": ("on", True),
    "restricted": (["gme", "BRK-B"], frozenset({"GME", "BRK B"})),
    "read_only": (True, True),
    "allow_short": ("false", False),
    "min_day_trades_remaining": (2, 2),
    "margin_buffer": ("500", D(500)),
}


def test_every_limit_can_be_set():
    assert set(VALUES) == {field.name for field in fields(RiskPolicy)}


@pytest.mark.parametrize("name", VALUES)
def test_a_limit_from_plain_values(name):
    given, meant = VALUES[name]
    assert getattr(RiskPolicy.from_settings({name: given}), name) == meant


@pytest.mark.parametrize("name", VALUES)
def test_a_limit_that_cannot_be_is_named(name):
    with pytest.raises(ConfigurationError, match=name) as caught:
        RiskPolicy.from_settings({name: {"not": "a value"} if name != "symbol_limits" else "TSLA"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_exposure", -1),
        ("max_exposure", "NaN"),
        ("max_exposure", "Infinity"),
        ("max_concentration", -0.1),
        ("max_orders_per_day", -1),
        ("max_orders_per_day", 1.5),
        ("max_quote_age", -1),
        ("restricted", "not a ticker!"),
        ("symbol_limits", {"??": 1}),
        ("allow_short", "perhaps"),
        ("max_exposures", 1),
    ],
)
def test_impossible_limits(name, value):
    with pytest.raises(ConfigurationError):
        RiskPolicy.from_settings({name: value})


def test_text_lists_may_be_empty():
    assert RiskPolicy.from_settings({"restricted": ""}).restricted == frozenset()
