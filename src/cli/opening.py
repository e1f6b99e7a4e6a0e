"""The composition root of one-shot commands: settings, a gateway where one is needed, and a connected broker."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..brokers.errors import ConfigurationError
from ..config.logging import LIBRARIES, ROOT, setup_logging
from ..config.settings import SIMULATED_ACCOUNT, SIMULATION_PORT, Environment, FailoverMode, Settings, load_settings
from .boundary import run_async
from .gateway_process import GatewayProcess, Ready
from .options import BrokerChoice
from .paper_account import PaperMarket, paper_gateway

if TYPE_CHECKING:
    from ..brokers.interactive_brokers.ib_adapter import IBAdapter


#: Both user names of a paper gateway whose doors compete for one session.
PAPER_USER = "paperuser"


@dataclass(frozen=True, slots=True)
class Opening:
    """What a command's options say about the broker. `market` None: the paper account's own. `only_looks` at another
    market needs no account: it gets a gateway of its own, and leaves nothing behind."""

    broker: BrokerChoice = BrokerChoice.PAPER
    config: Path | None = None
    i_understand_live: bool = False
    market: PaperMarket | None = None
    fresh: bool = False
    only_looks: bool = False


def settings_for(opening: Opening) -> Settings:
    """Settings of the environment that the broker's name implies; an explicit IB_ENVIRONMENT for `ib` wins.

    Raises ConfigurationError, LiveNotAllowed.
    """
    if opening.broker is BrokerChoice.PAPER:
        # The paper gateway is never reached through settings that were meant for a real account.
        settings = load_settings(
            opening.config, environment=Environment.SIMULATION, host="127.0.0.1", port=SIMULATION_PORT, gateways=()
        )
        mine = settings.account is None or settings.account.startswith(SIMULATED_ACCOUNT)
        return settings if mine else settings.model_copy(update={"account": None})
    settings = load_settings(opening.config, i_understand_live=opening.i_understand_live)
    if settings.environment is Environment.SIMULATION:
        settings = load_settings(
            opening.config, i_understand_live=opening.i_understand_live, environment=Environment.PAPER
        )
    return settings


def with_broker(opening: Opening, work: Callable[[IBAdapter], Awaitable[int]]) -> int:
    """Run `work` on a connected broker, on a loop of the kind that the profile wants."""
    settings = settings_for(opening)

    async def main() -> int:
        async with open_broker(opening, settings) as broker:
            return await work(broker)

    return run_async(main(), settings.performance)


@contextlib.asynccontextmanager
async def open_broker(opening: Opening, settings: Settings) -> AsyncIterator[IBAdapter]:
    """A connected broker; the paper gateway behind it is joined where one runs, or started for as long as needed."""
    from ..brokers.interactive_brokers.ib_adapter import IBAdapter

    folder = state_folder(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(log_to(folder, settings))
        if opening.broker is BrokerChoice.PAPER:
            settings = await stack.enter_async_context(on_paper(opening, settings))
        yield await stack.enter_async_context(IBAdapter.from_settings(settings, door=door_of(opening.broker)))


@contextlib.asynccontextmanager
async def on_paper(opening: Opening, settings: Settings) -> AsyncIterator[Settings]:
    """`settings` that lead to a paper gateway."""
    folder = state_folder(settings)
    if opening.only_looks and opening.market is not None:
        with tempfile.TemporaryDirectory(prefix="moondev-ibkr-") as name:
            options = [*door_arguments(settings), *opening.market.arguments()]
            async with GatewayProcess(options, Path(name), driven=False) as gateway:
                yield leading_to(gateway.where, settings).model_copy(update={"state_dir": Path(name)})
        return
    doors = door_arguments(settings)
    async with paper_gateway(folder, opening.market, fresh=opening.fresh, doors=doors) as ready:
        yield leading_to(ready, settings)


def leading_to(ready: Ready, settings: Settings) -> Settings:
    """`settings` with the addresses of a gateway's doors. Raises ConfigurationError for a closed one that is needed."""
    if ready.portal_url is None and settings.failover is not FailoverMode.OFF:
        raise ConfigurationError(
            "failover to the portal", "the gateway that runs has that door closed", "start it with --portal-port 15000"
        )
    where: dict[str, object] = {"host": ready.host, "port": ready.port}
    if ready.portal_url is not None:
        url = urlsplit(ready.portal_url)
        where |= {"portal_host": url.hostname, "portal_port": url.port, "portal_ca_file": ready.ca_file}
    return settings.model_copy(update=where)


def door_arguments(settings: Settings) -> tuple[str, ...]:
    """Options of a gateway that is started for these settings: the portal's door costs a second, so it is opened only
    where it is needed."""
    if settings.failover is FailoverMode.OFF:
        return ()
    one = ("--portal-user", PAPER_USER, "--tws-user", PAPER_USER)
    return ("--portal-port", "0", *(one if settings.failover is FailoverMode.ONE_USER else ()))


def door_of(broker: BrokerChoice) -> str:
    """The door that the adapter opens for a broker's name."""
    return "portal" if broker is BrokerChoice.PORTAL else "tws"


@contextlib.contextmanager
def log_to(folder: Path, settings: Settings) -> Iterator[None]:
    """This process's log in `folder`, so that the screen is for answers."""
    with (folder / "moondev-ibkr.log").open("a", encoding="utf-8") as stream:
        handler = setup_logging(settings, stream)
        try:
            yield
        finally:
            for name in (ROOT, *LIBRARIES):
                logging.getLogger(name).removeHandler(handler)


def state_folder(settings: Settings) -> Path:
    """The state folder, made when it is missing. Raises ConfigurationError when it cannot be."""
    folder = settings.state_folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"state folder {folder}", error.strerror or str(error), "set IB_STATE_DIR to a writable folder"
        ) from None
    return folder
