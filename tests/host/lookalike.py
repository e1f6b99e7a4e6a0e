"""A host framework of our own in a folder: the miniature, as the fork has it or as upstream has it."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path

HERE = Path(__file__).parent
MINIATURE = HERE / "miniature"
UPSTREAM = HERE / "miniature_upstream"


class Variant(StrEnum):
    """Which of the two hosts the miniature resembles."""

    FORK = "fork"
    UPSTREAM = "upstream"


#: What upstream does not have.
NOT_UPSTREAM = (
    "src/nice_funcs_robinhood.py",
    "src/data/position_tracker.py",
    "src/data/positions_database.sql",
    "src/models/portfolio_models.py",
    "src/agents/portfolio_integration.py",
    "src/agents/portfolio_rebalancing_agent.py",
    "AEGS_complete_strategy.py",
    "aegs_live_scanner.py",
    "aegs_enhanced_scanner.py",
    "aegs_goldmine_registry.json",
)
#: (file, what the fork says, what upstream says)
UPSTREAM_SAYS = (
    ("src/agents/trading_agent.py", "from src.config import EXCHANGE\n", 'EXCHANGE = "ASTER"\n'),
    ("src/agents/trading_agent.py", "EXCHANGE.upper()", "EXCHANGE"),
    ("src/config.py", 'elif EXCHANGE == "robinhood":', "elif False:"),
)


def write_host(folder: Path, variant: Variant = Variant.FORK, *, without: tuple[str, ...] = ()) -> Path:
    """The root of a host in `folder`, which must not exist yet; the files `without` are left out."""
    shutil.copytree(MINIATURE, folder, ignore=shutil.ignore_patterns("ruff.toml", "__pycache__"))
    if variant is Variant.UPSTREAM:
        for name in NOT_UPSTREAM:
            (folder / name).unlink()
        shutil.copytree(UPSTREAM / "src", folder / "src", dirs_exist_ok=True)
        for name, fork, upstream in UPSTREAM_SAYS:
            edit(folder, name, fork, upstream)
    for name in without:
        (folder / name).unlink()
    return folder


def edit(host: Path, name: str, old: str, new: str) -> None:
    """Another version of the host: `new` wherever the file says `old`. Raises ValueError where it does not say it."""
    text = (host / name).read_text()
    if old not in text:
        raise ValueError(f"{name} does not say {old!r}")
    (host / name).write_text(text.replace(old, new))
