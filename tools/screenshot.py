"""Writes docs/run.svg: a real `moondev-ibkr run`, as a terminal of 120 columns shows it.

python tools/screenshot.py
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from pathlib import Path

from moondev_ibkr.cli.opening import Opening, settings_for
from moondev_ibkr.cli.run_command import RunOptions, trade_sessions
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

TARGET = Path(__file__).resolve().parent.parent / "docs" / "run.svg"
COLUMNS = 120


def main() -> int:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    opening = Opening()
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(opening).model_copy(update={"state_dir": Path(folder)})
        code = asyncio.run(trade_sessions(RunOptions(opening), settings, console))
    # The journal's path is this machine's, and a live progress bar records each of its frames.
    lines = console.export_text(clear=False, styles=True)
    shown = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    kept = lines.replace(folder, "~/.local/state/moondev-ibkr").splitlines()
    last_bar = max(number for number, line in enumerate(kept) if "AEGS" in line)
    for line in kept[last_bar:]:
        shown.print(Text.from_ansi(line))
    shown.save_svg(str(TARGET), title="moondev-ibkr run", theme=MONOKAI)
    return code


if __name__ == "__main__":
    sys.exit(main())
