"""The composition root of one-shot commands: settings, a gateway where one is needed, and a connected broker."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..brokers.errors import ConfigurationError, NotSupported
from ..brokers.interactive_brokers.ib_adapter import IBAdapter
from ..config.logging import LIBRARIES, ROOT, setup_logging
from ..config.settings import Environment, Settings, load_settings
from .gateway_process import GatewayProcess, running_gateway
from .options import BrokerChoice


@dataclass(frozen=True, slots=True)
class Opening:
    """What a command's options say about the broker. `gateway_arguments` go to a paper gateway that it starts."""

    broker: BrokerChoice = BrokerChoice.PAPER
    config: Path | None = None
    i_understand_live: bool = False
    gateway_arguments: tuple[str, ...] = ()
    fresh: bool = False


def settings_for(opening: Opening) -> Settings:
    """Settings of the environment that the broker's name implies; an explicit IB_ENVIRONMENT for `ib` wins.

    Raises ConfigurationError, LiveNotAllowed, NotSupported.
    """
    if opening.broker is BrokerChoice.PORTAL:
        raise NotSupported("broker portal", "the Client Portal door is not part of this version", "use --broker ib")
    if opening.broker is BrokerChoice.PAPER:
        # The paper gateway is never reached through settings that were meant for a real account.
        return load_settings(opening.config, environment=Environment.SIMULATION, host="127.0.0.1", port=None)
    settings = load_settings(opening.config, i_understand_live=opening.i_understand_live)
    if settings.environment is Environment.SIMULATION:
        settings = load_settings(
            opening.config, i_understand_live=opening.i_understand_live, environment=Environment.PAPER
        )
    return settings


@contextlib.asynccontextmanager
async def open_broker(opening: Opening) -> AsyncIterator[IBAdapter]:
    """A connected broker; the paper gateway behind it is joined where one runs, or started for as long as needed."""
    settings = settings_for(opening)
    folder = state_folder(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(log_to(folder, settings))
        if opening.broker is BrokerChoice.PAPER:
            ready = running_gateway(folder / "gateway.json")
            if ready is not None and (opening.fresh or opening.gateway_arguments):
                raise ConfigurationError(
                    "paper gateway",
                    f"one is running already (process {ready.pid}), and its prices and account stay as they are",
                    "stop it first, or leave --fresh, --bars, --start and --seed out",
                )
            if ready is None:
                arguments = [*opening.gateway_arguments, "--state", str(folder / "paper-account.json")]
                gateway = GatewayProcess([*arguments, *(("--fresh",) if opening.fresh else ())], folder, driven=False)
                ready = (await stack.enter_async_context(gateway)).ready
            if ready is None:
                raise ConfigurationError("paper gateway", "it did not tell where it listens", "run it by itself")
            settings = settings.model_copy(update={"host": ready.host, "port": ready.port})
        yield await stack.enter_async_context(IBAdapter.from_settings(settings))


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
            f"state folder {folder}", str(error), "set IB_STATE_DIR to a writable folder"
        ) from None
    return folder
