"""Commands that look at a list once for what is out of the ordinary now: radar, gaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from ..brokers.errors import InvalidRequest
from .boundary import FAILED, OK, print_json
from .market_commands import Tickers
from .opening import Opening, with_broker
from .opening_options import opens
from .options import JsonOption
from .run_report import make_console

if TYPE_CHECKING:
    from ..agents.analysis.extended_hours import ExtendedQuote
    from ..agents.analysis.radar import RadarRow
    from ..brokers.interactive_brokers.ib_adapter import IBAdapter


@opens(market=True, only_looks=True)
def radar(
    symbols: Tickers,
    *,
    opening: Opening,
    json_output: JsonOption = False,
) -> int:
    """Volume against the usual by now, gap, and range against ATR14, of a list in one round."""

    async def work(session: IBAdapter) -> int:
        from ..agents.analysis.radar import run_ibkr_radar

        report = await run_ibkr_radar(session, symbols)
        if json_output:
            print_json(
                {"time": report.time, "rows": [asdict(row) for row in report.rows], "left_out": dict(report.left_out)}
            )
            return FAILED if report.left_out else OK
        table = Table(title=f"Radar, {report.time:%Y-%m-%d %H:%M} UTC")
        for name in ("symbol", "session", "price", "gap", "volume", "range"):
            table.add_column(name, justify="left" if name in ("symbol", "session") else "right")
        table.add_column("events")
        for row in report.rows:
            table.add_row(*_radar_cells(row))
        return _shown(table, report.left_out, any_rows=bool(report.rows))

    return with_broker(opening, work)


@opens(market=True, only_looks=True)
def gaps(
    symbols: Tickers,
    *,
    opening: Opening,
    json_output: JsonOption = False,
) -> int:
    """Gaps before the open or after hours, whichever it is now; the widest first."""

    async def work(session: IBAdapter) -> int:
        from ..agents.analysis.extended_hours import scan_afterhours_gaps, scan_premarket_gaps
        from ..brokers.domain.sessions import Session

        now = (await session.market_hours(symbols[0])).session
        if now not in (Session.PRE, Session.POST):
            why = f"the session of {symbols[0]} is {now}"
            raise InvalidRequest("gaps", why, "ask before the open or after hours, or use: moondev-ibkr radar")
        scan = await (scan_premarket_gaps if now is Session.PRE else scan_afterhours_gaps)(session, symbols)
        if json_output:
            print_json(asdict(scan))
            return FAILED if scan.left_out else OK
        table = Table(title=f"Gaps, {scan.session}, {scan.time:%Y-%m-%d %H:%M} UTC")
        for name in ("symbol", "gap", "price", "from", "bid", "ask"):
            table.add_column(name, justify="left" if name == "symbol" else "right")
        for row in (*scan.found, *scan.quiet):
            table.add_row(*_gap_cells(row))
        return _shown(table, scan.left_out, any_rows=bool(scan.found or scan.quiet))

    return with_broker(opening, work)


def _shown(table: Table, left_out: Mapping[str, str], *, any_rows: bool) -> int:
    console = make_console()
    if any_rows:
        console.print(table)
    for name, why in left_out.items():
        console.print(f"[red]{escape(name)}[/]: {escape(why)}")
    return FAILED if left_out else OK


def _radar_cells(row: RadarRow) -> tuple[str, ...]:
    return (
        row.symbol,
        row.quote.session.value,
        _number(row.quote.price, "{:.2f}"),
        _number(row.gap_pct, "{:+.2f} %"),
        _number(row.rvol, "{:.2f}x"),
        _number(row.range_atr, "{:.2f} ATR"),
        ", ".join(event.kind.value for event in row.events),
    )


def _gap_cells(row: ExtendedQuote) -> tuple[str, ...]:
    prices = (_number(value, "{:.2f}") for value in (row.price, row.base, row.bid, row.ask))
    return (row.symbol, _number(row.gap_pct, "{:+.2f} %"), *prices)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
