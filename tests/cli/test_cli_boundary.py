"""The edge of the command line: event loops by profile, errors as lines or objects, children's last words."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest
from moondev_ibkr.brokers.errors import BrokerError, ConfigurationError, LinkError, RiskRefusal, UsageError
from moondev_ibkr.cli import paper_account
from moondev_ibkr.cli.boundary import FAILED, USAGE, error_json, exit_code, run_async, show_error
from moondev_ibkr.cli.paper_account import AccountLock, PaperMarket, asked_market, open_account
from moondev_ibkr.config.profiles import PROFILES, ProfileName


async def is_on_uvloop() -> bool:
    return any(base.__module__.startswith("uvloop") for base in type(asyncio.get_running_loop()).__mro__)


def test_the_profile_freezes_the_collector() -> None:
    frozen = gc.get_freeze_count()
    try:
        run_async(is_on_uvloop(), PROFILES[ProfileName.BALANCED])
        assert gc.get_freeze_count() == frozen
        run_async(is_on_uvloop(), PROFILES[ProfileName.ULTRA_LOW_LATENCY])
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()


def test_the_command_line_runs_on_uvloop_where_it_is_installed() -> None:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        assert not run_async(is_on_uvloop())
    else:
        assert run_async(is_on_uvloop())


def test_an_error_is_one_line_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(BrokerError("what\n  over lines", "why", "next"), as_json=False)
    assert capsys.readouterr().err == "moondev-ibkr: what over lines: why (next)\n"


def test_an_error_as_data_keeps_its_details() -> None:
    refusal = RiskRefusal("BUY", "too much", "order fewer", rule="order_value", value="2", limit="1")
    body = error_json(refusal)
    assert (body["kind"], body["rule"], body["next"]) == ("RiskRefusal", "order_value", "order fewer")


@pytest.mark.parametrize(
    ("error", "code"),
    [(UsageError("x"), USAGE), (ConfigurationError("x"), USAGE), (LinkError("x"), FAILED), (BrokerError("x"), FAILED)],
)
def test_exit_codes(error: BrokerError, code: int) -> None:
    assert exit_code(error) == code


def test_a_market_is_told_to_the_gateway_by_its_options(tmp_path: Path) -> None:
    market = asked_market([tmp_path / "KO.csv"], "2024-10-01", 3)
    assert market is not None
    options = ("--bars", str(tmp_path / "KO.csv"), "--start", "2024-10-01", "--seed", "3")
    assert market.arguments() == options
    assert "--start" not in market.arguments(resuming=True)
    assert asked_market(None, None, 0) is None
    assert PaperMarket().arguments() == ()


def test_an_account_keeps_its_market_until_a_fresh_one(tmp_path: Path) -> None:
    first, other = PaperMarket(seed=1), PaperMarket(seed=2)
    assert open_account(tmp_path, first, fresh=False) == (first, True)
    traded = '{"exchange": {"orders": [1], "executions": [], "accounts": []}}'
    (tmp_path / paper_account.ACCOUNT_FILE).write_text(traded)
    (tmp_path / paper_account.JOURNAL_FILE).write_text("orders")
    assert open_account(tmp_path, None, fresh=False) == (first, False)
    with pytest.raises(ConfigurationError, match=r"another market \(--seed 1\)"):
        open_account(tmp_path, other, fresh=False)
    assert open_account(tmp_path, other, fresh=True) == (other, True)
    assert [path.read_text() for path in tmp_path.glob("journal-until-*")] == ["orders"]


def test_an_untouched_account_changes_its_market_without_a_word(tmp_path: Path) -> None:
    open_account(tmp_path, PaperMarket(seed=1), fresh=False)
    untouched = '{"exchange": {"orders": [], "executions": [], "accounts": [{"holdings": {}}]}}'
    (tmp_path / paper_account.ACCOUNT_FILE).write_text(untouched)
    assert open_account(tmp_path, PaperMarket(seed=2), fresh=False) == (PaperMarket(seed=2), True)


def traded(folder: Path) -> None:
    account = '{"exchange": {"orders": [1], "executions": [], "accounts": []}}'
    (folder / paper_account.ACCOUNT_FILE).write_text(account)


def mixed(*symbols: str, seed: int = 0) -> PaperMarket:
    return PaperMarket(symbols=symbols, others="synthetic", seed=seed)


def test_symbols_are_added_to_an_account_with_synthetic_others_and_stay(tmp_path: Path) -> None:
    open_account(tmp_path, mixed("AAPL", "GME"), fresh=False)
    traded(tmp_path)
    both = mixed("AAPL", "GME", "RIOT")
    assert both.arguments() == ("--symbols", "AAPL,GME,RIOT", "--others", "synthetic")
    assert open_account(tmp_path, mixed("RIOT", "AAPL"), fresh=False) == (both, False)
    assert open_account(tmp_path, mixed("GME"), fresh=False) == (both, False)
    assert open_account(tmp_path, None, fresh=False) == (both, False)
    for other in (mixed("GME", seed=1), PaperMarket(symbols=("AAPL", "GME", "RIOT")), PaperMarket()):
        with pytest.raises(ConfigurationError, match="another market"):
            open_account(tmp_path, other, fresh=False)
    assert open_account(tmp_path, mixed("GME"), fresh=True) == (mixed("GME"), True)


def test_without_synthetic_others_a_symbol_more_is_another_market(tmp_path: Path) -> None:
    open_account(tmp_path, PaperMarket(symbols=("AAPL",)), fresh=False)
    traded(tmp_path)
    with pytest.raises(ConfigurationError, match="another market"):
        open_account(tmp_path, PaperMarket(symbols=("AAPL", "IBM")), fresh=False)


def test_a_market_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    earlier = '{"bars": [], "symbols": ["AAPL"], "prices": "shipped", "clock": "replay", "start": "", "seed": 2}'
    (tmp_path / paper_account.MARKET_FILE).write_text(earlier)
    traded(tmp_path)
    kept = PaperMarket(symbols=("AAPL",), prices="shipped", seed=2)
    assert open_account(tmp_path, None, fresh=False) == (kept, False)


def test_a_market_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / paper_account.MARKET_FILE).write_text('{"bars": 3}')
    with pytest.raises(ConfigurationError, match="--fresh"):
        open_account(tmp_path, None, fresh=False)


def test_one_process_serves_an_account(tmp_path: Path) -> None:
    first, second = AccountLock(tmp_path), AccountLock(tmp_path)
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()
    second.release()


async def test_who_waits_too_long_for_the_account_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_account, "PATIENCE", 0.0)
    holder = AccountLock(tmp_path)
    assert holder.take()
    try:
        with pytest.raises(ConfigurationError, match="another command"):
            async with paper_account.paper_gateway(tmp_path, None):
                pass
    finally:
        holder.release()
