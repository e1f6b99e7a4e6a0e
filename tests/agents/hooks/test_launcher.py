"""Finding a program of the host, what it will ask for, and what of it is run."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from moondev_ibkr.agents.hooks.launcher import (
    find_program,
    main_block,
    named_tickers,
    parse_constant,
    set_constants,
)
from moondev_ibkr.brokers.errors import UsageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    agents = tmp_path / "src" / "agents"
    agents.mkdir(parents=True)
    (agents / "risk_agent.py").write_text("")
    (tmp_path / "aegs_scanner.py").write_text(
        "LISTS = {'a': ['WULF', 'BRK-B', 'SOL-USD'], 'b': ['not a ticker', 'GME']}\n"
    )
    return tmp_path.resolve()


@pytest.mark.parametrize("name", ["risk_agent", "risk_agent.py", "src/agents/risk_agent.py", "src.agents.risk_agent"])
def test_a_program_is_found_by_name_path_and_module(root: Path, name: str) -> None:
    assert find_program(root, name).module == "src.agents.risk_agent"


def test_a_misspelt_program_is_told_what_comes_near(root: Path) -> None:
    with pytest.raises(UsageError, match="did you mean risk_agent"):
        find_program(root, "risk_agnet")


def test_a_file_outside_the_host_is_not_run(root: Path, tmp_path: Path) -> None:
    (tmp_path.parent / "evil.py").write_text("")
    with pytest.raises(UsageError):
        find_program(root, "../evil.py")


def test_a_scanners_tickers_are_read_from_its_lists(root: Path) -> None:
    program = find_program(root, "aegs_scanner")
    assert program.only_looks
    assert named_tickers(program, root) == ("WULF", "BRK B", "GME")


def test_only_the_main_block_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "p.py"
    file.write_text("ran = []\nif __name__ == \"__main__\":\n    ran.append('main')\n")
    block = main_block(file)
    space: dict[str, object] = {"ran": []}
    exec(block, space)
    assert space["ran"] == ["main"]
    file.write_text("x = 1\n")
    assert main_block(file) is None


def test_constants_are_read_as_python_or_as_text() -> None:
    assert parse_constant("USE_SWARM_MODE=False") == ("USE_SWARM_MODE", False)
    assert parse_constant("SYMBOLS=['A', 'B']") == ("SYMBOLS", ["A", "B"])
    assert parse_constant("AI_MODEL_TYPE=gpu_ollama") == ("AI_MODEL_TYPE", "gpu_ollama")
    for wrong in ("NAME", "=1", "a b=1"):
        with pytest.raises(UsageError):
            parse_constant(wrong)


def test_a_list_keeps_its_identity_when_it_is_set() -> None:
    module = ModuleType("m")
    shared = ["BTC"]
    module.SYMBOLS = shared  # type: ignore[attr-defined]
    assert set_constants(module, {"SYMBOLS": ["AAPL"], "OTHER": 1}) == {"SYMBOLS"}
    assert shared == ["AAPL"]
