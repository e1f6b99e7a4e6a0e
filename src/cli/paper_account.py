"""The paper account that lives on in the state folder, and the gateway that serves it.

    async with paper_gateway(folder, asked, fresh=False) as ready:      join the running one, or start one

One process at a time serves the account; who else wants it joins that process's gateway, or waits for its end. An
account goes on over the market with which it began; another market takes `--fresh`, which puts the journal of the old
account aside.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..brokers.errors import ConfigurationError
from ..brokers.simulation.state_file import is_untouched
from .gateway_process import GatewayProcess, Ready, running_gateway
from .options import parse_day

READY_FILE, ACCOUNT_FILE, MARKET_FILE = "gateway.json", "paper-account.json", "paper-market.json"
JOURNAL_FILE, LOCK_FILE = "journal.sqlite", "paper-account.lock"
#: Real seconds to wait for another command to be done with the account.
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class PaperMarket:
    """The prices of a paper account, by the gateway's options; the default is the shipped bars. Paths are absolute.

    `others` "synthetic": those of `symbols` that have no bars get synthetic prices beside them.
    """

    bars: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    prices: str = ""
    clock: str = "replay"
    start: str = ""
    seed: int = 0
    others: str = ""

    def arguments(self, *, resuming: bool = False) -> tuple[str, ...]:
        """Options of the gateway. A resumed account goes on at its own time, not at the market's start."""
        options = [text for path in self.bars for text in ("--bars", path)]
        options += ["--symbols", ",".join(self.symbols)] if self.symbols else []
        options += ["--others", self.others] if self.others else []
        options += ["--prices", self.prices] if self.prices else []
        options += ["--clock", self.clock] if self.clock != "replay" else []
        options += ["--start", self.start] if self.start and not resuming else []
        options += ["--seed", str(self.seed)] if self.seed else []
        return tuple(options)

    def joined(self, other: PaperMarket) -> PaperMarket | None:
        """This market with the other's symbols as well; None where the two differ in more than may be added.

        Symbols may be added where those without bars are synthetic: the prices of the rest stay as they are.
        """
        if self == other:
            return self
        if not self.others or replace(other, symbols=self.symbols) != self:
            return None
        return replace(self, symbols=tuple(dict.fromkeys((*self.symbols, *other.symbols))))


def asked_market(bars: Sequence[Path] | None, start: str | None, seed: int) -> PaperMarket | None:
    """The market that a command's options describe, None when they say nothing. Raises InvalidRequest."""
    parse_day(start)
    paths = tuple(str(path.absolute()) for path in bars or ())
    return PaperMarket(bars=paths, start=start or "", seed=seed) if paths or start or seed else None


class AccountLock:
    """Held by the one process that serves the account. SQLite's own file lock: it works everywhere and dies with the
    process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        self._connection: sqlite3.Connection | None = None

    def take(self) -> bool:
        """False while another process holds it. Raises ConfigurationError for a folder that cannot be written."""
        try:
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.Error:
                connection.close()
                raise
        except sqlite3.Error as failure:
            if (getattr(failure, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_BUSY:
                return False
            raise ConfigurationError(
                f"state folder {self._path.parent}", str(failure), "set IB_STATE_DIR to a writable folder"
            ) from None
        self._connection = connection
        return True

    def release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def open_account(folder: Path, asked: PaperMarket | None, *, fresh: bool) -> tuple[PaperMarket, bool]:
    """The market to serve, and whether a new account begins. Only for who holds the lock.

    An account of a market with synthetic others goes on when symbols are added. Raises ConfigurationError when the
    kept account trades on another market and `fresh` does not give it up.
    """
    kept = _kept_market(folder)
    market = asked if asked is not None else PaperMarket() if fresh else kept
    both = None if fresh else kept.joined(market)
    if both is not None:
        market = kept = both
    known = (folder / ACCOUNT_FILE).exists()
    if known and not fresh and market != kept:
        if not is_untouched(folder / ACCOUNT_FILE):
            told = " ".join(kept.arguments()) or "the shipped bars"
            raise ConfigurationError(
                "paper account",
                f"it trades on another market ({told})",
                "add --fresh to start a new one on this market",
            )
        fresh = True
    if fresh:
        _put_aside(folder)
    (folder / MARKET_FILE).write_text(json.dumps(asdict(market)))
    return market, fresh or not known


@contextlib.asynccontextmanager
async def paper_gateway(
    folder: Path, asked: PaperMarket | None, *, fresh: bool = False, doors: Sequence[str] = ()
) -> AsyncIterator[Ready]:
    """Where the account's gateway listens: the running one, or one started for as long as this lasts, with the options
    `doors` for its doors.

    Raises ConfigurationError when `asked` or `fresh` do not go with what runs or with the account.
    """
    lock = AccountLock(folder)
    running = await _join_or_lock(folder, lock)
    if running is not None:
        kept = _kept_market(folder)
        if fresh or (asked is not None and kept.joined(asked) != kept):
            raise ConfigurationError(
                "paper gateway",
                f"one is running already (process {running.pid}), and its prices and account stay as they are",
                "stop it first, or leave --fresh, --bars, --start and --seed out",
            )
        yield running
        return
    try:
        market, new = open_account(folder, asked, fresh=fresh)
        options = [*doors, *market.arguments(resuming=not new), "--state", str(folder / ACCOUNT_FILE)]
        gateway = GatewayProcess([*options, *(("--fresh",) if new else ())], folder, driven=False)
        async with gateway:
            yield gateway.where
    finally:
        lock.release()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[bool]:
    """For a gateway that serves the account itself: whether it may, which is while nobody else does."""
    lock = AccountLock(folder)
    free = lock.take()
    try:
        yield free
    finally:
        lock.release()


async def _join_or_lock(folder: Path, lock: AccountLock) -> Ready | None:
    """The gateway that runs, or None once the lock is ours."""
    deadline = time.monotonic() + PATIENCE
    while True:
        running = await running_gateway(folder / READY_FILE)
        if running is not None or lock.take():
            return running
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"paper account in {folder}",
                f"another command has been using it for {PATIENCE:g} s",
                "wait for its end, or set IB_STATE_DIR to another folder",
            )
        await asyncio.sleep(0.1)


def _kept_market(folder: Path) -> PaperMarket:
    try:
        content = dict(json.loads((folder / MARKET_FILE).read_text()))
        bars, symbols = tuple(content.pop("bars")), tuple(content.pop("symbols"))
        return PaperMarket(bars=bars, symbols=symbols, **content)
    except FileNotFoundError:
        return PaperMarket()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(
            f"file {folder / MARKET_FILE}", f"it cannot be read: {error}", "start a new account with --fresh"
        ) from None


def _put_aside(folder: Path) -> None:
    """The account is given up; its file and its journal are kept under other names, since they tell what was done."""
    (folder / MARKET_FILE).unlink(missing_ok=True)
    until = f"until-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    names = {ACCOUNT_FILE: f"paper-account-{until}.json"}
    names |= {f"{JOURNAL_FILE}{ending}": f"journal-{until}.sqlite{ending}" for ending in ("", "-wal", "-shm")}
    for name, kept in names.items():
        with contextlib.suppress(FileNotFoundError):
            (folder / name).rename(folder / kept)
