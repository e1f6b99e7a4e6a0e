"""Whose token it is."""

from __future__ import annotations

import pytest
from moondev_ibkr.agents.hooks.routing import Route, Routing

USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
HOST = Routing(listed=["SOL"], crypto=["BTC", "ETH", "SOL"], cash=[USDC])


@pytest.mark.parametrize("token", ["AAPL", "aapl", "F", "BRK-B", "BRK.B", "GOOGL", "SOL"])
def test_a_ticker_goes_to_ib_and_a_listed_name_does_whatever_it_looks_like(token: str) -> None:
    assert HOST.of(token) is Route.IB


@pytest.mark.parametrize(
    "token",
    [
        "9BB6NFEcjBCtnNLFko2FqVQBq8HHM13kCyYcdQbgpump",
        "So11111111111111111111111111111111111111111",
        "BTC",
        "eth",
        "BTCUSDT",
        "SOL-USD",
        "^VIX",
        "ES=F",
        "",
        None,
        12,
    ],
)
def test_mints_crypto_and_what_is_no_ticker_stay_the_hosts(token: object) -> None:
    assert HOST.of(token) is Route.HOST


def test_the_hosts_cash_mint_is_the_accounts_cash() -> None:
    assert HOST.of(USDC) is Route.CASH
