"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class BrokerChoice(StrEnum):
    PAPER = "paper"
    IB = "ib"
    PORTAL = "portal"


BrokerOption = Annotated[
    BrokerChoice, typer.Option("--broker", help="paper: our gateway, no account; ib: your TWS or IB Gateway.")
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
StartOption = Annotated[str | None, typer.Option("--start", help="First day of a replay, YYYY-MM-DD.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Same seed and inputs, same run.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Forget the paper account and start with a new one.")]
