"""After a detach nothing of ours is left to be imported, and what could not run tells its own error again."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from moondev_ibkr import attach, detach
from moondev_ibkr.agents.hooks.import_hooks import AliasFinder, Hook, HookFinder

CONFIG = "EXCHANGE = 'solana'\nMONITORED_TOKENS = []\n\n\ndef get_active_tokens():\n    return MONITORED_TOKENS\n"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A host of a config and one helper module that cannot run here."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "src"}
    package = tmp_path / "src"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "config.py").write_text(CONFIG)
    (package / "nice_funcs_extended.py").write_text("import there_is_no_such_package\n")
    yield tmp_path.resolve()
    detach()
    for name in [name for name in sys.modules if name.split(".")[0] == "src"]:
        del sys.modules[name]
    sys.modules.update(kept)


def test_our_modules_are_gone_from_the_hosts_package(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(host))
    finder = AliasFinder("moondev_ibkr", host)
    sys.meta_path.insert(0, finder)
    try:
        importlib.import_module("src.brokers.errors")
    finally:
        sys.meta_path.remove(finder)
        finder.forget()
    assert not hasattr(sys.modules["src"], "brokers")
    assert hasattr(sys.modules["moondev_ibkr.brokers"], "errors"), "our own package lost a module"


def test_a_stand_in_is_gone_with_the_hooks(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(host))

    def alone(module: ModuleType, reason: BaseException) -> None:
        vars(module)["price"] = 2

    hook = Hook("stands in", lambda module: None, alone=alone)
    finder = HookFinder(host, {"src.nice_funcs_extended": hook}, {})
    sys.meta_path.insert(0, finder)
    try:
        assert importlib.import_module("src.nice_funcs_extended").price == 2
    finally:
        sys.meta_path.remove(finder)
    finder.forget()
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_package"):
        importlib.import_module("src.nice_funcs_extended")


def test_attaching_again_and_again_leaves_nothing_behind(host: Path) -> None:
    def state() -> tuple[list[str], list[object], list[str]]:
        return sorted(sys.modules), list(sys.meta_path), list(sys.path)

    importlib.import_module("moondev_ibkr.agents.hooks.attach")
    before = None
    for _ in range(3):
        attach(host, broker="paper", symbols=["AAPL"], report=lambda text: None)
        assert callable(importlib.import_module("src.nice_funcs_extended").token_price)
        importlib.import_module("src.brokers.registry")
        detach()
        assert before in (None, state())
        before = state()
    assert not hasattr(sys.modules["src"], "nice_funcs_extended")


def test_an_agent_imported_meanwhile_is_forgotten_and_may_be_hooked_again(host: Path) -> None:
    (host / "src" / "agents").mkdir()
    (host / "src" / "agents" / "__init__.py").write_text("")
    (host / "src" / "agents" / "quiet_agent.py").write_text("from src.config import EXCHANGE\n")
    (host / "script.py").write_text("from src.config import EXCHANGE\n")
    for _ in range(2):
        attach(host, broker="paper", symbols=["AAPL"], report=lambda text: None)
        assert importlib.import_module("src.agents.quiet_agent").EXCHANGE == "ib"
        assert importlib.import_module("script").EXCHANGE == "ib"
        detach()
        assert "src.agents.quiet_agent" not in sys.modules
        assert "script" not in sys.modules
    sys.path.insert(0, str(host))
    try:
        assert importlib.import_module("src.agents.quiet_agent").EXCHANGE != "ib"
    finally:
        sys.path.remove(str(host))
        for name in [name for name in sys.modules if name == "src" or name.startswith("src.")]:
            del sys.modules[name]
