"""What a run did, once as data (`--json`) and once for eyes. Both are made from the same Summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..agents.analysis.report import AnalysisRow
from ..agents.trading.aegs_agent import Action, Signal
from ..brokers.domain.account import AccountSummary, Position
from ..brokers.domain.order import Fill, Order
from ..brokers.domain.order_states import OrderState

#: How to switch a model on, in one line.
SWITCH_ON = "No language model was asked. To ask one: moondev-ibkr analyze AAPL --small llama3.1:8b (your Ollama)."
#: What the diary table colours; everything else stays plain.
_STYLES: Mapping[str, str] = {
    "ENTER": "bold green",
    "EXIT": "bold yellow",
    "FILL": "cyan",
    "STOP FILL": "bold red",
    "TARGET FILL": "bold green",
    "EXIT FILL": "yellow",
    "REFUSED": "magenta",
    "REDUCED": "magenta",
    "FAILED": "red",
    "LEFT OUT": "red",
    "ALARM": "bold red",
}
#: Stages of an order's way, and of the data's, that the summary shows, in this order.
LATENCY_STAGES: tuple[tuple[str, str], ...] = (
    ("gate", "risk rules"),
    ("journal", "journal (synced)"),
    ("place_to_sent", "place → sent"),
    ("place_to_ack", "place → acknowledged"),
    ("place_to_fill", "place → filled"),
    ("tick", "tick → consumer"),
    ("round_trip", "round trip"),
)


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything a run leaves behind. `started_with` is the net liquidation at its start, None when not told. `stale`:
    the broker no longer answered, and positions and account are as they were last seen. `best` is the highest score of
    the run, None when nothing could be scored; entries begin at `entry_score`. `analysis` is how the symbols stand at
    the end, by rules; empty when there was no time for it."""

    broker: str
    first: datetime
    last: datetime
    cycles: int
    actions: tuple[Action, ...]
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    positions: tuple[Position, ...]
    account: AccountSummary
    started_with: Decimal | None
    latency: Mapping[str, Mapping[str, float]]
    journal: str
    stale: bool = False
    best: Signal | None = None
    entry_score: int = 0
    analysis: tuple[AnalysisRow, ...] = ()

    @property
    def commissions(self) -> Decimal:
        return sum((fill.commission or Decimal(0) for fill in self.fills), Decimal(0))

    @property
    def realized(self) -> Decimal:
        """Sum over all fills, commissions included; the account's own figure starts anew every day."""
        return sum((fill.realized_pnl or Decimal(0) for fill in self.fills), Decimal(0))

    @property
    def traded(self) -> Decimal:
        """Sum of the notional of all fills."""
        return sum((fill.quantity * fill.price for fill in self.fills), Decimal(0))

    @property
    def profit(self) -> Decimal | None:
        if self.account.net_liquidation is None or self.started_with is None:
            return None
        return self.account.net_liquidation - self.started_with

    def to_json(self) -> dict[str, Any]:
        """The object that `run --json` prints; amounts and quantities as strings, times as ISO 8601 UTC."""
        refusals = [action for action in self.actions if action.what in ("REFUSED", "REDUCED", "FAILED", "LEFT OUT")]
        return {
            "broker": self.broker,
            "account": self.account.account,
            "from": _iso(self.first),
            "to": _iso(self.last),
            "cycles": self.cycles,
            "stale": self.stale,
            "best_score": self.best
            and {
                "symbol": self.best.symbol,
                "time": _iso(self.best.time),
                "points": self.best.score.points,
                "entry_score": self.entry_score,
            },
            "orders": [order_json(order) for order in self.orders],
            "fills": [fill_json(fill) for fill in self.fills],
            "positions": [position_json(position) for position in self.positions],
            "refusals": [_action_json(action) for action in refusals],
            "actions": [_action_json(action) for action in self.actions],
            "pnl": {
                "started_with": _text(self.started_with),
                "net_liquidation": _text(self.account.net_liquidation),
                "total": _text(self.profit),
                "realized": str(self.realized),
                "unrealized": _text(self.account.unrealized_pnl),
                "currency": self.account.currency,
            },
            "costs": {
                "commissions": str(self.commissions),
                "traded_notional": str(self.traded),
                "commissions_bps": float(self.commissions / self.traded * 10_000) if self.traded else 0.0,
            },
            "analysis": [_analysis_json(row) for row in self.analysis],
            "latency": {name: dict(values) for name, values in self.latency.items()},
            "journal": self.journal,
        }

    def show(self, console: Console) -> None:
        """The diary, then the summary tables."""
        if self.actions:
            console.print(self._diary())
        if not self.orders and self.best is not None:
            console.print(
                f"No entry: the highest score was {self.best.score.points} ({self.best.symbol}, "
                f"{self.best.time:%Y-%m-%d}), and entries begin at {self.entry_score}."
            )
        console.print(self._orders_line())
        if self.stale:
            console.print(
                f"The broker no longer answers: what follows was seen at {self.last:%Y-%m-%d %H:%M} UTC", style="yellow"
            )
        if self.positions:
            console.print(position_table(self.positions))
        console.print(Group(*self._money_lines()))
        if any(self.latency.get(stage) for stage, _ in LATENCY_STAGES):
            console.print(self._latency_table())
        for line in analysis_lines(self.analysis):
            console.print(line)
        console.print(Text(f"journal: {self.journal}", style="dim"))

    def _diary(self) -> RenderableType:
        table = Table(title="What happened and why", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name, justify in (("date", "left"), ("symbol", "left"), ("action", "left"), ("points", "right")):
            table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        table.add_column("quantity", justify="right", no_wrap=True)
        table.add_column("price", justify="right", no_wrap=True)
        table.add_column("why", overflow="fold")
        for action in self.actions:
            table.add_row(
                f"{action.time:%Y-%m-%d}",
                action.symbol,
                Text(action.what, style=_STYLES.get(action.what, "")),
                "" if action.points is None else str(action.points),
                "" if action.quantity is None else f"{action.quantity.normalize():f}",
                "" if action.price is None else f"{action.price:.2f}",
                Text(action.why.removeprefix(f"{action.points} points: ")),
            )
        return table

    def _orders_line(self) -> str:
        counts = {state: sum(order.state is state for order in self.orders) for state in OrderState}
        states = ", ".join(f"{count} {state.value.lower()}" for state, count in counts.items() if count)
        return f"[bold]Orders[/] {len(self.orders)} ({states or 'none'})   [bold]Fills[/] {len(self.fills)}"

    def _money_lines(self) -> Iterable[RenderableType]:
        profit = self.profit
        style = "green" if profit is not None and profit >= 0 else "red"
        yield Text.from_markup(
            f"[bold]P&L[/] [{style}]{_money(profit)}[/]  "
            f"(realized {_money(self.realized)}, unrealized {_money(self.account.unrealized_pnl)})   "
            f"[bold]Net liquidation[/] {_money(self.account.net_liquidation)} from {_money(self.started_with)}"
        )
        basis = f", {self.commissions / self.traded * 10_000:.1f} bps of {_money(self.traded)}" if self.traded else ""
        yield Text.from_markup(f"[bold]Costs[/] commissions {_money(self.commissions)}{basis}")

    def _latency_table(self) -> RenderableType:
        table = Table(title="Latency, milliseconds", title_justify="left", box=box.SIMPLE_HEAD)
        for name in ("stage", "count", "p50", "p95", "p99"):
            table.add_column(name, justify="left" if name == "stage" else "right")
        for stage, words in LATENCY_STAGES:
            values = self.latency.get(stage)
            if values:
                numbers = [f"{values[name]:.2f}" for name in ("p50", "p95", "p99")]
                table.add_row(words, f"{values['count']:.0f}", *numbers)
        return table


def analysis_lines(rows: Sequence[AnalysisRow]) -> list[RenderableType]:
    """A line a symbol, by threat, and how to have a language model weigh them; nothing without rows."""
    if not rows:
        return []
    lines: list[RenderableType] = [Text("Analysis of the last session, threat of 100 by rules", style="italic")]
    for row in rows:
        threat = "–" if row.threat is None else str(row.threat)
        told = "; ".join(row.reasons[:3]) or row.error or "nothing out of the ordinary"
        lines.append(Text(f" {row.symbol:<6}{threat:>4}  {told}", no_wrap=True, overflow="ellipsis"))
    return [*lines, Text(f" {SWITCH_ON}")]


def make_console(*, stderr: bool = False) -> Console:
    """The terminal, or wide enough lines for a file or a pipe."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=140)


def position_table(positions: Iterable[Position]) -> Table:
    table = Table(title="Positions", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("account", "symbol", "quantity", "average cost", "price", "value", "unrealized"):
        table.add_column(name, justify="left" if name in ("account", "symbol") else "right")
    for position in positions:
        table.add_row(
            position.account,
            str(position.instrument),
            f"{position.quantity.normalize():f}",
            _money(position.average_cost),
            _money(position.market_price),
            _money(position.market_value),
            _money(position.unrealized_pnl),
        )
    return table


def order_text(order: Order) -> str:
    """The order in one line: SELL 5 MSFT STP stop 20 GTC."""
    intent = order.intent
    prices = (("limit", intent.limit_price), ("stop", intent.stop_price), ("trail", intent.trail_amount))
    parts = [f"{name} {value.normalize():f}" for name, value in prices if value is not None]
    parts += [f"trail {intent.trail_percent.normalize():f} %"] if intent.trail_percent is not None else []
    words = (intent.side, f"{intent.quantity.normalize():f}", order.instrument, intent.type, *parts, intent.tif)
    return " ".join(map(str, words))


def order_json(order: Order) -> dict[str, Any]:
    intent = order.intent
    return {
        "key": order.key,
        "symbol": str(order.instrument),
        "side": intent.side.value,
        "quantity": str(intent.quantity),
        "type": intent.type.value,
        "limit_price": _text(intent.limit_price),
        "stop_price": _text(intent.stop_price),
        "tif": intent.tif.value,
        "state": order.state.value,
        "filled": str(order.filled),
        "average_price": _text(order.average_price),
        "commission": _text(order.commission),
        "parent": order.parent_key,
        "leg": order.leg,
        "foreign": order.foreign,
        "account": intent.account,
        "order_id": order.order_id,
        "perm_id": order.perm_id,
        "reason": order.reason or intent.reason,
        "created_at": _iso(order.created_at),
        "updated_at": _iso(order.updated_at),
    }


def fill_json(fill: Fill) -> dict[str, Any]:
    return {
        "exec_id": fill.exec_id,
        "key": fill.order_key,
        "symbol": str(fill.instrument),
        "side": fill.side.value,
        "quantity": str(fill.quantity),
        "price": str(fill.price),
        "time": _iso(fill.time),
        "account": fill.account,
        "commission": _text(fill.commission),
        "realized_pnl": _text(fill.realized_pnl),
        "recovered": fill.recovered,
    }


def position_json(position: Position) -> dict[str, Any]:
    return {
        "account": position.account,
        "symbol": str(position.instrument),
        "quantity": str(position.quantity),
        "average_cost": str(position.average_cost),
        "market_price": _text(position.market_price),
        "market_value": _text(position.market_value),
        "unrealized_pnl": _text(position.unrealized_pnl),
    }


def _analysis_json(row: AnalysisRow) -> dict[str, Any]:
    """The row without its evidence, whose times are of our own clock."""
    names = ("symbol", "threat", "direction", "answered_by", "reasons", "error")
    return {name: value for name, value in row.to_json().items() if name in names}


def _action_json(action: Action) -> dict[str, Any]:
    return {
        "time": _iso(action.time),
        "symbol": action.symbol,
        "action": action.what,
        "why": action.why,
        "points": action.points,
        "quantity": _text(action.quantity),
        "price": _text(action.price),
        "key": action.key,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def _money(amount: Decimal | None) -> str:
    return "–" if amount is None else f"{amount:,.2f}"
