"""Times as clients write them and as TWS does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from moondev_ibkr.brokers.simulation.tws.times import local, parse_moment, stamp, utc_text

NOON = datetime(2026, 4, 15, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("20260415-16:00:00", NOON),
        ("20260415 12:00:00 US/Eastern", NOON),
        ("20260415 12:00:00 America/New_York", NOON),
        ("20260415 12:00:00", NOON),
        ("20260415 12:00", NOON),
        ("20260415 11:00:00 US/Central", NOON),
        ("20260415  12:00:00 EST", NOON),
        ("12:00:00", NOON),
        ("20260415 16:00:00 UTC", NOON),
        ("20260415", datetime(2026, 4, 15, 4, tzinfo=UTC)),
        ("20260115 12:00:00", datetime(2026, 1, 15, 17, tzinfo=UTC)),
    ],
)
def test_moments_of_clients(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOON) == moment


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2026-04-15", "20261315 12:00:00", "20260415 25:00:00", "20260415 12:00:00 Mars/Base"]
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_moment(text, NOON)


def test_stamps() -> None:
    assert stamp(NOON) == "20260415 12:00:00 US/Eastern"
    assert local(NOON, "America/Chicago") == "20260415-11:00:00"
    assert utc_text(NOON) == "20260415-16:00:00"
