"""What docs/streams.md shows runs, and what it says of numbers is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from moondev_ibkr.brokers.streams.market_stream import TIMED_AT_FIRST, TIMED_OF
from moondev_ibkr.brokers.streams.rates import WINDOW

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "streams.md").read_text(encoding="utf-8")


def test_the_sample_runs(tmp_path: Path) -> None:
    sample = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert sample is not None
    answer = subprocess.run(
        [sys.executable, "-c", sample[1]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"IB_STATE_DIR": str(tmp_path)},
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    for words in ("AAPL", "handler failures 0", "Snapshot(", "TickBar(", "'received'"):
        assert words in answer.stdout


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert (TIMED_AT_FIRST, TIMED_OF) == (64, 64)
    assert WINDOW == 10.0
