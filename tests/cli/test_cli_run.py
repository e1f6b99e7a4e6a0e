"""`run`: what it trades, on whose bars, and what it says."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from moondev_ibkr.agents.trading.aegs_score import ScoreKind
from moondev_ibkr.brokers.calendar import MarketCalendar
from moondev_ibkr.cli.options import ScoreChoice

from .conftest import Command


def falling_bars(count: int) -> pd.DataFrame:
    """Daily bars that climb gently and then drop sharply, which every AEGS score likes."""
    calendar = MarketCalendar()
    days = [day.day for day in calendar.trading_days(date(2023, 1, 3), date(2023, 1, 3) + timedelta(days=count * 2))]
    closes = [100 + 0.05 * number for number in range(count)]
    for number in range(190, count):
        closes[number] = closes[number - 1] * 0.96
    return pd.DataFrame(
        {
            "Date": pd.to_datetime(days[:count]),
            "Open": [round(close * 1.01, 2) for close in closes],
            "High": [round(close * 1.02, 2) for close in closes],
            "Low": [round(close * 0.99, 2) for close in closes],
            "Close": [round(close, 2) for close in closes],
            "Volume": [1_000_000 if number < 190 else 3_000_000 for number in range(count)],
        }
    )


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same bars as CSV and as Parquet, under two symbols."""
    folder = tmp_path_factory.mktemp("bars")
    frame = falling_bars(205)
    frame.to_csv(folder / "DROP.csv", index=False)
    frame.to_parquet(folder / "SLIDE.parquet")
    return folder


def test_a_folder_names_the_symbols_and_they_are_traded(command: Command, bars: Path) -> None:
    told = command("run", "--bars", str(bars), "--cycles", "2", "--json")
    assert told.code == 0, told.err
    report = told.data
    assert {order["symbol"] for order in report["orders"]} == {"DROP", "SLIDE"}
    assert len(report["fills"]) >= 2
    assert {"orders", "fills", "positions", "refusals", "pnl", "costs", "latency"} <= set(report)
    entries = [order for order in report["orders"] if order["leg"] == 0]
    assert {order["state"] for order in entries} == {"FILLED"}
    stops = [order for order in report["orders"] if order["type"] == "STP"]
    assert all(order["tif"] == "GTC" for order in stops)
    assert len(stops) == len(entries)


def test_the_same_seed_trades_the_same(command: Command, bars: Path) -> None:
    arguments = ("run", "--bars", str(bars / "DROP.csv"), "--cycles", "2", "--seed", "5", "--json")
    first, second = command(*arguments).data, command(*arguments).data
    for report in (first, second):
        del report["journal"], report["latency"]
        for order in report["orders"]:
            # Between two steps of market time our own clock runs on.
            del order["created_at"], order["updated_at"]
    assert first == second


def test_a_run_without_entries_names_its_best_score(command: Command) -> None:
    told = command("run", "--symbols", "IBM", "--cycles", "1", "--start", "2009-01-05", "--score", "enhanced")
    assert told.code == 0, told.err
    assert "No entry: the highest score was" in told.out
    assert "Net liquidation" in told.out


def test_prices_that_end_end_the_run(command: Command, bars: Path) -> None:
    told = command("run", "--bars", str(bars / "DROP.csv"), "--cycles", "8")
    assert told.code == 0, told.err
    assert "the prices end here" in told.out


def test_unknown_symbols_alone_are_an_error_and_beside_others_a_line(command: Command) -> None:
    told = command("run", "--symbols", "XYZ", "--cycles", "1")
    assert told.code == 2
    assert "XYZ" in told.err
    mixed = command("run", "--symbols", "IBM,XYZ", "--cycles", "1", "--start", "2009-01-05", "--json")
    assert mixed.code == 0
    assert [refusal["symbol"] for refusal in mixed.data["refusals"]] == ["XYZ"]


def test_the_scores_that_can_be_chosen_are_the_agents() -> None:
    assert {choice.value for choice in ScoreChoice} == {kind.value for kind in ScoreKind}
