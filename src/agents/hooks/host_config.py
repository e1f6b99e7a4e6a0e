"""The host's `src/config.py` while IB is attached: which exchange, which symbols, what counts as cash."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType

from ...brokers.domain.instrument import normalize_symbol
from ...brokers.errors import InvalidInstrument
from .exchange_manager import IB_NAMES
from .patches import Patches

#: Lists of the host's config that a user may have written tickers into, the most telling first.
SYMBOL_LISTS = ("IB_SYMBOLS", "IBKR_SYMBOLS", "ROBINHOOD_SYMBOLS")
#: Lists and tables of names that look like tickers and are crypto.
CRYPTO_LISTS = ("ROBINHOOD_CRYPTO", "HYPERLIQUID_SYMBOLS", "TOKEN_EXCHANGE_MAP")
#: Names that stand for money.
CASH_NAMES = ("USDC_ADDRESS",)
#: The host's own cash mint, for a host whose config lacks it.
USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"


def hook(module: ModuleType, symbols: tuple[str, ...], patches: Patches) -> None:
    """EXCHANGE becomes "ib", the monitored list holds the tickers (the same list object: star imports share it), and
    get_active_tokens answers for it."""
    patches.set(module, "EXCHANGE", "ib")
    patches.set(module, "IB_SYMBOLS", list(symbols))
    monitored = getattr(module, "MONITORED_TOKENS", None)
    if isinstance(monitored, list):
        patches.fill_list(monitored, symbols)
    original: Callable[[], list[str]] | None = getattr(module, "get_active_tokens", None)

    def get_active_tokens() -> list[str]:
        """The tickers while the exchange is IB, the host's own list otherwise."""
        if original is None or str(module.EXCHANGE).lower() in IB_NAMES:
            return list(module.IB_SYMBOLS)
        return original()

    patches.set(module, "get_active_tokens", get_active_tokens)


def symbols_of(module: ModuleType) -> tuple[str, ...]:
    """The tickers that the user's own config names; empty when it names none."""
    for name in SYMBOL_LISTS:
        rows = getattr(module, name, None)
        if isinstance(rows, list | tuple) and rows:
            return tuple(_tickers(rows))
    return ()


def crypto_of(module: ModuleType) -> frozenset[str]:
    """Names that the config's crypto lists hold."""
    return frozenset(str(row).upper() for name in CRYPTO_LISTS for row in getattr(module, name, None) or ())


def cash_of(module: ModuleType) -> frozenset[str]:
    return frozenset({USDC} | {str(getattr(module, name)) for name in CASH_NAMES if getattr(module, name, None)})


def _tickers(rows: Iterable[object]) -> list[str]:
    found = []
    for row in rows:
        try:
            found.append(normalize_symbol(str(row)))
        except InvalidInstrument:
            continue
    return list(dict.fromkeys(found))
