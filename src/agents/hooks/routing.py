"""Whose token it is: a US ticker goes to IB, cash is IB's cash, everything else is the host's own business."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

from ...brokers.domain.instrument import normalize_symbol
from ...brokers.errors import InvalidInstrument

#: A US stock or ETF, perhaps with a share class; five letters at most keep `BTCUSDT` and the like out.
_TICKER = re.compile(r"[A-Z]{1,5}(?:[ .\-/][A-Z]{1,2})?")


class Route(StrEnum):
    IB = "IB"
    CASH = "CASH"
    HOST = "HOST"


class Routing:
    """`listed` symbols are IB's whatever they look like; `crypto` names belong to the host although they look like
    tickers (there are ETFs called BTC, ETH and SOL); `cash` are the host's names for money (its USDC mint)."""

    def __init__(self, listed: Iterable[str] = (), crypto: Iterable[str] = (), cash: Iterable[str] = ()) -> None:
        self.listed = frozenset(normalize_symbol(symbol) for symbol in listed)
        self.crypto = frozenset(name.upper() for name in crypto)
        self.cash = frozenset(cash)

    def of(self, token: object) -> Route:
        """HOST for what is no text, a mint address, a crypto pair, or a name of the host's crypto lists."""
        if not isinstance(token, str):
            return Route.HOST
        text = token.strip()
        if text in self.cash:
            return Route.CASH
        try:
            symbol = normalize_symbol(text)
        except InvalidInstrument:
            return Route.HOST
        if symbol in self.listed:
            return Route.IB
        if text.upper() in self.crypto:
            return Route.HOST
        return Route.IB if _TICKER.fullmatch(text.upper()) else Route.HOST
