"""A program runs as `python FILE` would run it: its own block, and its neighbours within reach."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from moondev_ibkr.agents.hooks.launcher import find_program, run_program
from moondev_ibkr.brokers.errors import ConfigurationError


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "src"}
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "__init__.py").write_text("")
    (tmp_path / "src" / "config.py").write_text("EXCHANGE = 'solana'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    where = Path.cwd()
    yield tmp_path.resolve()
    os.chdir(where)
    for name in [name for name in sys.modules if name.split(".")[0] in ("src", "neighbour_of_main")]:
        del sys.modules[name]
    sys.modules.update(kept)


def run(host: Path, text: str) -> Any:
    (host / "src" / "program.py").write_text(text)
    run_program(SimpleNamespace(root=host), find_program(host, "src/program.py"))  # type: ignore[arg-type]
    return sys.modules["src.program"]


def test_a_neighbour_is_found_as_by_a_script(host: Path) -> None:
    (host / "src" / "neighbour_of_main.py").write_text("NAME = 'neighbour'\n")
    module = run(host, "from neighbour_of_main import *\n\n\ndef main():\n    global ran\n    ran = NAME\n")
    assert module.ran == "neighbour"


def test_the_block_comes_before_main(host: Path) -> None:
    """It may import what main needs, or run it in a loop of its own."""
    module = run(
        host,
        "async def main():\n    return 7\n\n\nif __name__ == '__main__':\n"
        "    import asyncio\n    answer = asyncio.run(main())\n",
    )
    assert module.answer == 7


def test_a_program_that_cannot_be_read_is_told_in_one_line(host: Path) -> None:
    (host / "src" / "program.py").write_text("x = 1\ndef main(:\n")
    with pytest.raises(ConfigurationError, match=r"program\.py: line 2: invalid syntax"):
        find_program(host, "src/program.py")


def test_main_alone_is_run(host: Path) -> None:
    assert run(host, "def main():\n    global ran\n    ran = True\n").ran
