"""What a model's answer goes through cannot trade: nothing that it imports, directly or not, can make an order."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import moondev_ibkr
from moondev_ibkr.agents.analysis.reader import MarketReader
from moondev_ibkr.brokers.base_broker import BaseBroker

SRC = Path(moondev_ibkr.__file__).parent
ANALYSIS = SRC / "agents" / "analysis"
#: Where models' answers are read, and what becomes of them.
PIPELINE = (
    *("screening", "continuous", "collecting", "news_evidence", "options_flow", "report", "alerts", "advice"),
    *("extended_hours", "radar", "fundamental_measures"),
)
#: Modules with an order in them, or a way to a broker that has one.
ORDERS = (
    "brokers.base_broker",
    "brokers.registry",
    "brokers.sync",
    "brokers.smart_orders",
    "brokers.domain.order",
    "brokers.orders",
    "brokers.managed_broker",
    "brokers.interactive_brokers",
    "brokers.simulation",
    "brokers.risk",
    "agents.hooks",
    "agents.trading.trading_agent",
    "agents.trading.aegs_agent",
    "agents.trading.position_manager",
)
#: Verbs of a broker that only look.
LOOKING = {
    *("market_time", "details", "quotes", "many_bars", "option_activity", "option_chain", "option_quotes"),
    *("headlines", "fundamentals", "positions", "account", "pnl"),
}


def own_imports(path: Path) -> set[str]:
    """Modules of ours that a file imports, without the package's name."""
    package = path.relative_to(SRC).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            stem = ".".join((*package[: len(package) - node.level + 1], *(node.module or "").split("."))).strip(".")
            found |= {stem, *(f"{stem}.{alias.name}" for alias in node.names)}
    return found


def reached() -> set[str]:
    """Everything that the pipeline imports, directly or through others."""
    waiting = [f"agents.analysis.{name}" for name in PIPELINE]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        path = SRC / Path(*name.split(".")).with_suffix(".py")
        path = path if path.exists() else SRC / Path(*name.split(".")) / "__init__.py"
        if name in seen or not path.exists():
            continue
        seen.add(name)
        waiting += own_imports(path)
    return seen


def test_nothing_that_analysis_imports_can_make_or_send_an_order() -> None:
    found = reached()
    assert {"agents.trading.caution", "agents.analysis.stream.day_figures"} <= found
    assert "agents.llm.ladder" not in found, "who answers is handed in"
    assert {name for name in found if name.startswith(ORDERS)} == set()


def test_the_broker_s_verbs_that_it_knows_only_look() -> None:
    verbs = {name for name, _ in inspect.getmembers(MarketReader, inspect.isfunction) if not name.startswith("_")}
    assert verbs == LOOKING
    for name in verbs:
        ours, broker = (inspect.signature(getattr(owner, name)) for owner in (MarketReader, BaseBroker))
        assert list(ours.parameters) == list(broker.parameters), name


def test_no_line_of_it_calls_a_verb_that_trades() -> None:
    trading = {"place", "place_smart_order", "modify", "cancel_all", "flatten", "emergency_stop", "adopt", "resume"}
    for path in ANALYSIS.glob("*.py"):
        called = {
            node.func.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        assert not called & trading, path.name
