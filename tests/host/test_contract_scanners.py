"""The contract: the AEGS scanners run unmodified on IB's bars, and the position tracker is kept true to the broker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .bars import CRASHED
from .contract import Host, Stage
from .market import Market

Day = dict[str, Any]
#: Delisted, or no share at all: these must not keep the others from being scanned.
COIN = "SOL-USD"
ODD = ("HMNY", COIN, "BRK-B")


def live_scanner(symbols: list[str]) -> Any:
    import aegs_live_scanner as module
    from moondev_ibkr.agents.trading.aegs_score import ScoreKind, score

    scanner = module.AEGSLiveScanner()
    scanner.priority_symbols = {"all": symbols}
    scanner.all_symbols = symbols
    scanner.scan_all_symbols()
    found = {row["symbol"]: row for row in (*scanner.buy_signals, *scanner.near_signals)}
    frame = module.yf.download(symbols[0], period="200d", progress=False)
    frame.columns = frame.columns.get_level_values(0)
    return {
        "scores": {symbol: int(row["signal_strength"]) for symbol, row in found.items()},
        "buy": [row["symbol"] for row in scanner.buy_signals],
        "price": float(found[symbols[0]]["price"]),
        "ours": score(frame, ScoreKind.LIVE).points,
        "bars": len(frame),
        "left": left_the_machine(),
    }


def enhanced_scanner(symbols: list[str]) -> Any:
    import aegs_enhanced_scanner as module
    from moondev_ibkr.agents.trading.aegs_score import ScoreKind, score

    scanner = module.AEGSEnhancedScanner()
    scanner.symbol_info = {symbol: {"tier": "positive", "excess_return": 1, "category": "all"} for symbol in symbols}
    scanner.all_symbols = list(symbols)
    scanner.scan_all_symbols()
    found = {row["symbol"]: row for row in (*scanner.buy_signals, *scanner.near_signals)}
    frame = module.yf.Ticker(symbols[0]).history(period="200d")
    return {
        "scores": {symbol: int(row["signal_strength"]) for symbol, row in found.items()},
        "buy": [row["symbol"] for row in scanner.buy_signals],
        "ours": score(frame, ScoreKind.ENHANCED).points,
        "columns": frame.columns.tolist()[:5],
        "left": left_the_machine(),
    }


def position_tracker(symbol: str) -> Any:
    from moondev_ibkr.agents.trading.position_tracker import PositionReconciler
    from src import nice_funcs as n
    from src.data.position_tracker import PositionTracker

    made = []

    def tracker() -> object:
        made.append(PositionTracker("contract.db"))
        return made[0]

    keeper = PositionReconciler(broker.sync(), tracker)
    n.market_buy(symbol, 3000, 199)
    missing = [(row.symbol, row.kind, row.mended) for row in keeper.reconcile()]
    opened = made[0].get_open_positions()[["symbol", "shares"]].values.tolist()
    # Executions are told to the second, and two of one second have no order.
    pause("a few seconds pass")
    n.chunk_kill(symbol, 3, 199)
    gone = [(row.symbol, row.kind, row.mended) for row in keeper.reconcile()]
    rows = made[0].get_symbol_history(symbol)[["status", "shares"]].values.tolist()
    again = len(keeper.reconcile())
    keeper.close()
    return {"missing": missing, "opened": opened, "gone": gone, "rows": rows, "again": again}


@pytest.fixture(scope="module")
def day(host: Host, market: Market, unused: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """Scanners and tracker in one process, one after the other."""
    host.needs("aegs_live_scanner.py")
    stage = Stage(host, market, market.serve(tmp_path_factory.mktemp("day") / "state"), unused)
    quiet, tracked = stage.symbols(2)
    listed = [CRASHED, *ODD, quiet]
    acts: list[tuple[Any, dict[str, Any]]] = [
        (live_scanner, {"symbols": listed}),
        (enhanced_scanner, {"symbols": listed}),
    ]
    if host.has("src/data/positions_database.sql"):
        acts.append((position_tracker, {"symbol": tracked}))
    told = stage.tell_all(acts, listed, {"a few seconds pass": lambda: market.tell("advance_by", 5)})
    answers = {story.__name__: (named, answer) for (story, named), answer in zip(acts, told.result, strict=True)}
    yield {**answers, "out": told.out}
    market.flatten()


def test_the_live_scanner_finds_the_crash_with_our_score(stage: Stage, day: Day) -> None:
    named, told = day["live_scanner"]
    assert told["buy"] == [CRASHED]
    assert told["scores"][CRASHED] == told["ours"] >= 50
    assert 100 <= told["bars"] <= 201
    assert {call["symbol"] for call in told["left"]} <= {COIN}
    assert stage.market.orders(*named["symbols"]) == []


def test_the_enhanced_scanner_finds_the_crash_with_our_score(stage: Stage, day: Day) -> None:
    named, told = day["enhanced_scanner"]
    assert told["buy"] == [CRASHED]
    assert told["scores"][CRASHED] == told["ours"] >= 50
    assert told["columns"] == ["Open", "High", "Low", "Close", "Volume"]
    assert {call["symbol"] for call in told["left"]} <= {COIN}
    assert stage.market.orders(*named["symbols"]) == []


def test_symbols_without_bars_are_told_and_passed_over(day: Day) -> None:
    for symbol in ODD:
        lines = [line for line in day["out"].splitlines() if symbol in line]
        assert len(lines) == 2, lines
        assert all("nsufficient" in line or "rror" in line or "failed" in line for line in lines), lines


def test_the_tracker_follows_the_broker(stage: Stage, day: Day) -> None:
    stage.host.needs("src/data/positions_database.sql")
    named, told = day["position_tracker"]
    symbol = named["symbol"]
    buy, sell = stage.market.orders(symbol)
    shares = float(buy["filled"])
    assert sell["filled"] == buy["filled"]
    assert told["missing"] == [[symbol, "MISSING_IN_TRACKER", True]]
    assert told["opened"] == [[symbol, shares]]
    assert told["gone"] == [[symbol, "MISSING_AT_BROKER", True]]
    assert told["rows"] == [["CLOSED", shares]]
    assert told["again"] == 0


def test_the_command_runs_a_scanner_to_its_end(stage: Stage) -> None:
    stage.host.needs("aegs_live_scanner.py")
    if not stage.host.wire:
        pytest.skip("the real one has 46 symbols that this market lacks")
    done = stage.command("aegs_live_scanner")
    assert (done.code, "scan complete" in done.out) == (0, True), done.err
    assert "0 orders in this journal" in done.err
