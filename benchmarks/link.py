"""The link alone, with no socket and no adapter around it: the measurements of `decode`, as rows."""

from __future__ import annotations

from typing import Any

from . import decode
from .options import Options
from .rows import Row


async def run(options: Options) -> list[Row]:
    """Microseconds; the ratio here is of the medians over `rounds`."""
    rounds = options.amount(max(options.rounds, 3), 1)
    measured = decode.tick_rows(rounds) + decode.kind_rows(rounds)
    measured += [decode.fill_row(earlier, rounds) for earlier in (10, options.amount(1000, 20))]
    measured.append(decode.place_row(rounds))
    return [_row(entry) for entry in measured]


def _row(entry: dict[str, Any]) -> Row:
    unit = entry["unit"].replace("us per", "us /")
    return Row(
        "link", f"link alone: {entry['name']}", unit, entry["ours"], entry["raw"], 1 / entry["ratio"], "ours / raw"
    )
