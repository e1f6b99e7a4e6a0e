"""Options that several commands share."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..brokers.errors import InvalidRequest


class BrokerChoice(StrEnum):
    PAPER = "paper"
    IB = "ib"
    PORTAL = "portal"


class ScoreChoice(StrEnum):
    """The AEGS scores; `ScoreKind` itself would import pandas into every command."""

    LIVE = "live"
    ENHANCED = "enhanced"


BrokerOption = Annotated[
    BrokerChoice,
    typer.Option("--broker", help="paper: our gateway, no account; ib: your TWS or IB Gateway; portal: Client Portal."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print data instead of tables.")]
LiveOption = Annotated[
    bool, typer.Option("--i-understand-live", help="The second step of live trading, beside IB_ENVIRONMENT=live.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="A TOML file with settings.")]
BarsOption = Annotated[
    list[Path] | None,
    typer.Option("--bars", help="OHLCV files or folders (CSV, Parquet) for the paper market; repeatable."),
]
StartOption = Annotated[str | None, typer.Option("--start", help="First day of the paper market, YYYY-MM-DD.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Same seed and inputs, same run.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Put the paper account aside and start with a new one.")]


def parse_day(text: str | None, option: str = "--start") -> date | None:
    """Raises InvalidRequest for what is no date."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{option} {text}", "it is not a date", "write YYYY-MM-DD") from None


def parse_symbols(text: str) -> tuple[str, ...]:
    """The tickers of a comma-separated list, in order."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
