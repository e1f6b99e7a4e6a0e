"""The market of the trading agents' tests, for what must not follow from a story."""

from __future__ import annotations

from tests.agents.trading.conftest import market

__all__ = ["market"]
