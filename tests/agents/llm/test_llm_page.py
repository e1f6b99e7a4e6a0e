"""docs/llm.md names every rung and trouble, and what it shows works."""

from __future__ import annotations

import asyncio
import re
import textwrap
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from moondev_ibkr.agents.llm.prices import load_prices
from moondev_ibkr.agents.llm.request import Rung
from moondev_ibkr.agents.llm.troubles import Trouble
from moondev_ibkr.config.settings import LlmBackend

from .test_ladder import by_rules

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "llm.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*Rung, *Trouble, *LlmBackend], ids=str)
def test_every_word_of_a_result_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_the_sample_runs_by_rules_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("IB_LLM_BACKENDS", raising=False)
    sample = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert sample is not None
    names: dict[str, Any] = {"my_rule": by_rules}
    exec("async def main():\n" + textwrap.indent(sample[1], "    ") + "    return result\n", names)
    result = asyncio.run(names["main"]())
    assert (result.rung, result.degraded, result.answer.score) == (Rung.RULES, False, 31)


def test_the_sample_of_prices_is_read(tmp_path: Path) -> None:
    sample = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert sample is not None
    file = tmp_path / "prices.json"
    file.write_text(sample[1])
    row = load_prices(file).row("my-model", date(2026, 11, 28), 10)
    assert row is not None
    assert str(row.answer) == "0.80"
