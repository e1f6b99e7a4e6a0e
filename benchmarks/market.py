"""The market that the benchmarks trade on, as both the gateway's process and the clients know it."""

from __future__ import annotations

from moondev_ibkr.brokers.simulation.contracts import derived_con_id

#: Every symbol's price in USD, unmoving; poured ticks stay within 20 cents of it.
PRICE = 100.0
#: The bid that ends a flood: no other tick carries it.
LAST = 9999.5
#: A print far above the market, which the detector of `tick_to_trade` is to find.
SURGE = 107.77


def symbol_names(count: int) -> list[str]:
    return [f"B{number:03d}" for number in range(count)]


def contract_number(symbol: str) -> int:
    """The paper gateway's conId of a symbol."""
    return derived_con_id(symbol)
