"""radar and gaps, as data and for eyes, over a gateway that runs already."""

from __future__ import annotations

from .conftest import Command


def test_the_radar_measures_a_list_and_names_what_it_cannot(on_market: Command) -> None:
    told = on_market("radar", "AAPL", "MSFT", "ZZZZ", "--json")
    assert told.code == 1
    assert {row["symbol"] for row in told.data["rows"]} == {"AAPL", "MSFT"}
    assert all(isinstance(row["quote"]["gap_pct"], float) for row in told.data["rows"])
    assert "ZZZZ" in told.data["left_out"]


def test_the_radar_for_eyes(on_market: Command) -> None:
    told = on_market("radar", "AAPL", "MSFT")
    assert told.code == 0
    assert "AAPL" in told.out
    assert "RTH" in told.out
    assert told.err == ""


def test_gaps_in_regular_hours_say_what_to_ask_instead(on_market: Command) -> None:
    told = on_market("gaps", "AAPL")
    assert told.code == 2
    assert "radar" in told.err
