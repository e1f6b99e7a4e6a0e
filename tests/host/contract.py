"""The hosts that the contract is run against, and how a story is told in one of them with IB attached."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from .lookalike import Variant, write_host
from .market import Market
from .story import Act, Told, run, tell_all


class HostName(StrEnum):
    LOOKALIKE = "look-alike"
    LOOKALIKE_UPSTREAM = "look-alike of upstream"
    FORK = "fork"
    UPSTREAM = "upstream"


#: Real host -> the environment variable with the path of a checkout.
CHECKOUTS = {HostName.FORK: "MOONDEV_HOST_FORK", HostName.UPSTREAM: "MOONDEV_HOST_UPSTREAM"}
#: The interpreter that has a real host's packages and this one.
PYTHON = "MOONDEV_HOST_PYTHON"
#: What of a checkout its programs need; the rest is thousands of result files.
PARTS = ("src", "AEGS_complete_strategy.py", "aegs_*.py", "aegs_goldmine_registry.json")

#: Lines before a story: IB attached as `moondev-ibkr host` attaches it, what a person was told, and what the host's own
#: clients asked the world (a look-alike's only).
ATTACH = """
import atexit
from moondev_ibkr import attach, detach
from moondev_ibkr.agents.hooks.host_broker import HostBroker
from moondev_ibkr.agents.hooks.named_brokers import host_settings
from moondev_ibkr.cli.opening import Opening, open_broker, settings_for
opening = Opening()
own = host_settings(settings_for(opening))
broker = HostBroker(lambda: open_broker(opening, own))
atexit.register(broker.close)
said = []
def attach_ib(symbols):
    return attach(".", broker=broker, symbols=symbols, report=said.append)
def left_the_machine():
    try:
        from src import wire
    except ImportError:
        return []
    return [call for call in wire.calls if call["service"] != "ollama"]
"""


@dataclass(frozen=True)
class Host:
    """`root` is a copy that may be written to. `wire`: what would leave the machine by the host's own clients is
    written down, as only a look-alike does."""

    name: HostName
    root: Path
    python: str
    wire: bool

    @property
    def is_fork(self) -> bool:
        return self.name in (HostName.LOOKALIKE, HostName.FORK)

    def has(self, file: str) -> bool:
        return (self.root / file).is_file()

    def needs(self, file: str) -> None:
        """Skip the test where the host lacks `file`."""
        if not self.has(file):
            pytest.skip(f"{self.name} has no {file}")


def open_host(name: HostName, folder: Path) -> Host:
    """A copy of the host in `folder`; skips where there is no checkout of a real one."""
    if name is HostName.LOOKALIKE:
        return Host(name, write_host(folder), sys.executable, wire=True)
    if name is HostName.LOOKALIKE_UPSTREAM:
        return Host(name, write_host(folder, Variant.UPSTREAM), sys.executable, wire=True)
    checkout = os.environ.get(CHECKOUTS[name])
    if not checkout:
        pytest.skip(f"{CHECKOUTS[name]} names no checkout of the real host")
    folder.mkdir()
    for source in (found for part in PARTS for found in Path(checkout).glob(part)):
        if source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("*.csv", "__pycache__"))
        else:
            shutil.copy(source, folder)
    return Host(name, folder, os.environ.get(PYTHON, sys.executable), wire=False)


@dataclass(frozen=True)
class Stage:
    """A host, a market, and a state folder that leads from one to the other."""

    host: Host
    market: Market
    state: Path
    unused: list[str]

    def symbols(self, count: int) -> list[str]:
        """Symbols that no other story of this market has."""
        return [self.unused.pop() for _ in range(count)]

    @property
    def env(self) -> dict[str, str]:
        keys = {"IB_STATE_DIR": str(self.state), "IB_LOG_LEVEL": "WARNING"}
        # A real client with a key that opens nothing would go and try it.
        return keys if self.host.wire else {**keys, "GROK_API_KEY": "", "GROQ_API_KEY": "", "ASTER_API_KEY": ""}

    def tell(
        self,
        story: Callable[..., Any],
        *,
        meanwhile: Mapping[str, Callable[[], object]] | None = None,
        env: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> Told:
        """The story in the host, with the names of ATTACH at hand. Fails when it does not come to its
        end."""
        told = self._tell([(story, arguments)], env, meanwhile, ATTACH)
        return Told(told.code, told.result[0], told.out, told.err)

    def tell_all(
        self,
        acts: Sequence[Act],
        symbols: Sequence[str],
        meanwhile: Mapping[str, Callable[[], object]] | None = None,
    ) -> Told:
        """Several stories in one process, with IB attached for `symbols` before the first and left after the last."""
        return self._tell(acts, None, meanwhile, f"{ATTACH}\nattach_ib({list(symbols)!r})\n")

    def _tell(
        self,
        acts: Sequence[Act],
        env: Mapping[str, str] | None,
        meanwhile: Mapping[str, Callable[[], object]] | None,
        preamble: str,
    ) -> Told:
        told = tell_all(
            self.host.root,
            acts,
            python=self.host.python,
            env={**self.env, **(env or {})},
            preamble=preamble,
            meanwhile=meanwhile,
        )
        assert told.code == 0, f"{told.out}\n{told.err}"
        return told

    def command(self, *arguments: str, env: Mapping[str, str] | None = None) -> Told:
        """`moondev-ibkr host ROOT …` in the host's folder."""
        words = [self.host.python, "-m", "moondev_ibkr", "host", str(self.host.root), *arguments]
        return run(self.host.root, words, env={**self.env, **(env or {})})
