"""Where market time begins when it runs by itself: inside a session, past the first moments, going on where it was."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from moondev_ibkr.brokers.errors import InvalidData
from moondev_ibkr.brokers.simulation.bars_files import bar_symbols
from moondev_ibkr.brokers.simulation.gateway import Gateway
from moondev_ibkr.brokers.simulation.gateway_settings import ClockMode, GatewaySettings
from moondev_ibkr.brokers.simulation.paper_trading import PaperBroker
from moondev_ibkr.brokers.simulation.state_file import AccountFile, is_untouched

OPEN = datetime(2008, 9, 19, 13, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_a_gateway_for_everybody_begins_after_the_open() -> None:
    assert Gateway(GatewaySettings(settle=MINUTE)).now == OPEN + MINUTE
    assert Gateway(GatewaySettings(settle=MINUTE, clock=ClockMode.CONTROL)).now == OPEN


def test_an_account_kept_after_the_close_goes_on_in_the_next_session(tmp_path: Path) -> None:
    settings = GatewaySettings(settle=MINUTE, state_file=tmp_path / "account.json")
    first = Gateway(settings)
    first.exchange.advance_to(datetime(2008, 9, 19, 21, 0, tzinfo=UTC))
    first.save()
    assert Gateway(settings).now == datetime(2008, 9, 22, 13, 31, tzinfo=UTC)


def test_an_account_kept_inside_a_session_goes_on_there(tmp_path: Path) -> None:
    settings = GatewaySettings(settle=MINUTE, state_file=tmp_path / "account.json")
    first = Gateway(settings)
    first.exchange.advance_to(OPEN + timedelta(hours=2))
    first.save()
    assert Gateway(settings).now == OPEN + timedelta(hours=2)


def test_an_account_is_untouched_until_it_trades(tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    assert is_untouched(path)
    gateway = Gateway(GatewaySettings(state_file=path))
    gateway.save()
    assert is_untouched(path)
    kept = AccountFile(gateway.settings).read()
    assert kept is not None
    AccountFile(gateway.settings).write(kept.market_time, kept.exchange | {"executions": [{}]})
    assert not is_untouched(path)
    path.write_text("no account")
    assert not is_untouched(path)


async def test_a_paper_broker_that_runs_by_itself_begins_after_the_open() -> None:
    async with PaperBroker.from_bars(start=date(2009, 1, 5)) as broker:
        assert await broker.market_time() >= datetime(2009, 1, 5, 14, 31, tzinfo=UTC)
    async with PaperBroker.from_bars(start=date(2009, 1, 5), speed=None) as still:
        assert await still.market_time() == datetime(2009, 1, 5, 14, 30, tzinfo=UTC)


def test_symbols_of_bar_files_are_their_stems(tmp_path: Path) -> None:
    for name in ("KO.csv", "brk.b.csv", "PG.parquet", "notes.txt"):
        (tmp_path / name).write_text("")
    assert bar_symbols([tmp_path]) == ["KO", "PG", "BRK B"]
    (tmp_path / "no$symbol.csv").write_text("")
    with pytest.raises(InvalidData, match="not a symbol"):
        bar_symbols([tmp_path])
