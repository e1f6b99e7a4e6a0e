"""The command line: thin commands over the package, and the only place that composes it."""

from __future__ import annotations

from typing import Annotated

import typer

from ..agents.trading.aegs_score import ScoreKind
from . import market_commands, order_commands
from .boundary import reported, run_async
from .doctor import doctor
from .gateway_command import gateway
from .opening import Opening
from .options import (
    BarsOption,
    BrokerChoice,
    BrokerOption,
    ConfigOption,
    JsonOption,
    LiveOption,
    SeedOption,
    StartOption,
)
from .run_command import RunOptions
from .run_command import run as run_agent

app = typer.Typer(
    name="moondev-ibkr",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="AI trading agents on Interactive Brokers, and a paper gateway that needs no account.",
)


@app.command()
@reported
def run(
    broker: BrokerOption = BrokerChoice.PAPER,
    symbols: Annotated[str, typer.Option("--symbols", help="Comma-separated tickers.")] = "",
    cycles: Annotated[int, typer.Option("--cycles", help="Sessions to trade.")] = 20,
    score: Annotated[ScoreKind, typer.Option("--score", help="Which AEGS score decides.")] = ScoreKind.LIVE,
    bars: BarsOption = None,
    start: StartOption = None,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    i_understand_live: LiveOption = False,
    json_output: JsonOption = False,
) -> int:
    """Let the AEGS agent trade: on real daily bars and the paper gateway, unless told otherwise."""
    opening = Opening(broker, config, i_understand_live, market_commands.paper_arguments(bars, start, seed))
    chosen = tuple(part.strip() for part in symbols.split(",") if part.strip())
    return run_async(run_agent(RunOptions(opening, chosen, cycles, score, json_output)))


app.command(name="gateway")(reported(gateway))
app.command(name="doctor")(reported(doctor))
market_commands.register(app)
order_commands.register(app)


def main() -> None:
    """Entry point of the `moondev-ibkr` script."""
    app()
