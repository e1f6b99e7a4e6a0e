"""The generated pages are current, and what the documents show runs."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from moondev_ibkr.agents.hooks.helpers_table import HELPERS
from moondev_ibkr.agents.hooks.hook_table import ABOUT

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_docs", ROOT / "tools" / "write_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_current() -> None:
    stale = [
        name for name, text in writer().pages().items() if (ROOT / "docs" / name).read_text(encoding="utf-8") != text
    ]
    assert not stale, "run python tools/write_docs.py"


def run_python(*arguments: str, folder: Path) -> str:
    answer = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"IB_STATE_DIR": str(folder)},
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    return answer.stdout


def test_the_readme_sample_runs(tmp_path: Path) -> None:
    sample = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert sample is not None
    assert "FILLED" in run_python("-c", sample[1], folder=tmp_path)


#: Example and its arguments -> words of its output.
EXAMPLES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("basic_trading.py",), "flat again: sold 10"),
    (("market_data_stream.py", "0.5"), "AAPL"),
    (("mean_reversion.py", "4"), "net liquidation"),
    (("event_driven_agent.py", "2"), "momentum agent"),
    (("mean_reversion_pool.py", "6"), "in doubt: 0"),
)


@pytest.mark.parametrize(("arguments", "words"), EXAMPLES, ids=[row[0][0] for row in EXAMPLES])
def test_examples_run(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in run_python(str(ROOT / "examples" / arguments[0]), *arguments[1:], folder=tmp_path)


def example(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / arguments[0]), *arguments[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"IB_STATE_DIR": str(folder), "PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("basic_trading.py", "NOPE"),
        ("market_data_stream.py", "5", "NOPE"),
        ("mean_reversion.py", "2", "NOPE"),
        ("event_driven_agent.py", "1", "NOPE"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_example_tells_a_symbol_that_is_not_listed_in_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with example(tmp_path, *arguments) as process:
        _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "NOPE" in error
    assert error.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a process of its own there")
@pytest.mark.parametrize(
    "arguments",
    [
        ("market_data_stream.py", "60"),
        ("mean_reversion.py", "500"),
        ("event_driven_agent.py", "500"),
        ("mean_reversion_pool.py", "60"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_ctrl_c_ends_an_example_without_a_word(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with example(tmp_path, *arguments) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert error == ""


def test_every_example_is_tried() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {row[0][0] for row in EXAMPLES}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def hook_rows() -> list[str]:
    return [f"| `{module}` | {about} |" for module, about in ABOUT.items()]


def helper_rows() -> list[str]:
    words = {
        module: ", ".join("`{}({})`".format(row.name, ", ".join(row.parameters)) for row in rows)
        for module, rows in HELPERS.items()
    }
    return [f"| `{module}` | {text} |" for module, text in words.items()]


@pytest.mark.parametrize(("part", "rows"), [("hooks", hook_rows()), ("helpers", helper_rows())])
def test_the_page_of_hooks_lists_them_all(part: str, rows: list[str]) -> None:
    text = (ROOT / "docs" / "hooks.md").read_text()
    table = text.split(f"<!-- {part}:")[1].split(f"<!-- end of {part}")[0]
    told = [line for line in table.splitlines() if line.startswith("| `")]
    assert told == rows
