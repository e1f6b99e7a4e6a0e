"""A broker by its name: paper whatever port the environment sets, with the host's limits beneath the user's."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from moondev_ibkr.agents.hooks.market_hours import regular_sessions
from moondev_ibkr.agents.hooks.named_brokers import broker_maker, host_settings
from moondev_ibkr.brokers.errors import LiveNotAllowed
from moondev_ibkr.brokers.registry import get_broker
from moondev_ibkr.cli.opening import Opening, settings_for
from moondev_ibkr.config.settings import load_settings


@pytest.fixture
def real_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of somebody who trades at IB's own paper account."""
    monkeypatch.setenv("IB_ENVIRONMENT", "paper")
    monkeypatch.setenv("IB_PORT", "4002")


@pytest.mark.usefixtures("real_account")
async def test_paper_is_the_simulation_whatever_port_is_set_for_another_environment() -> None:
    async with broker_maker("paper")() as broker:
        assert broker.name == "paper"
        assert broker.accounts()[0].startswith("DU000")
    assert settings_for(Opening()).environment == "simulation"


async def test_a_hosts_broker_has_an_entry_window_and_the_users_own_limit_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    async with broker_maker("paper")() as broker:
        assert broker.limits()["entry_window"].total_seconds() == 60  # type: ignore[attr-defined]
    monkeypatch.setenv("IB_RISK__ENTRY_WINDOW", "5")
    assert float(host_settings(load_settings()).risk["entry_window"]) == 5


def test_live_takes_the_second_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_ENVIRONMENT", "live")
    with pytest.raises(LiveNotAllowed):
        broker_maker("ib")
    assert broker_maker("ib", i_understand_live=True)


async def test_the_paper_broker_tells_the_hours_of_the_days_ahead() -> None:
    async with get_broker("paper", speed=None) as broker:
        sessions = regular_sessions(await broker.details("AAPL"))
        day = (await broker.market_time()).astimezone(ZoneInfo("America/New_York")).date()
    opens, closes = sessions[0]
    assert opens.date() == day
    assert opens.astimezone(UTC) == datetime(day.year, day.month, day.day, 13, 30, tzinfo=UTC)
    assert (closes - opens).total_seconds() == 6.5 * 3600
    assert all(a[1] <= b[0] for a, b in pairwise(sessions))
