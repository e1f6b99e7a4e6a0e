"""Commands that only look: quote, bars, account, positions, orders, costs."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..brokers.domain.market_data import Bar, BarSize, Quote
from ..brokers.errors import InvalidRequest
from ..brokers.subscription_costs import calculate_subscription_costs
from .boundary import FAILED, OK, print_json
from .opening import Opening, settings_for, with_broker
from .opening_options import opens
from .options import JsonOption
from .run_report import fill_json, make_console, order_json, order_text, position_json, position_table

if TYPE_CHECKING:
    from ..brokers.interactive_brokers.ib_adapter import IBAdapter

#: Fields of AccountSummary that `account` shows, in this order.
BALANCES = (
    "net_liquidation",
    "total_cash",
    "settled_cash",
    "buying_power",
    "available_funds",
    "excess_liquidity",
    "initial_margin",
    "maintenance_margin",
    "gross_position_value",
    "realized_pnl",
    "unrealized_pnl",
    "day_trades_remaining",
)
Tickers = Annotated[list[str], typer.Argument(help="Tickers, e.g. AAPL MSFT BRK.B.")]


@opens(market=True, only_looks=True)
def quote(
    symbols: Tickers,
    *,
    opening: Opening,
    json_output: JsonOption = False,
) -> int:
    """Quotes of a list of symbols, asked for in one round."""

    async def work(session: IBAdapter) -> int:
        found = await session.quotes(symbols)
        missing = session.quote_errors
        if json_output:
            body = {name: _quote_json(one) for name, one in found.items()}
            print_json({"quotes": body, "errors": {name: str(error) for name, error in missing.items()}})
        else:
            console = make_console()
            console.print(_quote_table(list(found.values())))
            for name, error in missing.items():
                console.print(f"[red]{name}[/]: {escape(str(error))}")
        return FAILED if missing else OK

    return with_broker(opening, work)


@opens(market=True, only_looks=True)
def bars(
    symbol: Annotated[str, typer.Argument(help="Ticker.")],
    size: Annotated[str, typer.Option("--size", help="1m 5m 15m 1h 4h 1d 1w 1M, or IB's own words.")] = "1d",
    count: Annotated[int, typer.Option("--count", help="How many, counted back from now.")] = 20,
    *,
    opening: Opening,
    json_output: JsonOption = False,
) -> int:
    """Historical bars of a symbol."""
    chosen = BarSize.parse(size)

    async def work(session: IBAdapter) -> int:
        found = await session.bars(symbol, chosen, count=count)
        if json_output:
            print_json({"symbol": symbol, "size": chosen.value, "bars": [asdict(bar) for bar in found]})
        else:
            make_console().print(_bar_table(symbol, chosen, found))
        return OK

    return with_broker(opening, work)


@opens(market=True, fresh=True)
def account(
    *,
    opening: Opening,
    json_output: JsonOption = False,
) -> int:
    """Balances, margin and P&L of every account of the session."""

    async def work(session: IBAdapter) -> int:
        summaries = [await session.account(name) for name in session.accounts()]
        if json_output:
            print_json({"accounts": [asdict(summary) for summary in summaries]})
            return OK
        table = Table(title="Account")
        table.add_column("")
        for summary in summaries:
            table.add_column(summary.account, justify="right")
        for field in BALANCES:
            values = [getattr(summary, field) for summary in summaries]
            table.add_row(field.replace("_", " "), *(_shown(value) for value in values))
        make_console().print(table)
        return OK

    return with_broker(opening, work)


@opens()
def positions(
    *,
    opening: Opening,
    json_output: JsonOption = False,
) -> int:
    """Open positions, foreign ones included."""

    async def work(session: IBAdapter) -> int:
        found = await session.positions()
        if json_output:
            print_json({"positions": [position_json(position) for position in found]})
        elif found:
            make_console().print(position_table(found))
        else:
            make_console().print("no positions")
        return OK

    return with_broker(opening, work)


@opens()
def orders(
    every: Annotated[bool, typer.Option("--all", help="Done orders too.")] = False,
    *,
    opening: Opening,
    json_output: JsonOption = False,
) -> int:
    """Working orders, foreign ones flagged; with --all every order of the journal and its fills."""

    async def work(session: IBAdapter) -> int:
        found = session.orders() if every else session.open_orders()
        if json_output:
            fills = [fill_json(fill) for fill in session.fills()] if every else []
            print_json({"orders": [order_json(order) for order in found], "fills": fills})
            return OK
        table = Table(title="Orders")
        for name in ("key", "state", "order", "filled"):
            table.add_column(name, no_wrap=name == "key", overflow="fold")
        table.add_column("reason", overflow="ellipsis", no_wrap=True)
        for order in found:
            table.add_row(
                order.key + (" (foreign)" if order.foreign else ""),
                order.state.value,
                order_text(order),
                f"{order.filled.normalize():f}",
                Text(order.reason or order.intent.reason),
            )
        make_console().print(table if found else "no orders")
        return OK

    return with_broker(opening, work)


@opens()
def costs(
    symbols: Tickers,
    professional: Annotated[bool | None, typer.Option(help="How exchanges class you.")] = None,
    commissions: Annotated[str, typer.Option("--commissions", help="USD of commissions a month.")] = "0",
    options: Annotated[bool, typer.Option("--options", help="Option quotes too.")] = False,
    depth: Annotated[bool, typer.Option("--depth", help="Order books too.")] = False,
    baseline: Annotated[str | None, typer.Option("--baseline", help="A row of the table to compare with.")] = None,
    *,
    opening: Opening,
    json_output: JsonOption = False,
) -> int:
    """What market data for these symbols costs a month, and what commissions waive of it."""
    settings = settings_for(opening)
    chosen = settings.professional if professional is None else professional
    try:
        spent = Decimal(commissions)
    except InvalidOperation:
        raise InvalidRequest(f"--commissions {commissions!r}", "it is not a number", "write it like 12.50") from None
    found = calculate_subscription_costs(
        symbols, professional=chosen, monthly_commissions=spent, options=options, depth=depth, baseline=baseline
    )
    if json_output:
        print_json({**asdict(found), "monthly": found.monthly, "waived": found.waived, "saving": found.saving})
        return OK
    table = Table(title="Market data, USD a month")
    for name in ("subscription", "count", "price", "due", "as of", "source"):
        table.add_column(name)
    for line in found.lines:
        note = line.source if line.verified else f"{line.source} (unverified)"
        table.add_row(line.name, str(line.count), f"{line.monthly:.2f}", f"{line.due:.2f}", str(line.as_of), note)
    console = make_console()
    console.print(table)
    console.print(f"total {found.monthly:.2f} USD a month, {found.waived:.2f} waived")
    if found.saving is not None:
        console.print(f"{found.saving:.2f} USD a month less than {found.baseline}")
    for symbol in found.uncovered:
        console.print(f"[yellow]no subscription in the table covers {symbol}[/]")
    return OK


def _shown(value: object) -> str:
    return "–" if value is None else f"{value:,.2f}" if isinstance(value, Decimal) else str(value)


def _quote_json(quote: Quote) -> dict[str, object]:
    body = asdict(quote)
    return {**body, "instrument": str(quote.instrument)}


def _quote_table(found: list[Quote]) -> Table:
    table = Table(title="Quotes")
    for name in ("symbol", "bid", "ask", "last", "close", "volume", "data", "time"):
        table.add_column(name, justify="left" if name in ("symbol", "data", "time") else "right")
    for quote in found:
        prices = [_price(value) for value in (quote.bid, quote.ask, quote.last, quote.close)]
        volume = "–" if quote.volume is None else f"{quote.volume:,.0f}"
        table.add_row(str(quote.instrument), *prices, volume, quote.data_type.value, f"{quote.time:%Y-%m-%d %H:%M:%S}")
    return table


def _bar_table(symbol: str, size: BarSize, found: list[Bar]) -> Table:
    table = Table(title=f"{symbol}, {size.value}")
    for name in ("start (UTC)", "open", "high", "low", "close", "volume", "complete"):
        table.add_column(name, justify="left" if name.startswith("start") else "right")
    for bar in found:
        prices = [_price(value) for value in (bar.open, bar.high, bar.low, bar.close)]
        volume = "–" if bar.volume is None else f"{bar.volume:,.0f}"
        table.add_row(f"{bar.time:%Y-%m-%d %H:%M}", *prices, volume, "yes" if bar.complete else "no")
    return table


def _price(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
