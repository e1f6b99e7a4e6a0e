"""Times and sentinels as IB sends them."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from ib_async.util import UNSET_DOUBLE
from moondev_ibkr.brokers.errors import InvalidData
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.sentinels import (
    GREEK_SENTINELS,
    greek_or_none,
    integer_or_none,
    number_or_none,
    price_or_none,
)
from moondev_ibkr.brokers.interactive_brokers.ib_async_client.timestamps import (
    ZONE_ALIASES,
    parse_bar_time,
    parse_ib_time,
    zone,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20250102-15:00:00", "2025-01-02T15:00:00+00:00"),
        ("20250102 10:00:00 US/Eastern", "2025-01-02T15:00:00+00:00"),
        ("20250702 10:00:00 US/Eastern", "2025-07-02T14:00:00+00:00"),
        ("20250102 10:00:00 EST", "2025-01-02T15:00:00+00:00"),
        ("20250702 10:00:00 EST", "2025-07-02T14:00:00+00:00"),
        ("20250102 16:00:00 Central European Standard Time", "2025-01-02T15:00:00+00:00"),
        ("20250102 16:00:00 Mitteleuropäische Zeit", "2025-01-02T15:00:00+00:00"),
        ("20250102 16:00:00 MET", "2025-01-02T15:00:00+00:00"),
        ("20250102  16:00:00", "2025-01-02T15:00:00+00:00"),
        ("20250102 16:00:00", "2025-01-02T15:00:00+00:00"),
        ("2025-01-02 16:00:00.0", "2025-01-02T15:00:00+00:00"),
        ("1735830000", "2025-01-02T15:00:00+00:00"),
        ("20250102", "2025-01-01T23:00:00+00:00"),
    ],
)
def test_every_form_becomes_aware_utc(text: str, expected: str) -> None:
    moment = parse_ib_time(text, "Europe/Berlin")
    assert moment.isoformat() == expected
    assert moment.tzinfo is UTC


def test_without_a_declared_zone_a_naive_time_is_utc() -> None:
    assert parse_ib_time("20250102 16:00:00") == datetime(2025, 1, 2, 16, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "20250102T10", "20251302-10:00:00", "20250102 25:00:00 UTC"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidData):
        parse_ib_time(text)


def test_an_unknown_zone_is_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidData, match="ZONE_ALIASES"):
        parse_ib_time("20250102 10:00:00 Middle Earth Time")


def test_c27_every_alias_leads_to_a_zone() -> None:
    for name in ZONE_ALIASES:
        assert isinstance(zone(name), ZoneInfo)
        assert zone(name.upper()) is zone(name.upper())


def test_bars_are_dated_or_timed() -> None:
    assert parse_bar_time("20250102") == date(2025, 1, 2)
    assert parse_bar_time("1735830000") == datetime(2025, 1, 2, 15, tzinfo=UTC)
    with pytest.raises(InvalidData):
        parse_bar_time("20251340")


@pytest.mark.parametrize("value", [None, "", UNSET_DOUBLE, str(UNSET_DOUBLE), -UNSET_DOUBLE, math.nan, math.inf])
def test_unset_numbers_are_none(value: float | str | None) -> None:
    assert number_or_none(value) is None


def test_numbers_stay_numbers() -> None:
    assert number_or_none("-1") == -1.0
    assert number_or_none(0) == 0.0
    assert integer_or_none("7") == 7
    assert integer_or_none(2**31 - 1) is None
    assert integer_or_none("9223372036854775807") is None
    assert integer_or_none("") is None


@pytest.mark.parametrize("value", [-1, 0, None, math.nan, UNSET_DOUBLE])
def test_d06_no_price_is_none(value: float | None) -> None:
    assert price_or_none(value) is None


def test_prices_stay_prices() -> None:
    assert price_or_none(0.0001) == 0.0001


@pytest.mark.parametrize("name", sorted(GREEK_SENTINELS))
def test_d17_what_was_not_computed_is_none(name: str) -> None:
    assert greek_or_none(name, GREEK_SENTINELS[name]) is None
    assert greek_or_none(name, 0.0) == 0.0
    assert greek_or_none(name, -0.5) == -0.5
