"""`moondev-ibkr host` as a user meets it: wrong paths, wrong names, the position tracker, and what a run leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..host.lookalike import write_host


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_host(tmp_path_factory.mktemp("host") / "host")


class Command:
    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "moondev_ibkr", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("IB_STATE_DIR", str(tmp_path / "state"))
    return Command()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere", "trading_agent"), "no src/config.py"),
        (("HOST",), "no agent was named"),
        (("HOST", "traiding_agent"), "did you mean trading_agent"),
        (("HOST", "trading_agent", "--set", "oops"), "NAME=VALUE"),
        (("HOST", "trading_agent", "--symbols", "not a ticker!!"), "it is not a ticker"),
        (("HOST", "aegs_live_scanner", "--once"), "--once"),
    ],
)
def test_wrong_input_is_one_line_and_two(
    command: Command, host: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    given = [str(host) if text == "HOST" else str(tmp_path / text) if text == "nowhere" else text for text in arguments]
    done = command("host", *given)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_tracker_is_mended_from_the_journal(command: Command, host: Path) -> None:
    bought = command("buy", "AAPL", "7", "--json")
    assert bought.returncode == 0, bought.stderr
    dry = command("host", host, "--tracker", "--dry-run", "--json")
    assert dry.returncode == 1, dry.stderr
    (row,) = json.loads(dry.stdout)
    assert (row["symbol"], row["kind"], row["mended"]) == ("AAPL", "MISSING_IN_TRACKER", False)
    mended = command("host", host, "--tracker", "--json")
    assert mended.returncode == 0, mended.stderr
    assert [row["mended"] for row in json.loads(mended.stdout)] == [True]
    again = command("host", host, "--tracker")
    assert again.returncode == 0, again.stderr
    assert "agrees" in again.stdout


def test_a_program_that_ends_with_a_code_ends_the_command_with_it(command: Command, host: Path) -> None:
    (host / "seven.py").write_text("import sys\nif __name__ == '__main__':\n    print(sys.argv[1:])\n    sys.exit(7)\n")
    done = command("host", host, "seven.py", "--", "--its", "own")
    assert done.returncode == 7, done.stderr
    assert "['--its', 'own']" in done.stdout
    assert "owned: nothing" in done.stderr
